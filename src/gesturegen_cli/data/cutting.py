"""Where a video is cut into clips: scene cuts, lengths, and how much of a stretch is speech."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from gesturegen_cli.types import SAMPLE_RATE

Stretch = tuple[int, int]
"""First frame, and the frame after the last."""

_LEVELS = (6.0, 24.0)
"""Least and most grey levels by which a pixel must differ to count as changed; between them half the contrast does."""
_ABOVE_AVERAGE = 3.0
"""A cut changes this many times more than the frames around it: a moving camera does not."""
_NEIGHBOURS = 5
_AFTER_FLASH = 2
"""Frames after which the picture from before a flash is back."""
_GUARD = 1
"""Frames left out on both sides of a cut: a seek may be one frame off."""
_SPEECH_FRAME = SAMPLE_RATE // 50
_FLOOR_QUANTILE = 0.1
_ABOVE_FLOOR = 2.0
"""Factor (6 dB) by which speech is louder than the noise floor."""
_SILENCE = 1e-3
"""Root mean square (-60 dB of full scale) under which nothing counts as speech."""


@dataclass(frozen=True)
class Loudness:
    """Loudness of every 20 ms of a recording, and the level above which it counts as speech."""

    rms: NDArray[np.float64]
    threshold: float

    def speech_share(self, start: float, seconds: float) -> float:
        """Share in [0, 1] of the 20 ms frames between `start` and `start + seconds` that are speech.

        Time after the end of the recording counts as silence.
        """
        first, count = round(start * 50), max(1, round(seconds * 50))
        return float(np.count_nonzero(self.rms[first : first + count] > self.threshold)) / count

    def is_silent(self, start: float, seconds: float) -> bool:
        """Whether nothing between `start` and `start + seconds` is louder than -60 dB of full scale."""
        first = round(start * 50)
        part = self.rms[first : first + max(1, round(seconds * 50))]
        return not bool((part > _SILENCE).any())


def measure_loudness(samples: NDArray[np.float32]) -> Loudness:
    """Loudness of `samples` `n` at 16 kHz. The noise floor is the quietest tenth of the whole recording.

    Speech goes up and down by 20 dB and more; a hum or a fan stays within 6 dB of its own floor and is no speech.
    """
    whole = len(samples) // _SPEECH_FRAME * _SPEECH_FRAME
    blocks = samples[:whole].reshape(-1, _SPEECH_FRAME)
    rms = np.sqrt(np.einsum("bn,bn->b", blocks, blocks, dtype=np.float64) / _SPEECH_FRAME)
    floor = float(np.quantile(rms, _FLOOR_QUANTILE)) if len(rms) else 0.0
    return Loudness(rms, max(_ABOVE_FLOOR * floor, _SILENCE))


def picture_change(before: NDArray[np.floating], after: NDArray[np.floating]) -> float:
    """Share in [0, 1] of the pixels that differ clearly between two small grey pictures `h w` in [0, 255]."""
    level = float(np.clip(0.5 * max(before.std(), after.std()), *_LEVELS))
    return float(np.mean(np.abs(after - before) > level))


@dataclass(frozen=True)
class Change:
    """How much a frame differs from the one before it, and whether that stays (after a flash it does not)."""

    step: float
    lasting: float


class ChangeMeter:
    """Takes the frames of a video one by one, as small grey pictures `h w`, and gives their changes."""

    def __init__(self) -> None:
        self._steps: list[float] = []
        self._spans: list[float] = []
        """Change of a frame against the one three before it."""
        self._last: list[NDArray[np.float32]] = []

    def add(self, picture: NDArray[np.float32]) -> None:
        """Take the next frame."""
        self._steps.append(picture_change(self._last[-1], picture) if self._last else 0.0)
        self._spans.append(picture_change(self._last[0], picture) if len(self._last) > _AFTER_FLASH else 1.0)
        self._last = [*self._last[-_AFTER_FLASH:], picture]

    def changes(self) -> list[Change]:
        """One change per frame. A flash goes and comes back: one of the spans over its edges shows no change."""
        ahead = [*self._spans[_AFTER_FLASH:], *[1.0] * _AFTER_FLASH][: len(self._steps)]
        return [Change(step, min(pair)) for step, *pair in zip(self._steps, self._spans, ahead, strict=True)]


def find_cuts(changes: Sequence[Change], threshold: float) -> list[int]:
    """Frames that begin a new scene: the picture changes by at least `threshold`, far more than around it, for good.

    Gestures change less of the picture, a moving camera changes it steadily, a flash is gone after two frames.
    """
    steps = np.array([change.step for change in changes])
    cuts: list[int] = []
    for frame in range(1, len(steps)):
        if steps[frame] < threshold or changes[frame].lasting < threshold:
            continue
        around = np.concatenate([steps[max(1, frame - _NEIGHBOURS) : frame], steps[frame + 1 :][:_NEIGHBOURS]])
        if len(around) == 0 or steps[frame] >= _ABOVE_AVERAGE * float(np.median(around)):
            cuts.append(frame)
    return cuts


def split_scenes(frames: int, cuts: Sequence[int]) -> list[Stretch]:
    """The stretches between cuts, one frame away from each cut; empty ones are left out."""
    edges = [0, *cuts, frames]
    scenes = []
    for index, (first, end) in enumerate(pairwise(edges)):
        first += _GUARD if index > 0 else 0
        end -= _GUARD if index < len(edges) - 2 else 0
        if end > first:
            scenes.append((first, end))
    return scenes


def divide(scene: Stretch, fps: float, min_seconds: float, max_seconds: float) -> tuple[list[Stretch], list[Stretch]]:
    """Cut a scene into equal clips of `min_seconds` to `max_seconds`; returns (clips, rest).

    The rest is what is too short: a whole short scene, or the end of one that equal parts would make too short.
    """
    least, most = math.ceil(min_seconds * fps - 1e-9), math.floor(max_seconds * fps + 1e-9)
    first, end = scene
    length = end - first
    if length < least or most < max(least, 1):
        return [], [scene]
    parts = -(-length // most)
    if length // parts < least:
        clips = [(first + i * most, first + (i + 1) * most) for i in range(length // most)]
        return clips, [(clips[-1][1], end)]
    edges = [first + length * i // parts for i in range(parts + 1)]
    return list(pairwise(edges)), []
