"""Evaluate sets of videos against a reference: one pass over every video, then scores, tables and exhibits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import zip_longest
from typing import Any, TypeVar

import numpy as np
import torch

from gesturegen_cli.errors import InputError
from gesturegen_cli.evaluation import beat
from gesturegen_cli.evaluation.compare import Comparison, Wanted
from gesturegen_cli.evaluation.exhibits import choose_exhibits
from gesturegen_cli.evaluation.hearing import is_silent, sound_offset
from gesturegen_cli.evaluation.items import Item, partner_of
from gesturegen_cli.evaluation.observe import Observation, Observed, own_speech
from gesturegen_cli.evaluation.pose import Estimator, part_boxes
from gesturegen_cli.evaluation.pose_space import PoseSpace, cut_windows, fit_principal_space
from gesturegen_cli.evaluation.regions import labelled_boxes
from gesturegen_cli.evaluation.results import Curves, Exhibit, Section, System
from gesturegen_cli.evaluation.scoring import Yardstick, clip_scores, own_scores, still_system, system_scores
from gesturegen_cli.evaluation.video_features import VideoNetwork
from gesturegen_cli.evaluation.view import BATCH, View, expected_frames, iter_batches

OnProgress = Callable[[int, int], None]
"""Called with (frames done, frames in all)."""
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Tools:
    """Everything that looks at videos."""

    view: View
    estimator: Estimator
    wanted: Wanted
    """Metrics, and the network for LPIPS where there is one."""
    keys: tuple[str, ...]
    """The same metrics in their order."""
    networks: Mapping[str, VideoNetwork]
    """Of `fvd`, `fvd_self`."""
    space: PoseSpace | None
    """An autoencoder of poses; None fits principal components on the reference."""
    window: int
    stride: int
    resamplings: int
    rng_seed: int


@dataclass(frozen=True)
class Candidate:
    """A system that is judged: its name, its videos, and those that could not be made (`id`, `message`, `hint`)."""

    name: str
    items: list[Item]
    failed: list[dict[str, str]] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Reference:
    """The reference, seen once for all systems and sections."""

    clips: list[Observed]
    boxes: Mapping[str, torch.Tensor]
    """Clip -> boxes `t 3 4` of hands and mouth; NaN where a hand is not seen."""
    still: list[dict[str, Any]]
    """Scores of the first frame repeated, clip by clip."""
    measure: Yardstick
    rows: list[dict[str, Any]]
    curves: Mapping[str, Curves]
    failed: list[dict[str, str]]


@dataclass
class Work:
    """Progress over all frames, and what went wrong."""

    total: int
    on_progress: OnProgress = lambda done, total: None
    done: int = 0
    warnings: list[str] = field(default_factory=list)

    def advance(self, frames: int) -> None:
        """`frames` more are done."""
        self.done += frames
        self.on_progress(min(self.done, self.total), self.total)


def attempt(item: Item, failed: list[dict[str, str]], action: Callable[[], T]) -> T | None:
    """The action's result; None, and a note in `failed`, when the item's files are bad."""
    try:
        return action()
    except InputError as error:
        failed.append({"id": item.id, "message": error.message, "hint": error.hint})
        return None


def count_frames(items: Iterable[Item], view: View) -> int:
    """Frames that these videos will give, by their headers; unreadable ones count none."""
    counts = [attempt(item, [], partial(expected_frames, item, view)) for item in items]
    return sum(count for count in counts if count is not None)


def observe_reference(items: Sequence[Item], tools: Tools, work: Work) -> Reference:
    """Look at all reference clips. InputError when not one can be read."""
    failed: list[dict[str, str]] = []
    clips, boxes, still = [], {}, []
    for item in items:
        seen = attempt(item, failed, partial(_observe_real, item, tools, work))
        if seen is not None:
            clips.append(seen[0])
            boxes[item.id] = seen[1]
            still.append({"id": item.id, "reference": item.id, "frames": seen[0].frames, **seen[2]})
    if not clips:
        raise InputError(f"no reference video could be read: {failed[0]['message']}", failed[0]["hint"])
    measure = _yardstick(clips, tools)
    rows, curves = _own_rows(clips, measure)
    return Reference(clips, boxes, still, measure, rows, curves, failed)


def evaluate_section(
    name: str, candidates: Sequence[Candidate], reference: Reference, tools: Tools, work: Work
) -> tuple[Section, list[Exhibit]]:
    """Score every candidate against the reference. InputError when a candidate has not one readable video."""
    measure = reference.measure
    own = own_scores(reference.rows, reference.clips, measure)
    systems = [System("reference", "reference", own, reference.rows, failed=reference.failed)]
    videos = {"reference": {clip.item.id: clip.item.video for clip in reference.clips}}
    curves: dict[str, Mapping[str, Curves]] = {"reference": reference.curves}
    by_id = {clip.item.id: clip for clip in reference.clips}
    used: set[str] = set()
    judged = []
    # a bundle makes a video of speech only where there is some
    asked = [clip for clip in reference.clips if name != "speech" or clip.hearing is not None]
    for candidate in candidates:
        clips, rows, failed = _judge(candidate, by_id, reference, tools, work)
        own_rows, curves[candidate.name] = _own_rows(clips, measure)
        rows = [{**row, **mine} for row, mine in zip(own_rows, rows, strict=True)]
        scores = system_scores(rows, clips, reference.clips, measure)
        unmatched = [row["id"] for row in rows if row["reference"] is None]
        judged.append(System(candidate.name, "system", scores, rows, unmatched, failed))
        matched = {row["reference"] for row in rows if row["reference"] is not None}
        if len(matched) < len(asked):
            place = "" if name == "videos" else f" ({name})"
            work.warnings.append(f"{candidate.name}{place}: videos for {len(matched)} of {len(asked)} reference clips")
        used |= matched
        videos[candidate.name] = {clip.item.id: clip.item.video for clip in clips}
    if used:
        systems.append(still_system("first frame", [row for row in reference.still if row["id"] in used], measure))
    unused = [clip.item.id for clip in reference.clips if clip.item.id not in used]
    section = Section(name, [*systems, *judged], unused)
    return section, choose_exhibits(section, videos, curves)


def _observe_real(item: Item, tools: Tools, work: Work) -> tuple[Observed, torch.Tensor, dict[str, float]]:
    """A reference clip; boxes of hands (NaN if unseen) and mouth in its frames; scores of its first frame repeated."""
    observation = Observation(item, tools.view, tools.estimator, tools.networks)
    frames = expected_frames(item, tools.view)
    labelled = None if item.clip is None else labelled_boxes(item.clip, frames + BATCH, tools.view.fps)
    comparison: Comparison | None = None
    boxes, first, done = [], None, 0
    for batch in iter_batches(item, tools.view):
        joints = observation.add(batch)
        found = part_boxes(joints, tools.estimator.joints)
        found[:, :2][:, ~tools.estimator.sees_hands(batch)] = torch.nan
        if labelled is not None and done + len(batch) <= len(labelled):
            found = labelled[done : done + len(batch)]
        if first is None or comparison is None:
            first = batch[:1]
            comparison = Comparison(tools.wanted, first)
        comparison.add(first.expand_as(batch), batch, found)
        boxes.append(found)
        done += len(batch)
        work.advance(len(batch))
    assert comparison is not None  # noqa: S101 - iter_batches raises for a video without frames
    together, seen = torch.cat(boxes), observation.finish(own_speech(item))
    hidden = ~torch.isfinite(together[:, :2]).all(dim=-1).numpy()
    seen = replace(seen, hands=np.where(hidden[..., None], np.float32("nan"), seen.hands))
    return seen, together, comparison.scores()


def _judge(
    candidate: Candidate, references: Mapping[str, Observed], reference: Reference, tools: Tools, work: Work
) -> tuple[list[Observed], list[dict[str, Any]], list[dict[str, str]]]:
    """The clips of a candidate, their scores against the reference's, and the videos that could not be read."""
    partners = {name: clip.item for name, clip in references.items()}
    clips, rows = [], []
    failed = list(candidate.failed)
    for item in candidate.items:
        partner = partner_of(item, partners)
        real = None if partner is None else references[partner.id]
        box = None if partner is None else reference.boxes[partner.id]
        seen = attempt(item, failed, partial(_observe_made, candidate.name, item, real, box, tools, work))
        if seen is not None:
            clips.append(seen[0])
            rows.append({"id": item.id, "reference": None if real is None else real.item.id, **seen[1]})
    if not clips:
        reason = failed[0] if failed else {"message": "none was given", "hint": ""}
        raise InputError(f"no video of '{candidate.name}' could be read: {reason['message']}", reason["hint"])
    return clips, rows, failed


def _observe_made(
    system: str, item: Item, real: Observed | None, boxes: torch.Tensor | None, tools: Tools, work: Work
) -> tuple[Observed, dict[str, float]]:
    """A video of a system, compared with its reference over the frames that both have."""
    observation = Observation(item, tools.view, tools.estimator, tools.networks)
    comparison: Comparison | None = None
    frames = iter_batches(item, tools.view, None if real is None else real.item)
    others = iter_batches(real.item, tools.view) if real is not None else iter(())
    done = fewer = 0
    for made, other in zip_longest(frames, others):
        if made is not None:
            observation.add(made)
            work.advance(len(made))
        if made is not None and other is not None and boxes is not None:
            comparison = Comparison(tools.wanted, other[:1]) if comparison is None else comparison
            common = min(len(made), len(other), len(boxes) - done)
            if common > 0:
                comparison.add(made[:common], other[:common], boxes[done : done + common])
        done += 0 if made is None else len(made)
        fewer += (0 if other is None else len(other)) - (0 if made is None else len(made))
    if real is not None and abs(fewer) > 1:
        difference = f"{fewer} frames fewer" if fewer > 0 else f"{-fewer} frames more"
        work.warnings.append(f"{system}: {item.id} has {difference} than its reference; the common ones were compared")
    own = own_speech(item)
    speech = own
    if real is not None and (own is None or is_silent(own)):
        # the motion belongs to the reference's speech, whether or not the file carries it
        speech = own_speech(real.item) or own
    # the sound track of an MP4 may be some milliseconds longer than the speech that was put into it
    observed = observation.finish(speech, real.hearing.frames if real is not None and real.hearing else None)
    scores = {} if comparison is None else comparison.scores()
    if speech is own and real is not None and real.hearing is not None and "sync" in tools.keys:
        offset = sound_offset(observed.hearing.loudness, real.hearing.loudness) if observed.hearing else None
        scores |= {} if offset is None else {"sync": abs(offset)}
    return observed, scores


def _yardstick(clips: Sequence[Observed], tools: Tools) -> Yardstick:
    space, no_space = tools.space, ""
    if space is None:
        windows = [cut_windows(clip.pose.flatten(1), tools.window, tools.stride) for clip in clips]
        together = torch.cat(windows)
        space = fit_principal_space(together) if len(together) > 1 else None
        no_space = f"all windows of {tools.window} frames of the reference show the same motion"
        if len(together) < 2:
            no_space = f"the reference has fewer than 2 windows of {tools.window} frames"
    given = {"fvd"} & set(tools.networks) | ({"lpips"} if tools.wanted.lpips is not None else set())
    changes = [beat.angle_changes(clip.pose, tools.estimator.joints) for clip in clips if clip.frames > 1]
    scale = beat.angle_scale(changes) if changes else torch.zeros(1)
    return Yardstick(
        tools.keys,
        tools.view.fps,
        tools.window,
        tools.stride,
        tools.estimator.joints,
        space,
        no_space,
        scale,
        tools.resamplings,
        tools.rng_seed,
        frozenset(given),
    )


def _own_rows(clips: Sequence[Observed], measure: Yardstick) -> tuple[list[dict[str, Any]], dict[str, Curves]]:
    """Scores of each clip by itself, and its curves."""
    rows, curves = [], {}
    for clip in clips:
        scores, curves[clip.item.id] = clip_scores(clip, measure)
        rows.append({"id": clip.item.id, "reference": None, "frames": clip.frames, **scores})
    return rows, curves
