"""Measure a set of generated videos against a reference, or stage 1 alone by reconstruction."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from gesturegen_cli import __version__
from gesturegen_cli.bundle import Bundle, load_component
from gesturegen_cli.errors import InputError
from gesturegen_cli.evaluation.items import Item, find_items, pair_items
from gesturegen_cli.evaluation.measure import (
    SCORES,
    Measured,
    View,
    compare_videos,
    expected_frames,
    measure_motion,
    reconstruct_video,
)
from gesturegen_cli.evaluation.motion_metrics import motion_metrics
from gesturegen_cli.evaluation.report import Report

OnProgress = Callable[[int, int], None]
"""Called with (frames done, frames in all)."""


def _silent(done: int, total: int) -> None:
    """No progress wanted."""


@dataclass
class _Work:
    """Progress over all videos, and the videos that had to be left out."""

    total: int
    on_progress: OnProgress
    done: int = 0
    failed: list[dict[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def advance(self, frames: int) -> None:
        self.done += frames
        self.on_progress(min(self.done, self.total), self.total)

    def attempt(self, item: Item, action: Callable[[], Any]) -> Any:
        """The action's result; None, and a note, when the item's files are bad."""
        try:
            return action()
        except InputError as error:
            self.failed.append({"id": item.id, "message": error.message, "hint": error.hint})
            return None


def evaluate_generated(
    generated: Path,
    reference: Path,
    bundle: Bundle,
    *,
    device: torch.device,
    rng_seed: int = 0,
    split: str = "all",
    on_progress: OnProgress = _silent,
) -> Report:
    """PSNR, SSIM and L1 of videos with a partner in the reference; FGD, DIV and BAS of the two sets.

    `generated` is a video or a folder of them, `reference` a dataset, a folder of videos or a video. Videos that cannot
    be read are left out and listed in `failed`; InputError when nothing of a set can be read. Pixels stream; what stays
    in memory is the motion, about 35 MB per hour of video, and at most 2048 windows of it.
    """
    made, real = find_items(generated), find_items(reference, split)
    model, view = _prepare(bundle, device)
    pairs = pair_items(made, real)
    frames, unreadable = _count_frames([*made, *real], view)
    total = sum(frames.get(item, 0) for item in (*made, *real))
    total += sum(min(frames.get(a, 0), frames.get(b, 0)) for a, b in pairs)
    work = _Work(total, on_progress, failed=unreadable)
    made_motion = _measure_set(model, [i for i in made if i in frames], view, work, "generated")
    real_motion = _measure_set(model, [i for i in real if i in frames], view, work, "reference")
    clips = {m.id: {"id": m.id, "frames": len(m.motion)} for m in made_motion}
    image = _compare_pairs([p for p in pairs if p[0] in frames and p[1] in frames], view, work, clips)
    motion = motion_metrics(made_motion, real_motion, rng_seed)
    for name, score in motion.alignment.items():
        clips[name]["bas"] = score
    reasons = dict(motion.reasons)
    if image["psnr"] is None:
        reasons |= dict.fromkeys(SCORES, "no generated video has the name of a reference video")
    counts = {"generated": len(made_motion), "reference": len(real_motion)}
    counts |= {"pairs": sum("psnr" in clip for clip in clips.values()), **motion.counts}
    return Report(
        "generated",
        {**image, **motion.metrics},
        motion.reference,
        reasons,
        counts,
        _protocol(bundle, view, rng_seed, split) | motion.protocol,
        list(clips.values()),
        work.failed,
        work.warnings,
    )


def evaluate_reconstruction(
    reference: Path, bundle: Bundle, *, device: torch.device, split: str = "all", on_progress: OnProgress = _silent
) -> Report:
    """Stage 1 alone: each reference video rendered from its first frame and its own motion, against itself.

    The baseline is the first frame repeated, which is what a model that moves nothing would reach.
    """
    items = find_items(reference, split)
    model, view = _prepare(bundle, device)
    frames, unreadable = _count_frames(items, view)
    work = _Work(sum(frames.values()), on_progress, failed=unreadable)
    clips = []
    for item in frames:
        scores = work.attempt(item, partial(reconstruct_video, model, item, view, work.advance))
        if scores is not None:
            clips.append({"id": item.id, **scores[0], **{f"copy_{k}": v for k, v in scores[1].items()}})
    if not clips:
        raise InputError(f"no reference video could be read: {work.failed[0]['message']}", work.failed[0]["hint"])
    metrics: dict[str, float | None] = {name: fmean(clip[name] for clip in clips) for name in SCORES}
    baseline: dict[str, float | None] = {name: fmean(clip[f"copy_{name}"] for clip in clips) for name in SCORES}
    protocol = _protocol(bundle, view, None, split) | {"source": "first frame", "driving": "every frame of the clip"}
    return Report("reconstruction", metrics, baseline, {}, {"reference": len(clips)}, protocol, clips, work.failed)


def _prepare(bundle: Bundle, device: torch.device) -> tuple[Any, View]:
    model = load_component(bundle, "deviation")
    # a model may offer a copy that is faster and gives the same numbers
    model = (model.fused() if hasattr(model, "fused") else model).to(device)
    return model, View(bundle.spec.fps, model.size, device)


def _count_frames(items: Iterable[Item], view: View) -> tuple[dict[Item, int], list[dict[str, str]]]:
    """Frames each readable video will give, found before the long work; and the unreadable ones."""
    found: dict[Item, int] = {}
    failed = []
    for item in items:
        try:
            found[item] = expected_frames(item, view.fps)
        except InputError as error:
            failed.append({"id": item.id, "message": error.message, "hint": error.hint})
    return found, failed


def _measure_set(model: Any, items: list[Item], view: View, work: _Work, name: str) -> list[Measured]:
    found = [work.attempt(i, partial(measure_motion, model, i, view, work.advance)) for i in items]
    kept = [measured for measured in found if measured is not None]
    if not kept:
        reason = work.failed[-1] if work.failed else {"message": "none was given", "hint": ""}
        raise InputError(f"no {name} video could be read: {reason['message']}", reason["hint"])
    return kept


def _compare_pairs(
    pairs: list[tuple[Item, Item]], view: View, work: _Work, clips: dict[str, dict[str, Any]]
) -> dict[str, float | None]:
    """Mean over pairs of the mean over frames; None without pairs. Fills `clips`."""
    for made, real in pairs:
        result = work.attempt(made, partial(compare_videos, made, real, view, work.advance))
        if result is None or made.id not in clips:
            continue
        scores, more, fewer = result
        clips[made.id] |= scores
        if max(more, fewer) > 1:
            difference = f"{more} frames more" if more else f"{fewer} frames fewer"
            work.warnings.append(f"{made.id} has {difference} than its reference; the common ones were compared")
    scored = [clip for clip in clips.values() if "psnr" in clip]
    return {name: fmean(clip[name] for clip in scored) if scored else None for name in SCORES}


def _protocol(bundle: Bundle, view: View, rng_seed: int | None, split: str) -> dict[str, Any]:
    return {
        "bundle": bundle.name,
        "bundle_digest": bundle.digest,
        "fps": view.fps,
        "size": view.size,
        "framing": "square around the speaker of the first frame, scaled to size (Lanczos)",
        "split": split,
        "psnr_ssim_l1": "RGB in [0, 1]; SSIM 11 x 11 Gaussian, sigma 1.5, K1 0.01, K2 0.03; "
        "mean over frames, then over videos",
        "rng_seed": rng_seed,
        "device": str(view.device),
        "versions": {"gesturegen": __version__, "torch": torch.__version__, "python": platform.python_version()},
    }
