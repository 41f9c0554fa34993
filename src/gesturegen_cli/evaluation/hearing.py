"""What is heard in a clip: onsets of speech, where it pauses, and whether two sounds run together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from gesturegen_cli.evaluation.beat import HOP, SILENT, Times, audio_beats, onset_strength
from gesturegen_cli.evaluation.kinematics import speech_activity
from gesturegen_cli.types import SAMPLE_RATE, AudioClip

_USUAL_LAG = 0.5
"""Seconds by which two sounds are shifted against each other in search of their offset."""
_MOST_LAG = 5.0
"""The same where none of these shifts makes them alike."""
_ALIKE = 0.5
"""Least correlation of the onset strengths of two sounds that are the same."""


@dataclass(frozen=True)
class Hearing:
    """The speech of one clip of t frames."""

    onsets: Times
    """In frames; empty for silence."""
    loudness: NDArray[np.float32]
    """Onset strength, 100 per second."""
    speaking: NDArray[np.bool_]
    """Per frame, whether there is speech, `t`."""
    frames: int
    """Frames the whole speech asks for."""


def hear(audio: AudioClip, fps: float, frames: int) -> Hearing:
    """Listen to the speech of a clip of which `frames` frames at `fps` count."""
    heard = AudioClip(audio.samples[: round(frames / fps * SAMPLE_RATE)], audio.name)
    strength = onset_strength(torch.from_numpy(heard.samples)).float().numpy()
    return Hearing(audio_beats(heard, fps), strength, speech_activity(heard, fps, frames), audio.frames(fps))


def is_silent(audio: AudioClip) -> bool:
    """Whether a recording is too quiet throughout to have onsets."""
    return bool(np.abs(audio.samples).max(initial=0.0) < SILENT)


def sound_offset(made: NDArray[np.float32], real: NDArray[np.float32]) -> float | None:
    """Milliseconds by which a sound comes later than the reference's, from onset strengths at 100 per second.

    The shift within half a second at which the two correlate most. When none makes them alike (correlation below 0.5),
    the best one within 5 s and half the clip; when there is none either, 5000: it is another speech, or farther off.
    None when either is silent or shorter than 2 s.
    """
    count, near, far = min(len(made), len(real)), _steps(_USUAL_LAG), _steps(_MOST_LAG)
    if count < 4 * near or made[:count].max() <= 0 or real[:count].max() <= 0:
        return None
    one, other = made[:count].astype(np.float64), real[:count].astype(np.float64)
    for reach in (near, min(far, count // 2)):
        shifts = range(-reach, reach + 1)
        likeness = [_likeness(one, other, shift) for shift in shifts]
        best = int(np.argmax(likeness))
        if likeness[best] >= _ALIKE:
            return shifts[best] * 1000 * HOP / SAMPLE_RATE
    return 1000 * _MOST_LAG


def _steps(seconds: float) -> int:
    """Steps of the onset strength."""
    return round(seconds * SAMPLE_RATE / HOP)


def _likeness(made: NDArray[np.float64], real: NDArray[np.float64], shift: int) -> float:
    """Correlation of `made`, moved `shift` steps forward in time, with `real` of the same length where they overlap."""
    one = made[max(0, shift) : len(made) + min(0, shift)]
    other = real[max(0, -shift) : len(real) - max(0, shift)]
    one, other = one - one.mean(), other - other.mean()
    return float(one @ other) / max(float(np.linalg.norm(one) * np.linalg.norm(other)), 1e-12)
