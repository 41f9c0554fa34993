"""An audio encoder for gesturegen: loudness in bands of the spectrum. Replace what it hears by what you want heard."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gesturegen_cli.config.schema import ranged
from gesturegen_cli.types import SAMPLE_RATE

RATE = 50.0
"""Feature steps per second."""
HOP = int(SAMPLE_RATE / RATE)
QUIET = 1e-6
"""Power below which everything counts as silence."""


class TemplateEncoder(nn.Module):
    """Log power in equal bands from 0 to 8 kHz, `bands` numbers 50 times a second."""

    @dataclass(frozen=True)
    class Config:
        """What users may set with --set audio_encoder.params.KEY=VALUE."""

        bands: int = ranged(16, 1, 160)
        """Bands between 0 and 8 kHz."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.dim = config.bands
        self.rate = RATE

    def forward(self, wave: Tensor) -> Tensor:
        """16 kHz waves `b n` in [-1, 1] -> features `b l dim`, l = n / 320 rounded up."""
        steps = -(-wave.shape[-1] // HOP)
        frames = nn.functional.pad(wave.float(), (0, steps * HOP - wave.shape[-1])).reshape(-1, HOP)
        power = torch.fft.rfft(frames * torch.hann_window(HOP, device=wave.device)).abs().square() / HOP
        bands = nn.functional.adaptive_avg_pool1d(power[:, 1:], self.dim).reshape(len(wave), steps, self.dim)
        return (torch.log10(bands + QUIET) + 3) / 2
