"""A whole evaluation: from paths and settings to a report and the files that show it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from gesturegen_cli.bundle import Bundle, open_bundle
from gesturegen_cli.config.schema import Config, Sampling
from gesturegen_cli.errors import ConfigError, InputError
from gesturegen_cli.evaluation.bundle_videos import Renderer, bundle_view
from gesturegen_cli.evaluation.compare import Wanted
from gesturegen_cli.evaluation.evaluate import (
    Candidate,
    OnProgress,
    Tools,
    Work,
    attempt,
    count_frames,
    evaluate_section,
    observe_reference,
)
from gesturegen_cli.evaluation.items import Item, draw_items, find_items, partner_of
from gesturegen_cli.evaluation.lpips import Lpips, load_lpips
from gesturegen_cli.evaluation.metrics import METRICS, choose_metrics
from gesturegen_cli.evaluation.notes import describe_metrics
from gesturegen_cli.evaluation.observe import has_speech
from gesturegen_cli.evaluation.pose import load_estimator
from gesturegen_cli.evaluation.pose_space_file import load_pose_space
from gesturegen_cli.evaluation.protocol import (
    check_same_protocol,
    describe_protocol,
    environment,
    protocol_digest,
)
from gesturegen_cli.evaluation.results import Exhibit, Report, Section
from gesturegen_cli.evaluation.video_features import VideoNetwork, load_fvd_self, load_i3d
from gesturegen_cli.evaluation.view import View
from gesturegen_cli.media.files import shown
from gesturegen_cli.media.video import iter_frames

VIDEOS = "videos"
"""Folder of the output in which the videos of evaluated bundles lie."""


@dataclass(frozen=True)
class Networks:
    """Files of networks that the user brings; None for those left out."""

    fgd: Path | None = None
    i3d: Path | None = None
    lpips: tuple[Path, ...] = ()
    estimator: str = "base"


@dataclass(frozen=True)
class Request:
    """What is to be evaluated."""

    generated: tuple[Path, ...]
    models: tuple[str, ...]
    reference: Path
    split: str = "all"
    names: tuple[str, ...] = ()
    output: Path | None = None
    networks: Networks = Networks()


def prepare_tools(config: Config, networks: Networks, device: torch.device) -> tuple[Tools, dict[str, str]]:
    """Load what looks at videos; and the hash of each network that decides about a chosen metric, by its role.

    The role is the metric's, `fgd` also for DIV, and `estimator`.
    """
    settings = config.evaluation
    keys = choose_metrics(settings.metrics)
    estimator = load_estimator(open_bundle(networks.estimator), device)
    video: dict[str, VideoNetwork] = {}
    if "fvd_self" in keys:
        video["fvd_self"] = load_fvd_self(device)
    if "fvd" in keys and networks.i3d is not None:
        video["fvd"] = load_i3d(networks.i3d, device)
    lpips = _load_lpips(networks.lpips, device) if "lpips" in keys else None
    space = load_pose_space(networks.fgd) if networks.fgd is not None else None
    if space is not None and (space.window, space.fps, space.joints) != (
        settings.window,
        settings.fps,
        estimator.joints,
    ):
        found = f"windows of {space.window} frames of {len(space.joints)} joints at {space.fps:g} fps"
        wanted = f"{settings.window} frames of {len(estimator.joints)} joints at {settings.fps:g} fps"
        raise ConfigError(
            f"the autoencoder --fgd was fitted on {found}, this evaluation has {wanted}",
            f"--set evaluation.window={space.window}, or fit one with --fit-fgd",
        )
    if space is not None and space.estimator not in ("", estimator.digest):
        found, wanted = space.estimator[:12], f"'{estimator.name}' is {estimator.digest[:12]}..."
        raise ConfigError(
            f"the autoencoder --fgd was fitted on joints that another estimator found ({found}..., {wanted})",
            "name that bundle with --estimator, or fit one with --fit-fgd",
        )
    hashes = {"estimator": estimator.digest, **{key: network.digest for key, network in video.items()}}
    if {"fgd", "div"} & set(keys):
        hashes["fgd"] = space.digest if space is not None else "principal components of the reference"
    hashes |= {"lpips": lpips.digest} if lpips is not None else {}
    tools = Tools(
        View(settings.fps, settings.size, device, settings.crop, settings.frames),
        estimator,
        Wanted(frozenset(keys), lpips),
        keys,
        video,
        space,
        settings.window,
        settings.stride,
        settings.bootstrap,
        config.rng_seed,
    )
    return tools, hashes


def _load_lpips(files: tuple[Path, ...], device: torch.device) -> Lpips | None:
    if len(files) > 2:
        raise ConfigError(f"--lpips was given {len(files)} files, expected at most 2", "AlexNet's and LPIPS's weights")
    return load_lpips(files[0], files[1] if len(files) > 1 else None, device) if files else None


def evaluate(
    request: Request,
    config: Config,
    samplings: Mapping[str, Sampling],
    *,
    device: torch.device,
    comparable_to: Report | None = None,
    force: bool = False,
    on_stage: Callable[[str, str], OnProgress],
) -> tuple[Report, list[Exhibit], View]:
    """Evaluate everything in the request; `samplings` has those of the bundles, by their names in the request.

    `on_stage(name, unit)` gives the progress callback of each stage. `comparable_to`: refuse, before the long work, to
    measure by another protocol (with `force`: warn). InputError when nothing of a set can be read.
    """
    found_items = find_items(request.reference, request.split)
    references = draw_items(found_items, config.evaluation.clips, config.rng_seed)
    names = _names(request)
    given = _given(request, config, names, references)
    bundles = [open_bundle(model) for model in request.models]
    tools, hashes = prepare_tools(config, request.networks, device)
    protocol = describe_protocol(config.evaluation, config.rng_seed, hashes, references)
    warning = check_same_protocol(protocol, comparable_to, force) if comparable_to is not None else None
    sections = _candidates(request, config, samplings, bundles, names, given, references, tools, on_stage)
    items = [*references, *(item for candidates in sections.values() for c in candidates for item in c.items)]
    work = Work(count_frames(items, tools.view), on_stage("evaluate", "frames"))
    work.warnings += [warning] if warning else []
    reference = observe_reference(references, tools, work)
    found: list[Section] = []
    exhibits: list[Exhibit] = []
    for name, candidates in sections.items():
        section, shown_clips = evaluate_section(name, candidates, reference, tools, work)
        found.append(section)
        exhibits += shown_clips
    notes = {key: note for key, note in describe_metrics(tools, reference.measure).items() if key in tools.keys}
    report = Report(found, protocol, protocol_digest(protocol), environment(device), notes, work.warnings)
    return report, exhibits, tools.view


def _names(request: Request) -> list[str]:
    """Column names of the given sets and bundles, in this order; all different."""
    paths = [*request.generated, *(Path(model) for model in request.models)]
    names = list(request.names) or [shown(path.name or path) for path in paths]
    if len(names) != len(paths):
        raise ConfigError(f"--names has {len(names)} names for {len(paths)} systems", "name each of them once")
    # the videos of bundles lie in folders of these names, and some disks know no upper case
    folders = {_folder_name(name).casefold() for name in names}
    if len(folders) != len(names) or {"reference", "first frame"} & set(names) or not all(names):
        raise ConfigError(f"the systems' names are not all different: {', '.join(names)}", "give --names one,two,...")
    return names


def _given(request: Request, config: Config, names: Sequence[str], references: list[Item]) -> list[Candidate]:
    """The systems whose videos are there; those without a partner are left out where only some clips count.

    Nobody should wait for the reference to learn that a folder was the wrong one: InputError when no video of a system
    can be read, or when none has the name of a clip and nothing that was asked for can be measured without.
    """
    by_id = {item.id: item for item in references}
    alone = {METRICS[key].group for key in choose_metrics(config.evaluation.metrics)} - {"pictures", "checks"}
    found = []
    for name, path in zip(names, request.generated, strict=False):
        items = find_items(path)
        matched = [item for item in items if partner_of(item, by_id) is not None]
        if not matched and (config.evaluation.clips or not alone):
            some = ", ".join(repr(shown(item.id)) for item in items[:3])
            raise InputError(
                f"no video of '{name}' has the name of a clip of the reference (its videos: {some}; "
                f"clips: {', '.join(repr(shown(one)) for one in list(by_id)[:3])})",
                "name videos like their clips: talk.mp4 or talk__host.mp4 for clip talk",
            )
        items = matched if config.evaluation.clips else items
        failed: list[dict[str, str]] = []
        if not any(attempt(item, failed, partial(_first_frame, item)) is not None for item in items):
            raise InputError(f"no video of '{name}' could be read: {failed[0]['message']}", failed[0]["hint"])
        found.append(Candidate(name, items))
    return found


def _first_frame(item: Item) -> NDArray[np.uint8]:
    """Decoded, as a good header says nothing about the pictures."""
    return next(iter(iter_frames(item.video, fps=25, size=32, seconds=1 / 25)))


def _candidates(
    request: Request,
    config: Config,
    samplings: Mapping[str, Sampling],
    bundles: Sequence[Bundle],
    names: Sequence[str],
    given: Sequence[Candidate],
    references: list[Item],
    tools: Tools,
    on_stage: Callable[[str, str], OnProgress],
) -> dict[str, list[Candidate]]:
    """Section -> its systems; the videos of bundles are made here."""
    sections: dict[str, list[Candidate]] = {"videos": list(given)} if given else {}
    for name, model, bundle in zip(names[len(given) :], request.models, bundles, strict=True):
        for section in ("reconstruction", "speech") if bundle.spec.kind == "full" else ("reconstruction",):
            items = references
            if section == "speech":
                items = [item for item in references if attempt(item, [], partial(has_speech, item))]
            if not items:
                continue
            view = bundle_view(bundle, tools.view)
            progress = Work(count_frames(items, view), on_stage(f"{section} of {name}", "frames"))
            folder = _output(request) / VIDEOS / _folder_name(name)
            renderer = Renderer(bundle, folder, view, samplings[model], config.rng_seed, progress.advance)
            failed: list[dict[str, str]] = []
            work = renderer.reconstruct(items) if section == "reconstruction" else renderer.speak(items)
            made = [attempt(item, failed, make) for item, make in work]
            candidate = Candidate(name, [item for item in made if item is not None], failed)
            sections.setdefault(section, []).append(candidate)
    return sections


def _output(request: Request) -> Path:
    if request.output is None:
        raise ConfigError("a bundle is evaluated by its videos, which need a place", "add --output REPORT")
    return request.output


def _folder_name(name: str) -> str:
    return "".join(sign if sign.isalnum() or sign in "-_." else "_" for sign in name).lstrip(".") or "_"


def failures(report: Report) -> list[str]:
    """Videos that could not be measured, in words."""
    found = []
    for section in report.sections:
        for system in section.systems:
            found += [f"{item['id']} of {system.name}: {item['message']}" for item in system.failed]
    return list(dict.fromkeys(found))
