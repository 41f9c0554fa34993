"""The built-in audio encoder: what gestures follow in speech, by signal processing alone. Nothing is learned."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torchaudio
from torch import Tensor, nn
from torch.nn import functional

from gesturegen_cli.config.schema import ranged
from gesturegen_cli.errors import ConfigError
from gesturegen_cli.types import SAMPLE_RATE

FFT = 1024
"""Length of a frame in samples (64 ms): two periods of the lowest voice."""
LOG_FLOOR = 1e-5
"""Added to energies before the logarithm; 30 dB under quiet speech at the level of `data.features`."""
PITCH_RANGE = (65.0, 400.0)
"""Hz searched for the fundamental frequency."""
BASELINE_SECONDS = 0.8
"""Pitch is told relative to the mean pitch of voiced speech this far before and after."""


class LogMel(nn.Module):
    """Log mel bands, energy, onset strength, relative pitch and voicedness, `mel_bins + 4` numbers per step.

    Fixed constants bring speech at the level of `data.features` to about zero mean and unit range.
    A step sees at most 0.9 s around itself, so recordings can be encoded in pieces.
    """

    @dataclass(frozen=True)
    class Config:
        """`rate` is in steps per second and must divide 16000."""

        mel_bins: int = ranged(64, 8, 128)
        rate: float = ranged(50.0, 10, 200)
        min_hz: float = ranged(50.0, 0, 1000)
        max_hz: float = ranged(7600.0, 1000, 8000)

    def __init__(self, config: Config) -> None:
        super().__init__()
        if SAMPLE_RATE % config.rate:
            raise ConfigError(f"rate {config.rate} does not divide {SAMPLE_RATE}", "choose 25, 40, 50, 80 or 100")
        self.config = config
        self.dim = config.mel_bins + 4
        self.rate = config.rate
        self.hop = int(SAMPLE_RATE / config.rate)
        bands = torchaudio.functional.melscale_fbanks(
            FFT // 2 + 1, config.min_hz, config.max_hz, config.mel_bins, SAMPLE_RATE, norm="slaney", mel_scale="slaney"
        )
        self.bands: Tensor
        self.window: Tensor
        self.register_buffer("bands", bands, persistent=False)
        self.register_buffer("window", torch.hann_window(FFT), persistent=False)

    @torch.no_grad()
    def forward(self, wave: Tensor) -> Tensor:
        """16 kHz waves `b n` in [-1, 1] -> features `b l c`, l = max(1, round(n / 16000 * rate)).

        Step j is centred at (j + 0.5) / rate seconds. Computed in float32, given in the type of the wave.
        """
        frames = self._frames(wave.float())
        window = self.window.float()
        power = torch.fft.rfft(frames * window).abs().square() / window.square().sum()
        mel = (power @ self.bands.float() * 1000 + LOG_FLOOR).log()
        rms = power[..., 4:].mean(dim=-1)  # from 62 Hz, so that hum and offset do not count
        energy = (rms + LOG_FLOOR).log()
        onset = functional.pad(mel.diff(dim=1), (0, 0, 1, 0)).clamp_min(0).mean(dim=-1)
        pitch, voiced = self._pitch(frames - frames.mean(dim=-1, keepdim=True))
        extra = torch.stack([(energy + 8.2) / 2.4, onset * 1.5 - 0.6, pitch, voiced], dim=-1)
        return torch.cat([(mel + 7) / 3.5, extra], dim=-1).to(wave.dtype)

    def _frames(self, wave: Tensor) -> Tensor:
        """Overlapping frames `b l n'` of FFT samples, frame j around sample (j + 0.5) hop; zeros outside the wave."""
        steps = max(1, round(wave.shape[-1] / self.hop))
        before = (FFT - self.hop) // 2
        after = max(0, (steps - 1) * self.hop + FFT - before - wave.shape[-1])
        return functional.pad(wave, (before, after)).unfold(-1, FFT, self.hop)[:, :steps]

    def _pitch(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Relative pitch in octaves x voicedness, and voicedness in [0, 1], both `b l`, from centred frames `b l n'`.

        Peak of the autocorrelation divided by that of the window (Boersma 1993); long lags pay a little, which keeps
        the octave.
        """
        window = self.window.float()
        correlation = _autocorrelation(frames * window) / _autocorrelation(window).clamp_min(1e-3)
        shortest, longest = (round(SAMPLE_RATE / hz) for hz in reversed(PITCH_RANGE))
        power = correlation[..., :1]
        candidates = correlation[..., shortest : longest + 1] / (power + LOG_FLOOR)
        lags = torch.arange(shortest, longest + 1, device=frames.device)
        cost = 0.05 * torch.log2(lags / shortest)
        best = (candidates - cost).argmax(dim=-1)
        strength = candidates.gather(-1, best[..., None])[..., 0]
        voiced = ((strength - 0.35) / 0.4).clamp(0, 1)
        octaves = torch.log2(SAMPLE_RATE / lags[best] / math.sqrt(PITCH_RANGE[0] * PITCH_RANGE[1]))
        reach = round(BASELINE_SECONDS * self.rate)
        baseline = _moving_sum(octaves * voiced, reach) / (_moving_sum(voiced, reach) + 1e-3)
        return (2 * (octaves - baseline)).clamp(-1.5, 1.5) * voiced, voiced


def _autocorrelation(x: Tensor) -> Tensor:
    """Linear autocorrelation over the last axis, by Wiener-Khinchin."""
    spectrum = torch.fft.rfft(x, n=2 * FFT).abs().square()
    result: Tensor = torch.fft.irfft(spectrum, n=2 * FFT)
    return result[..., :FFT]


def _moving_sum(x: Tensor, reach: int) -> Tensor:
    """Sum over `reach` steps before to `reach` steps after, zeros outside; x `b l`."""
    return functional.pad(x, (reach, reach)).unfold(-1, 2 * reach + 1, 1).sum(dim=-1)
