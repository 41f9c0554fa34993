"""How a person moves: speed, jerk, range, stillness while nobody speaks, and jolts where windows meet.

Poses are `t k 2`: joints about the neck, in shoulder widths. Everything is computed in float64.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gesturegen_cli.errors import InputError
from gesturegen_cli.types import SAMPLE_RATE, AudioClip

SHORTEST_PAUSE = 0.3
"""Seconds; what is shorter belongs to the speech around it."""
SHORTEST_SHARE = 0.5
"""Seconds of speech, and of pauses, that a comparison of both needs."""
_STEP = SAMPLE_RATE // 100
_SILENT = 1e-3
"""Peak under which a recording is silent, as for onsets."""
_LOUD, _QUIET = 95, 5
"""Percentiles of the level, in dB, that stand for the loud and the quiet parts of a recording."""
_SOUND = 40.0
"""Depth under the loudest moment, in dB, within which there is sound at all."""
_STEADY = 10.0
"""Least distance of loud and quiet parts, in dB, of a recording with pauses."""
_DEEPEST = 30.0
"""How far the gate lies under the loud parts where pauses are silent, in dB: below the weak sounds of speech."""
_GATE = 2 / 3
"""Where the gate lies on the way from loud to quiet parts where noise fills the pauses."""


def pose_speed(poses: Tensor) -> Tensor:
    """Mean over joints of the distance from frame to frame: poses `t k 2` -> `t - 1`, shoulder widths per frame."""
    speed: Tensor = torch.diff(poses.double(), dim=0).norm(dim=-1).mean(dim=-1)
    return speed


def mean_speed(poses: Tensor, fps: float) -> float | None:
    """Mean speed of the joints in shoulder widths per second; None below two frames."""
    return float(pose_speed(poses).mean()) * fps if len(poses) > 1 else None


def mean_jerk(poses: Tensor, fps: float) -> float | None:
    """Mean magnitude of the joints' third difference, in shoulder widths per second cubed; None below four frames."""
    if len(poses) < 4:
        return None
    return float(torch.diff(poses.double(), n=3, dim=0).norm(dim=-1).mean()) * fps**3


def range_of_motion(poses: Tensor, joints: Sequence[str]) -> float | None:
    """Size of the area that the wrists use, in shoulder widths: mean over both of the diagonal of its box.

    The box reaches from the 5 % to the 95 % quantile of x and of y. None without frames. Raises InputError when
    `joints` has no wrists.
    """
    names = ("left_wrist", "right_wrist")
    if not set(names) <= set(joints):
        raise InputError(f"poses of {len(joints)} joints without wrists, expected both", "use other poses")
    if len(poses) == 0:
        return None
    wrists = poses[:, [joints.index(name) for name in names]].double()
    low, high = torch.quantile(wrists, torch.tensor([0.05, 0.95], dtype=torch.float64), dim=0)
    return float((high - low).norm(dim=-1).mean())


def speech_activity(audio: AudioClip, fps: float, frames: int) -> NDArray[np.bool_]:
    """Whether somebody speaks, `frames`: value i is for the time from frame i to frame i + 1.

    A gate on the loudness of 10 ms: 30 dB under the recording's own loud parts, and higher where noise fills the
    pauses. Pauses shorter than 0.3 s are speech. A silent recording is all pauses, a steady one all speech, and what
    lies beyond its end is a pause.
    """
    steps = math.ceil(len(audio.samples) / _STEP)
    active = np.zeros(frames, dtype=np.bool_)
    if steps == 0 or np.abs(audio.samples).max() < _SILENT:
        return active
    samples = np.pad(audio.samples.astype(np.float64), (0, steps * _STEP - len(audio.samples)))
    power = (samples.reshape(steps, _STEP) ** 2).mean(axis=1)
    # three steps together, so that the periods of a low voice do not show
    power = np.convolve(np.pad(power, 1, mode="edge"), np.full(3, 1 / 3), mode="valid")
    level = 10 * np.log10(np.maximum(power, 1e-6 * power.max()))
    # the loud parts are sought among sounds only, or a single word in a long silence would have none
    loud, quiet = np.percentile(level[level > level.max() - _SOUND], _LOUD), np.percentile(level, _QUIET)
    speech = level >= loud - min(_DEEPEST, _GATE * (loud - quiet))
    if loud - quiet < _STEADY:
        speech[:] = True
    _fill_short_pauses(speech, round(SHORTEST_PAUSE * SAMPLE_RATE / _STEP))
    places = np.floor((np.arange(frames) + 0.5) / fps * SAMPLE_RATE / _STEP).astype(np.int64)
    inside = places < steps
    active[inside] = speech[places[inside]]
    return active


def silence_ratio(poses: Tensor, speech: NDArray[np.bool_], fps: float) -> tuple[float | None, str]:
    """Mean speed in pauses over mean speed in speech, and an empty reason; or None and why there is none.

    `speech` is that of speech_activity for the frames of `poses` `t k 2`. Needs 0.5 s of each.
    """
    speed = pose_speed(poses).numpy()
    spoken = speech[: len(speed)]
    speed = speed[: len(spoken)]
    for name, count in (("speech", int(spoken.sum())), ("pauses", int((~spoken).sum()))):
        if count < SHORTEST_SHARE * fps:
            return None, f"{count / fps:.2f} s of {name}, at least {SHORTEST_SHARE:g} s are needed"
    moving = float(speed[spoken].mean())
    if moving == 0:
        return None, "nothing moves while somebody speaks"
    return float(speed[~spoken].mean()) / moving, ""


def seam_score(poses: Tensor, boundaries: Sequence[int]) -> tuple[float | None, str]:
    """Mean step into the frames `boundaries`, at which windows begin, over the median step of `poses` `t k 2`.

    About 1 where seams do not show; with it an empty reason. Boundaries outside 1 to t - 1 do not count; None and why
    when none is left, or when most steps are 0.
    """
    speed = pose_speed(poses)
    inside = [frame - 1 for frame in boundaries if 1 <= frame <= len(speed)]
    usual = float(speed.quantile(0.5)) if len(speed) else 0.0
    if not boundaries:
        return None, "no record beside the videos says where windows begin"
    if not inside:
        return None, "no window but the first begins inside the measured frames"
    if usual == 0:
        return None, "nothing moves in most frames, so that there is no usual step"
    return float(speed[inside].mean()) / usual, ""


def _fill_short_pauses(speech: NDArray[np.bool_], shortest: int) -> None:
    """Set pauses of fewer than `shortest` steps, in place."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], ~speech, [False]])))
    for start, end in edges.reshape(-1, 2):
        if end - start < shortest:
            speech[start:end] = True
