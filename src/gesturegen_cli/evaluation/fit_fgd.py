"""Fit the autoencoder of poses behind FGD and DIV on a reference."""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from gesturegen_cli.bundle import open_bundle
from gesturegen_cli.config.schema import Config
from gesturegen_cli.errors import InputError
from gesturegen_cli.evaluation.evaluate import OnProgress, Work, attempt, count_frames
from gesturegen_cli.evaluation.items import Item, draw_items, find_items
from gesturegen_cli.evaluation.pose import Estimator, as_pose, load_estimator
from gesturegen_cli.evaluation.pose_space import cut_windows, fit_pose_autoencoder
from gesturegen_cli.evaluation.pose_space_file import save_pose_space
from gesturegen_cli.evaluation.run import Request
from gesturegen_cli.evaluation.view import View, iter_batches

FEWEST_WINDOWS = 64
"""Windows below which an autoencoder learns the clips by heart."""


def fit_fgd(
    request: Request,
    config: Config,
    target: Path,
    *,
    device: torch.device,
    on_frames: OnProgress,
    on_step: OnProgress,
    failed: list[dict[str, str]] | None = None,
) -> str:
    """Look at the reference of `request`, fit, and write the autoencoder to `target`; gives its sha256.

    Of the reference's clips those are used that an evaluation of these settings uses. Videos that cannot be read are
    left out, and put into `failed` (`id`, `message`, `hint`). InputError when the others have fewer than
    FEWEST_WINDOWS windows: before anything is looked at where their headers tell so much.
    """
    settings = config.evaluation
    view = View(settings.fps, settings.size, device, settings.crop, settings.frames)
    items = draw_items(find_items(request.reference, request.split), settings.clips, config.rng_seed)
    # one frame more than a header says may be there, and no more
    counts = [count_frames([item], view) for item in items]
    lengths = [count + 1 for count in counts if count]
    _check_count(
        sum(len(range(0, n - settings.window + 1, settings.stride)) for n in lengths), lengths, settings.window
    )
    estimator = load_estimator(open_bundle(request.networks.estimator), device)
    work = Work(sum(counts), on_frames)
    failed = [] if failed is None else failed
    poses = [attempt(item, failed, partial(_pose, item, view, estimator, work)) for item in items]
    windows = [cut_windows(pose.flatten(1), settings.window, settings.stride) for pose in poses if pose is not None]
    _check_count(sum(map(len, windows)), windows, settings.window)
    space = fit_pose_autoencoder(
        torch.cat(windows),
        joints=estimator.joints,
        window=settings.window,
        fps=settings.fps,
        steps=settings.fgd_steps,
        rng_seed=config.rng_seed,
        on_step=on_step,
        device=device,
    )
    return save_pose_space(target, replace(space, estimator=estimator.digest))


def _check_count(count: int, videos: Sized, window: int) -> None:
    if count < FEWEST_WINDOWS:
        found = f"{count} windows of {window} frames in {len(videos)} readable reference videos"
        raise InputError(f"{found}, expected at least {FEWEST_WINDOWS} to fit on", "give more or longer videos")


def _pose(item: Item, view: View, estimator: Estimator, work: Work) -> torch.Tensor:
    joints = []
    for batch in iter_batches(item, view):
        joints.append(estimator.locate(batch))
        work.advance(len(batch))
    return as_pose(torch.cat(joints), estimator.joints)
