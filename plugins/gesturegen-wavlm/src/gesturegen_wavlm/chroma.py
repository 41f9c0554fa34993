"""Chroma energy normalised statistics (CENS) from a constant-Q transform (Mueller and Ewert 2011)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

LOWEST = 32.70319566257483
"""Hz of the note C1."""
OCTAVES, PER_OCTAVE, CHROMA = 7, 36, 12
THRESHOLDS = (0.4, 0.2, 0.1, 0.05)
"""Shares of a frame's energy; each that a pitch class exceeds adds a quarter."""
SMOOTHING = 41
"""Frames under the smoothing window."""
BLOCK = 256
"""Frames transformed at once: the longest filter has over 20,000 taps, which would need gigabytes for long speech."""


class ChromaCens(nn.Module):
    """CENS of waves at `rate` Hz, 12 pitch classes from C upwards per `hop` samples.

    The constant-Q filters are Hann windows of Q periods, Q = 2 / (r - 1/r) with r = 2^(1/36) (Schoerkhuber and
    Klapuri 2010), applied directly at the full rate; the tuning is taken as A4 = 440 Hz.
    """

    def __init__(self, rate: int, hop: int) -> None:
        super().__init__()
        self.hop = hop
        for octave in range(OCTAVES):
            self.register_buffer(f"octave{octave}", _octave_filters(octave, rate), persistent=False)

    def forward(self, wave: Tensor) -> Tensor:
        """Waves `b n` -> CENS `b t 12`, t = 1 + floor(n / hop), frame j centred at sample j hop."""
        energy = sum(
            (_fold(self._transform(wave, self.get_buffer(f"octave{octave}"))) for octave in range(OCTAVES)),
            start=torch.zeros((), device=wave.device),
        )
        share = energy / energy.sum(dim=-1, keepdim=True).clamp_min(torch.finfo(energy.dtype).tiny)
        quantized = sum((0.25 * (share > threshold) for threshold in THRESHOLDS), start=torch.zeros_like(share))
        window = torch.hann_window(SMOOTHING + 2, periodic=False, dtype=share.dtype, device=share.device)
        kernel = (window / window.sum()).expand(CHROMA, 1, -1)
        smooth = functional.conv1d(quantized.transpose(1, 2), kernel, padding=(SMOOTHING + 1) // 2, groups=CHROMA)
        return functional.normalize(smooth.transpose(1, 2), dim=-1)

    def _transform(self, wave: Tensor, filters: Tensor) -> Tensor:
        """Magnitudes `b t 36` of one octave; filters `n' 72`, cosines then sines."""
        taps = len(filters)
        frames = functional.pad(wave, (taps // 2, taps - taps // 2)).unfold(-1, taps, self.hop)
        blocks = [frames[:, first : first + BLOCK] @ filters for first in range(0, frames.shape[1], BLOCK)]
        cosines, sines = torch.cat(blocks, dim=1).chunk(2, dim=-1)
        return torch.hypot(cosines, sines)


def _octave_filters(octave: int, rate: int) -> Tensor:
    """Cosine and sine filters `n' 72` of one octave, the time axis common and centred.

    A filter has a sum of magnitudes of sqrt(length), as that is how librosa scales its transform: low notes weigh more.
    """
    step = 2.0 ** (1 / PER_OCTAVE)
    quality = 2 / (step - 1 / step)
    hertz = LOWEST * 2.0 ** (octave + torch.arange(PER_OCTAVE, dtype=torch.float64) / PER_OCTAVE)
    length = quality * rate / hertz
    taps = 2 * int(quality * rate / (LOWEST * 2.0**octave) / 2) + 1
    time = torch.arange(taps, dtype=torch.float64)[:, None] - taps // 2
    window = torch.where(time.abs() < length / 2, 0.5 + 0.5 * torch.cos(2 * torch.pi * time / length), 0.0)
    window = window / window.sum(dim=0) * length.sqrt()
    phase = 2 * torch.pi * hertz / rate * time
    return torch.cat([window * phase.cos(), window * phase.sin()], dim=-1).float()


def _fold(magnitudes: Tensor) -> Tensor:
    """Bins of an octave `b t 36` -> pitch classes `b t 12`: a note's own bin and the two beside it."""
    return magnitudes.roll(1, dims=-1).reshape(*magnitudes.shape[:-1], CHROMA, PER_OCTAVE // CHROMA).sum(dim=-1)
