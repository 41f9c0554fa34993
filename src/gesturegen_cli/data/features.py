"""Speech to features per video frame, the same for whole recordings as for the windows cut from them."""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gesturegen_cli.protocols import AudioEncoder
from gesturegen_cli.types import SAMPLE_RATE, AudioClip

TARGET_RMS = 0.05
"""Level of active speech as encoders get it (-26 dB of full scale, as ITU-T P.56 measurements are usually set)."""
MAX_GAIN, MIN_GAIN = 20.0, 0.05
SILENCE_RMS = 3e-4
"""Recordings whose loudest parts stay below this (-70 dB) are taken as silence and left alone."""
ACTIVE_RANGE = 0.05
"""Blocks at least this loud, relative to the loud ones, count as speech (-26 dB)."""
SHORTEST_WAVE = 400
"""Encoders get at least this many samples, one frame of the speech models in use."""


def measure_level(samples: NDArray[np.float32]) -> tuple[float, float]:
    """Constant offset of speech `n`, and the gain that brings its active parts to an rms of 0.05.

    The gain is between 0.05 and 20, and 1 for silence. Pauses do not count, so the level does not depend on how much
    of a recording is speech.
    """
    block = SAMPLE_RATE // 20
    if not len(samples):
        return 0.0, 1.0
    offset = float(np.mean(samples, dtype=np.float64))
    powers = np.array(
        [np.mean(np.square(samples[i : i + block] - offset), dtype=np.float64) for i in range(0, len(samples), block)]
    )
    levels = np.sqrt(powers)
    loud = float(np.percentile(levels, 95))
    if loud < SILENCE_RMS:
        return 0.0, 1.0
    active = math.sqrt(float(np.mean(powers[levels >= ACTIVE_RANGE * loud])))
    return offset, min(max(TARGET_RMS / active, MIN_GAIN), MAX_GAIN)


def apply_level(samples: NDArray[np.float32], offset: float, gain: float) -> NDArray[np.float32]:
    """Speech without its offset, scaled and cut to [-1, 1]."""
    scaled: NDArray[np.float32] = np.clip((samples - np.float32(offset)) * np.float32(gain), -1, 1)
    return scaled


def encode_audio(
    encoder: AudioEncoder,
    audio: AudioClip,
    frames: int,
    fps: float,
    *,
    context_seconds: float = 1.0,
    chunk_seconds: float = 30.0,
) -> Tensor:
    """Features `t c` (float32, CPU) of `frames` video frames, frame 0 starting with the speech.

    The level is measured over the whole recording; then pieces of `chunk_seconds` are encoded with
    `context_seconds` of neighbouring speech on both sides, which is cut away again. Memory does not grow with the
    length, and no feature is nearer to an artificial edge than the context. Missing speech at the end is silence.

    An encoder with a true attribute `cuts_long_speech` gets the whole recording and cuts it by itself.
    """
    samples = audio.samples
    offset, gain = measure_level(samples)
    whole = getattr(encoder, "cuts_long_speech", False)
    chunk = frames if whole else max(1, int(chunk_seconds * fps))
    total = max(len(samples), math.ceil(frames / fps * SAMPLE_RATE))
    pieces = []
    for first in range(0, frames, chunk):
        count = min(chunk, frames - first)
        step = max(0, math.floor((first / fps - context_seconds) * encoder.rate))
        begin = round(step / encoder.rate * SAMPLE_RATE)
        end = min(total, math.ceil(((first + count) / fps + context_seconds) * SAMPLE_RATE))
        # Piece by piece: a copy of a whole hour of speech would be 230 MB.
        wave = apply_level(_cut(samples, begin, max(end, begin + SHORTEST_WAVE), offset), offset, gain)
        features = _encode(encoder, wave)
        pieces.append(align_features(features, encoder.rate, count, fps, start=first / fps - step / encoder.rate))
    return torch.cat(pieces)


def align_features(features: Tensor, rate: float, frames: int, fps: float, *, start: float = 0.0) -> Tensor:
    """Features `l c` at `rate` steps per second -> `t c` at `fps`, exact in time.

    Step j is centred at (j + 0.5) / rate seconds, frame k spans `start` + [k, k + 1] / fps. Each frame is the mean of
    the linear interpolation at ceil(rate / fps) points spread over its span: an average when there are more steps
    than frames, plain interpolation at the frame's centre otherwise. Beyond the ends the nearest step holds.
    """
    points = max(1, math.ceil(rate / fps - 1e-6))
    index = torch.arange(frames * points, dtype=torch.float64)
    position = (start + (index + 0.5) / (points * fps)) * rate - 0.5
    position = position.clamp(0, len(features) - 1)
    left = position.floor().long()
    right = (left + 1).clamp_max(len(features) - 1)
    part = (position - left).to(features)[:, None]
    between = torch.lerp(features[left.to(features.device)], features[right.to(features.device)], part)
    return between.reshape(frames, points, -1).mean(dim=1)


def _cut(samples: NDArray[np.float32], begin: int, end: int, silence: float) -> NDArray[np.float32]:
    """Samples from `begin` to `end`, `silence` where the recording is over."""
    piece = samples[begin:end]
    return np.pad(piece, (0, end - begin - len(piece)), constant_values=silence)


def _encode(encoder: AudioEncoder, wave: NDArray[np.float32]) -> Tensor:
    """One piece of speech `n` -> features `l c`, computed where the encoder's weights are."""
    device = torch.device("cpu")
    if isinstance(encoder, torch.nn.Module):
        held = next(itertools.chain(encoder.parameters(), encoder.buffers()), None)
        device = device if held is None else held.device
    with torch.no_grad():
        return encoder(torch.from_numpy(wave)[None].to(device))[0].float().cpu()
