"""The audio features of S2G-MDDiffusion (He et al. 2024), so that denoisers trained on them can be driven."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from gesturegen_cli.config.schema import ranged
from gesturegen_wavlm.backbone import Backbone, Settings, require_finite
from gesturegen_wavlm.hand_made import DIM, FPS, SAMPLES_PER_FRAME, HandMade, count_frames
from gesturegen_wavlm.layouts import WAVLM_LARGE, Layout


class S2G35(nn.Module):
    """The hand-made features alone, the "baseline" audio of S2G-MDDiffusion; needs no weights.

    Onset strength 1, MFCC 20, chroma CENS 12, onset peaks 1, beats 1.
    """

    cuts_long_speech = True
    """Whole recordings are wanted: slices are cut here."""

    @dataclass(frozen=True)
    class Config:
        """How long the stretches are that are analysed on their own."""

        slice_seconds: float = ranged(3.2, 0, 600)
        """Length of the slices; 3.2 as in training of the published models, 0 for the whole wave at once."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.dim, self.rate = DIM, FPS
        self.hand_made = HandMade()

    def forward(self, wave: Tensor) -> Tensor:
        """16 kHz waves `b n` in [-1, 1] -> features `b l 35` at 25 Hz, l as `count_frames`; step j is at j / 25 s."""
        require_finite(wave)
        return slice_hand_made(self.hand_made, wave, self.config.slice_seconds).to(wave.dtype)


class S2G1059(nn.Module):
    """The last layer of WavLM-Large 1024, then the 35 hand-made features, at 25 Hz.

    WavLM runs over all of the speech given, in windows, as it ran over whole clips when the published models were
    trained; the hand-made features are made slice by slice.
    """

    layout: ClassVar[Layout] = WAVLM_LARGE
    cuts_long_speech = True
    """Whole recordings are wanted: windows and slices are cut here."""

    @dataclass(frozen=True)
    class Config(Settings):
        """Which weights, and how speech is cut."""

        slice_seconds: float = ranged(3.2, 0, 600)
        """Length of the slices for the hand-made features; 0 for the whole wave at once."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.dim, self.rate = self.layout.width + DIM, FPS
        self.backbone = Backbone(self.layout)
        self.hand_made = HandMade()

    def load(self, device: torch.device | str = "cpu") -> None:
        """Read the weights if that was not done yet, and record in `config` what was read. Raises as the others' do."""
        self.config = self.backbone.load(self.config, torch.device(device))

    @torch.no_grad()
    def forward(self, wave: Tensor) -> Tensor:
        """16 kHz waves `b n` in [-1, 1] -> features `b l c` at 25 Hz, l as `count_frames`, in the type of the wave.

        The last of WavLM's steps at 50 Hz is repeated once, then they are interpolated linearly to half as many with
        both ends kept. Step j of them is therefore at about j / 25 + 0.0125 seconds.
        """
        self.load(wave.device)
        windows = self.backbone.iter_states(wave, self.config, (self.layout.layers,), 0)
        steps = torch.cat([last for (last,) in windows], dim=1)
        steps = torch.cat([steps, steps[:, -1:]], dim=1)
        frames = count_frames(wave.shape[-1])
        halved = functional.interpolate(steps.transpose(1, 2), size=frames, mode="linear", align_corners=True)
        hand_made = slice_hand_made(self.hand_made, wave, self.config.slice_seconds)
        return torch.cat([halved.transpose(1, 2), hand_made], dim=-1).to(wave.dtype)


def slice_hand_made(hand_made: HandMade, wave: Tensor, seconds: float) -> Tensor:
    """Hand-made features `b t 35` of 16 kHz waves `b n`, each slice on its own, all if `seconds` is 0.

    The last slice begins early enough to be a whole one, of which the end is kept.
    """
    frames = count_frames(wave.shape[-1])
    size = min(frames, round(seconds * FPS)) if seconds else frames
    if size == frames:
        return hand_made(wave, frames)  # type: ignore[no-any-return] # modules give Any
    wave = functional.pad(wave, (0, max(0, frames * SAMPLES_PER_FRAME - wave.shape[-1])))
    parts = []
    for first in range(0, frames, size):
        begin = min(first, frames - size)
        piece = wave[:, begin * SAMPLES_PER_FRAME : (begin + size) * SAMPLES_PER_FRAME]
        parts.append(hand_made(piece, size)[:, first - begin :])
    return torch.cat(parts, dim=1)
