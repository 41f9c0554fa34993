"""What is heard in a clip: onsets of speech, where it pauses, and whether two sounds run together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from gesturegen_cli.evaluation.beat import HOP, Times, audio_beats, onset_strength
from gesturegen_cli.evaluation.kinematics import speech_activity
from gesturegen_cli.types import SAMPLE_RATE, AudioClip

_MOST_LAG = 0.5
"""Seconds by which two sounds are shifted against each other in search of their offset."""


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


def sound_offset(made: NDArray[np.float32], real: NDArray[np.float32]) -> float | None:
    """Milliseconds by which a sound comes later than the reference's, from onset strengths at 100 per second.

    The shift within half a second at which the two correlate most; None when either is silent or too short, or when no
    shift makes them alike (correlation below 0.5): then it is another speech.
    """
    count, reach = min(len(made), len(real)), round(_MOST_LAG * SAMPLE_RATE / HOP)
    if count < 4 * reach or made[:count].max() <= 0 or real[:count].max() <= 0:
        return None
    middle = real[reach : count - reach].astype(np.float64)
    windows = np.lib.stride_tricks.sliding_window_view(made[:count].astype(np.float64), len(middle))
    centred = windows - windows.mean(axis=1, keepdims=True)
    target = middle - middle.mean()
    scale = np.linalg.norm(centred, axis=1) * np.linalg.norm(target)
    correlation = centred @ target / np.maximum(scale, 1e-12)
    best = int(correlation.argmax())
    return None if correlation[best] < 0.5 else float((best - reach) * 1000 * HOP / SAMPLE_RATE)
