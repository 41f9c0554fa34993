"""The 35 hand-made features of EDGE (Tseng et al. 2023) as S2G-MDDiffusion (He et al. 2024) uses them for speech."""

from __future__ import annotations

import numpy as np
import torch
import torchaudio
from torch import Tensor, nn
from torch.nn import functional

from gesturegen_cli.types import SAMPLE_RATE
from gesturegen_wavlm.chroma import ChromaCens
from gesturegen_wavlm.rhythm import detect_onsets, estimate_tempo, track_beats

RATE, HOP, FFT = 12_800, 512, 2048
FPS = RATE / HOP
"""25 frames per second."""
MEL_BANDS, COEFFICIENTS = 128, 20
DYNAMIC_RANGE = 80.0
"""dB below the loudest band of a wave at which levels are cut."""
SAMPLES_PER_FRAME = 640
"""At 16 kHz."""
DIM = 35


class HandMade(nn.Module):
    """Onset strength 1, MFCC 20, chroma CENS 12, onset peaks 1, beats 1, in this order, 25 frames per second.

    Frame j is centred at j / 25 seconds. Several of these depend on the whole wave given: levels are cut 80 dB below
    its loudest band, onsets are picked relative to its strongest, and beats are tracked through it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bands: Tensor
        self.cosines: Tensor
        with torch.device("cpu"):  # constants have their values also where a model is built on the meta device
            bands = torchaudio.functional.melscale_fbanks(
                FFT // 2 + 1, 0.0, RATE / 2, MEL_BANDS, RATE, norm="slaney", mel_scale="slaney"
            )
            cosines = torchaudio.functional.create_dct(COEFFICIENTS, MEL_BANDS, "ortho")
            self.chroma = ChromaCens(RATE, HOP)
        self.register_buffer("bands", bands, persistent=False)
        self.register_buffer("cosines", cosines, persistent=False)

    @torch.no_grad()
    def forward(self, wave: Tensor, frames: int) -> Tensor:
        """16 kHz waves `b n` -> features `b t 35`, float32: the first `frames` of 1 + floor(n / 640)."""
        with torch.autocast(wave.device.type, enabled=False):
            low = torchaudio.functional.resample(wave.float(), SAMPLE_RATE, RATE)
            # The resampler rounds lengths up, by which a frame too many could come out.
            low = low[:, : max(1, wave.shape[-1] * RATE // SAMPLE_RATE)]
            levels = self._mel_levels(low)
            onset = _onset_strength(levels)
            rhythm = torch.stack([torch.from_numpy(_rhythm(item.double().cpu().numpy())) for item in onset])
            parts = [onset[..., None], levels @ self.cosines, self.chroma(low), rhythm.to(onset)]
        return torch.cat(parts, dim=-1)[:, :frames]

    def _mel_levels(self, wave: Tensor) -> Tensor:
        """12.8 kHz waves `b n` -> mel levels in dB `b t 128`, at most 80 dB below the loudest of each wave."""
        window = torch.hann_window(FFT, device=wave.device)
        spectrum = torch.stft(wave, FFT, HOP, window=window, center=True, pad_mode="constant", return_complex=True)
        power = spectrum.abs().square().transpose(1, 2) @ self.bands
        levels = 10 * power.clamp_min(1e-10).log10()
        return levels.maximum(levels.amax(dim=(1, 2), keepdim=True) - DYNAMIC_RANGE)


def count_frames(samples: int) -> int:
    """Frames at 25 per second that S2G-MDDiffusion makes of 16 kHz speech: 80 of its slices of 3.2 s.

    The speech model gives floor((n - 400) / 320) + 1 steps, the last one is repeated, and every other is kept.
    """
    steps = max(1, (samples - 400) // 320 + 1)
    return (steps + 2) // 2


def _onset_strength(levels: Tensor) -> Tensor:
    """Mean rise over the bands from one frame to the next, `b t` from levels `b t 128` (Boeck and Widmer 2013).

    It is delayed by half a window, 2 frames: windows hear an onset that long before they are centred on it.
    """
    rise = levels.diff(dim=1).clamp_min(0).mean(dim=-1)
    return functional.pad(rise, (1 + FFT // (2 * HOP), 0))[:, : levels.shape[1]]


def _rhythm(
    envelope: np.ndarray[tuple[int], np.dtype[np.float64]],
) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Onset peaks and beats as ones among zeros, `t 2`, from an onset strength `t`."""
    marks = np.zeros((len(envelope), 2), dtype=np.float32)
    marks[detect_onsets(envelope, FPS), 0] = 1
    if len(envelope) and np.ptp(envelope):
        marks[track_beats(envelope, FPS, estimate_tempo(envelope, FPS)), 1] = 1
    return marks
