"""From what was seen of all clips to the scores of a set of videos, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gesturegen_cli.evaluation import beat, kinematics
from gesturegen_cli.evaluation.bootstrap import diversity_interval, frechet_interval, mean_interval
from gesturegen_cli.evaluation.diversity import diversity_table
from gesturegen_cli.evaluation.frechet import Moments, frechet_distance, moments
from gesturegen_cli.evaluation.metrics import METRICS
from gesturegen_cli.evaluation.observe import Observed
from gesturegen_cli.evaluation.pose_space import PoseSpace, cut_windows
from gesturegen_cli.evaluation.results import Curves, Score, System

SETS = ("fgd", "fvd", "fvd_self", "div")
"""Metrics of a whole set; all others are means over clips."""
PAIRED = (*(key for key, metric in METRICS.items() if metric.group == "pictures"), "sync")
REASONS = {
    **dict.fromkeys(PAIRED, "not one clip could be compared"),
    "sync": "no sound to compare with the reference's",
    "lpips": "no weights of LPIPS were given (--lpips)",
    "fvd": "no I3D network was given (--i3d)",
    "moving_l1": "nothing moves in the reference",
    **dict.fromkeys(("hand_l1", "hand_psnr", "hand_sharpness"), "no hand is seen in the reference"),
    **dict.fromkeys(("bas", "bas_chance", "bc"), "no clip has speech with onsets"),
    "silence": "no clip has half a second each of speech and of pause, and motion in its speech",
    **dict.fromkeys(("speed", "jerk", "range"), "no clip is long enough"),
    "flicker": "no background is seen in any clip",
    **dict.fromkeys(("colour_drift", "face_drift"), "no clip of 5 s or more"),
    "length": "no clip has speech",
}
"""Why a metric has no value, where nothing more precise is known."""
_BROUGHT = ("lpips", "fvd")
"""Metrics whose network the user brings."""


@dataclass(frozen=True, eq=False)
class Yardstick:
    """What every set of one evaluation is measured with."""

    wanted: tuple[str, ...]
    fps: float
    window: int
    stride: int
    joints: tuple[str, ...]
    space: PoseSpace | None
    """Features of windows of poses; None when the reference's windows are too few, or all the same, to fit one."""
    no_space: str
    """Why there is none."""
    angle_scale: Tensor
    """Mean change per frame of each bone angle in the reference, for BC."""
    resamplings: int
    rng_seed: int
    given: frozenset[str]
    """Which of _BROUGHT have their network."""

    def features(self, clip: Observed) -> Tensor:
        """Features of the clip's windows of poses, `n k`."""
        assert self.space is not None  # noqa: S101 - asked for only where there is one
        return self.space.features(cut_windows(clip.pose.flatten(1), self.window, self.stride))


def clip_scores(clip: Observed, measure: Yardstick) -> tuple[dict[str, float], Curves]:
    """Metrics of one video by itself, and what the report draws of it."""
    pose, fps = clip.pose, measure.fps
    rests = beat.pose_beats(pose)
    found: dict[str, float | None] = {
        **clip.scores,
        "speed": kinematics.mean_speed(pose, fps),
        "jerk": kinematics.mean_jerk(pose, fps),
        "range": kinematics.range_of_motion(pose, measure.joints),
        "seam": kinematics.seam_score(pose, clip.seams)[0],
    }
    if clip.hearing is not None:
        onsets = clip.hearing.onsets
        found["bas"] = beat.beat_alignment(onsets, rests)
        found["bas_chance"] = beat.bas_chance(onsets, rests, len(pose))
        pauses = beat.angle_beats(beat.angle_changes(pose, measure.joints), measure.angle_scale)
        found["bc"] = beat.beat_consistency(onsets, pauses, fps)
        found["silence"] = kinematics.silence_ratio(pose, clip.hearing.speaking, fps)[0]
    speed = kinematics.pose_speed(pose) * fps
    hearing = clip.hearing
    curves = Curves(
        speed.numpy().astype(np.float32),
        rests,
        None if hearing is None else hearing.onsets,
        None if hearing is None else hearing.loudness,
        clip.flicker,
        clip.seams,
        clip.hands,
    )
    return {key: value for key, value in found.items() if value is not None and key in measure.wanted}, curves


def system_scores(
    rows: Sequence[Mapping[str, Any]],
    clips: Sequence[Observed],
    references: Sequence[Observed],
    measure: Yardstick,
) -> dict[str, Score]:
    """Scores of a set of videos: of its clips' own scores `rows`, and of the set against the reference's.

    `rows` and `clips` go together; `reference` in a row is the id of the clip's reference.
    """
    scores = {}
    for key in measure.wanted:
        if key in SETS:
            scores[key] = _set_score(key, rows, clips, references, measure)
        else:
            scores[key] = _explained(key, mean_score(key, rows, measure), clips)
    return scores


def _explained(key: str, score: Score, clips: Sequence[Observed]) -> Score:
    """The score; of missing seams with the reasons that hold for these clips."""
    if key != "seam" or score.value is not None:
        return score
    return replace(score, reason="; ".join(sorted({kinematics.seam_score(c.pose, c.seams)[1] for c in clips})))


def mean_score(key: str, rows: Sequence[Mapping[str, Any]], measure: Yardstick) -> Score:
    """The mean of a metric over the clips that have it, with its interval."""
    values = [row[key] for row in rows if row.get(key) is not None]
    if not values:
        return Score(None, reason=_reason(key, rows, measure))
    interval = None
    if measure.resamplings:
        interval = mean_interval(values, resamplings=measure.resamplings, rng_seed=measure.rng_seed)
    low, high = (interval.low, interval.high) if interval else (None, None)
    return Score(fmean(values), low, high, len(values))


def _reason(key: str, rows: Sequence[Mapping[str, Any]], measure: Yardstick) -> str:
    brought = key not in _BROUGHT or key in measure.given
    if brought and key in PAIRED and all(row.get("reference") is None for row in rows):
        return "no video has the name of a reference clip"
    return REASONS.get(key, "")


def own_scores(rows: Sequence[Mapping[str, Any]], clips: Sequence[Observed], measure: Yardstick) -> dict[str, Score]:
    """Scores of the reference by itself: what needs no second set."""
    scores = {}
    for key in measure.wanted:
        if key == "div":
            scores[key] = _diversity(clips, measure)
        elif key == "hand_sharpness" and not any(np.isfinite(clip.hands).any() for clip in clips):
            scores[key] = Score(None, reason=REASONS[key])
        elif key in ("sharpness", "hand_sharpness"):
            scores[key] = Score(1.0)  # it is measured against the reference's own
        elif key in PAIRED or key in SETS:
            scores[key] = Score(None, reason="compares a video with the reference")
        else:
            scores[key] = _explained(key, mean_score(key, rows, measure), clips)
    return scores


def still_system(name: str, rows: Sequence[Mapping[str, Any]], measure: Yardstick) -> System:
    """The column of the reference's first frames, repeated: only pictures can be scored."""
    scores = {
        key: mean_score(key, rows, measure)
        if key in PAIRED and key != "sync"
        else Score(None, reason="not asked of a still picture")
        for key in measure.wanted
    }
    return System(name, "still", scores, [dict(row) for row in rows])


def _set_score(
    key: str,
    rows: Sequence[Mapping[str, Any]],
    clips: Sequence[Observed],
    references: Sequence[Observed],
    measure: Yardstick,
) -> Score:
    if key == "div":
        return _diversity(clips, measure)
    if key == "fgd":
        if measure.space is None:
            return Score(None, reason=measure.no_space)
        made = [moments(measure.features(clip)) for clip in clips]
        real = {clip.item.id: moments(measure.features(clip)) for clip in references}
    else:
        if key in _BROUGHT and key not in measure.given:
            return Score(None, reason=REASONS[key])
        made, real = (
            _feature_moments(key, clips),
            dict(zip((clip.item.id for clip in references), _feature_moments(key, references), strict=True)),
        )
    counts = [sum(one.count for one in side) for side in (made, real.values())]
    if min(counts) < 2:
        unit = f"windows of {measure.window} frames" if key == "fgd" else "clips of 16 frames"
        return Score(None, reason=f"{counts[0]} {unit}, and {counts[1]} of the reference: at least 2 each are needed")
    value = frechet_distance(reduce(Moments.__add__, made), reduce(Moments.__add__, real.values()))
    return _frechet_score(value, made, [row.get("reference") for row in rows], real, measure)


def _feature_moments(key: str, clips: Sequence[Observed]) -> list[Moments]:
    """Moments of each clip's video features; of none where a clip is shorter than 16 frames."""
    width = next((clip.features[key].shape[1] for clip in clips if key in clip.features), 1)
    return [moments(clip.features.get(key, torch.zeros(0, width))) for clip in clips]


def _frechet_score(
    value: float,
    made: Sequence[Moments],
    partners: Sequence[str | None],
    real: Mapping[str, Moments],
    measure: Yardstick,
) -> Score:
    used = sum(one.count > 0 for one in made)
    if not measure.resamplings:
        return Score(value, clips=used)
    # a reference with several videos is drawn with the first of them only
    pairs, alone, taken = [], [], set()
    for one, partner in zip(made, partners, strict=True):
        if partner is not None and partner in real and partner not in taken:
            pairs.append((one, real[partner]))
            taken.add(partner)
        else:
            alone.append(one)
    rest = [one for name, one in real.items() if name not in taken]
    interval = frechet_interval(pairs, alone, rest, resamplings=measure.resamplings, rng_seed=measure.rng_seed)
    return Score(value, interval.low, interval.high, used) if interval else Score(value, clips=used)


def _diversity(clips: Sequence[Observed], measure: Yardstick) -> Score:
    if measure.space is None:
        return Score(None, reason=measure.no_space)
    table = diversity_table([measure.features(clip) for clip in clips])
    if table.windows.sum() < 2:
        return Score(None, reason=f"{table.windows.sum()} windows of {measure.window} frames, at least 2 are needed")
    interval = None
    if measure.resamplings:
        interval = diversity_interval(table, resamplings=measure.resamplings, rng_seed=measure.rng_seed)
    low, high = (interval.low, interval.high) if interval else (None, None)
    return Score(table.diversity, low, high, int((table.windows > 0).sum()))
