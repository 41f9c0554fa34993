"""Beat alignment: does the motion come to rest where the speech has its onsets?"""

from __future__ import annotations

import math

import numpy as np
import torch
import torchaudio
from numpy.typing import NDArray
from torch import Tensor

from gesturegen_cli.types import SAMPLE_RATE, AudioClip

HOP = 160
"""Samples between onset-strength values: 100 per second."""
SIGMA = 3.0
"""Tolerance of the score, in video frames."""
SMOOTHING = 5.0
"""Standard deviation of the Gaussian over the speed of motion, in video frames."""
_BLOCK = 60 * SAMPLE_RATE
_HALF = 256
"""Half the length of a spectrum's window, in samples."""
_SILENT = 1e-3
"""Peak under which a recording has no onsets."""
_FLOOR = 1e-6 * (_HALF / 2) ** 2
"""Power 60 dB under that of a sine of full scale in one spectrum."""
_AROUND = 10
"""Steps before and after a peak that its threshold is the mean of: 0.1 s."""
_NEAR = 3
"""Steps before and after in which a peak must be the highest: 0.03 s."""
_ABOVE = 0.07
"""How far a peak rises above the mean around it, as a share of the strongest onset."""

Times = NDArray[np.float64]


def audio_beats(audio: AudioClip, fps: float) -> Times:
    """Onsets of speech, in video frames at `fps`; empty for silence."""
    strength = onset_strength(torch.from_numpy(audio.samples))
    return _peaks(strength) * (HOP / SAMPLE_RATE * fps)


def onset_strength(wave: Tensor) -> Tensor:
    """Wave `n` at 16 kHz -> strength `l` at 100 per second: mean rise of the log mel bands in dB, 60 dB deep.

    Goes through long recordings minute by minute, so that its memory stays small. All zeros for a silent recording.
    """
    steps = math.ceil(len(wave) / HOP)
    peak = float(wave.abs().max()) if len(wave) else 0.0
    if peak < _SILENT:
        return torch.zeros(steps)
    mel = torchaudio.transforms.MelSpectrogram(
        SAMPLE_RATE, n_fft=2 * _HALF, hop_length=HOP, n_mels=40, f_min=60.0, center=False
    )
    previous: Tensor | None = None
    parts = []
    for start in range(0, len(wave), _BLOCK):
        count = math.ceil(min(_BLOCK, len(wave) - start) / HOP)
        context = wave[max(0, start - _HALF) : start + _BLOCK + _HALF] / peak
        # padded so that the first window is centred on `start`; what is too much at the end is cut
        power = mel(torch.nn.functional.pad(context, (max(0, _HALF - start), 2 * _HALF)))[:, :count]
        bands = 10 * torch.log10(power.clamp_min(_FLOOR))
        before = bands[:, :1] if previous is None else previous
        parts.append(torch.diff(bands, dim=1, prepend=before).clamp_min(0).mean(dim=0))
        previous = bands[:, -1:]
    return torch.cat(parts)


def _peaks(strength: Tensor) -> Times:
    """Positions of peaks of `l`: highest within 0.03 s on each side and clearly above the mean of 0.1 s around."""
    values = strength.double().numpy()
    top = float(values.max(initial=0.0))
    if top < 1.0:  # dB: nothing begins in silence or a steady tone
        return np.zeros(0)
    values = values / top
    highest = np.lib.stride_tricks.sliding_window_view(np.pad(values, _NEAR), 2 * _NEAR + 1).max(axis=1)
    width = 2 * _AROUND + 1
    around = np.convolve(np.pad(values, _AROUND, mode="edge"), np.full(width, 1 / width), mode="valid")
    candidates = np.flatnonzero((values >= highest) & (values >= around + _ABOVE))
    kept: list[int] = []
    for candidate in candidates:
        if not kept or candidate - kept[-1] > _NEAR:
            kept.append(int(candidate))
    return np.asarray(kept, dtype=np.float64)


def motion_beats(motion: Tensor) -> Times:
    """Frames where motion `t d` is slowest: local minima of its smoothed speed. Scale the numbers of d before."""
    if len(motion) < 4:
        return np.zeros(0)
    # the speed between frames i and i + 1 belongs to i + 0.5
    speed = torch.diff(motion.double(), dim=0).abs().mean(dim=1).numpy()
    reach = math.ceil(4 * SMOOTHING)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / SMOOTHING) ** 2)
    smooth = np.convolve(np.pad(speed, reach, mode="reflect" if len(speed) > reach else "edge"), weights, mode="valid")
    inner = smooth[1:-1]
    beats: Times = np.flatnonzero((inner < smooth[:-2]) & (inner <= smooth[2:])).astype(np.float64) + 1.5
    return beats


def beat_alignment(audio: Times, motion: Times) -> float | None:
    """BAS: mean over audio beats of exp(-d^2 / (2 x 3^2)) with d the distance to the nearest motion beat in frames.

    The form of AIST++ and Bailando. None without audio beats, 0 without motion beats.
    """
    if len(audio) == 0:
        return None
    if len(motion) == 0:
        return 0.0
    distance = np.abs(audio[:, None] - motion[None, :]).min(axis=1)
    return float(np.exp(-(distance**2) / (2 * SIGMA**2)).mean())
