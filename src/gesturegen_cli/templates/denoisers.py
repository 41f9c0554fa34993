"""A denoiser for gesturegen: gated convolutions over time. Replace the layers by those you want to try."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gesturegen_cli.config.schema import ranged
from gesturegen_cli.nn.embeddings import timestep_embedding
from gesturegen_cli.types import Conditioning

KERNEL = 5


class TemplateDenoiser(nn.Module):
    """Dilated convolutions over the frames before the window and the window itself, told of speech and timestep."""

    @dataclass(frozen=True)
    class Config:
        """Sizes named as here are filled in by gesturegen; users set the others, with denoiser.params.KEY."""

        motion_dim: int = ranged(98, 1)
        audio_dim: int = ranged(68, 1)
        width: int = ranged(128, 8, 4096)
        """Channels of every layer."""
        layers: int = ranged(6, 1, 12)
        """Each hears twice as far as the one before."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.motion_in = nn.Linear(2 * config.motion_dim + 1, width)
        self.audio_in = nn.Linear(config.audio_dim, width)
        self.no_audio = nn.Parameter(0.02 * torch.randn(width))
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.layers = nn.ModuleList(
            nn.Conv1d(width, 2 * width, KERNEL, padding=KERNEL // 2 * 2**i, dilation=2**i) for i in range(config.layers)
        )
        self.motion_out = nn.Linear(width, config.motion_dim)

    def forward(self, motion: Tensor, timestep: Tensor, cond: Conditioning) -> Tensor:
        """Noised motion `b t d` and training steps `b` -> clean motion `b t d`."""
        valid = cond.seed_valid[:, :, None]
        frames = torch.cat([torch.where(valid > 0.5, cond.seed, 0), motion], dim=1)
        known = torch.cat([valid, torch.zeros_like(motion[:, :, :1])], dim=1)
        x = self.motion_in(torch.cat([frames, cond.source[:, None].expand_as(frames), known], dim=-1))
        heard = torch.where(cond.audio_keep[:, None, None] > 0.5, self.audio_in(cond.audio), self.no_audio)
        told = nn.functional.pad(heard, (0, 0, cond.seed.shape[1], 0))  # the window comes after the seed frames
        told = told + self.time(timestep_embedding(timestep, self.config.width).to(motion))[:, None]
        for layer in self.layers:
            value, gate = layer((x + told).transpose(1, 2)).transpose(1, 2).chunk(2, dim=-1)
            x = x + value * gate.sigmoid()
        clean: Tensor = self.motion_out(x[:, cond.seed.shape[1] :])
        return clean
