"""The built-in denoiser: a FiLM transformer decoder over motion, with cross-attention to speech."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gesturegen_cli.config.schema import ranged
from gesturegen_cli.errors import ConfigError
from gesturegen_cli.nn.embeddings import timestep_embedding
from gesturegen_cli.nn.transformer import DecoderLayer, EncoderLayer
from gesturegen_cli.types import Conditioning


class TransformerDenoiser(nn.Module):
    """Clean motion from noised motion, speech, the frames before, and the picture's motion.

    After the denoiser of EDGE (Tseng et al. 2023) as used for gesture video by S2G-MDDiffusion (He et al. 2024), with
    three differences: seed frames are extra positions before the window, rotary positions act per head, and the
    time network is half as wide. Any window of up to `frames` frames is accepted.
    """

    @dataclass(frozen=True)
    class Config:
        """Sizes. `motion_dim` and `audio_dim` come from the deviation model and the audio encoder."""

        motion_dim: int = ranged(98, 1)
        audio_dim: int = ranged(68, 1)
        frames: int = ranged(80, 1, 1000)
        seed_frames: int = ranged(4, 1, 32)
        width: int = ranged(192, 8, 4096)
        layers: int = ranged(6, 1, 64)
        heads: int = ranged(4, 1, 64)
        feedforward: int = ranged(384, 1)
        audio_layers: int = ranged(2, 1, 64)
        dropout: float = ranged(0.1, 0, 0.9)

    def __init__(self, config: Config) -> None:
        super().__init__()
        if config.width % (2 * config.heads):
            raise ConfigError(
                f"width {config.width} does not divide into {config.heads} heads of even size",
                f"choose a width that is a multiple of {2 * config.heads}",
            )
        self.config = config
        width, hidden, dropout = config.width, config.feedforward, config.dropout
        self.motion_in = nn.Linear(2 * config.motion_dim + 1, width)
        self.audio_in = nn.Linear(config.audio_dim, width)
        self.audio_layers = nn.ModuleList(
            EncoderLayer(width, config.heads, hidden, dropout) for _ in range(config.audio_layers)
        )
        self.null_audio = nn.Parameter(torch.randn(1, config.frames, width))
        self.null_pooled = nn.Parameter(torch.randn(1, width))
        self.pooled = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.time = nn.Sequential(nn.Linear(width, 2 * width), nn.Mish())
        self.time_film = nn.Linear(2 * width, width)
        self.time_tokens = nn.Linear(2 * width, 2 * width)
        self.memory_norm = nn.LayerNorm(width)
        self.layers = nn.ModuleList(DecoderLayer(width, config.heads, hidden, dropout) for _ in range(config.layers))
        self.motion_out = nn.Linear(width, config.motion_dim)

    def forward(self, motion: Tensor, timestep: Tensor, cond: Conditioning) -> Tensor:
        """Noised motion `b t d` and training steps `b` -> clean motion `b t d`; t at most `config.frames`."""
        frames, seeds = motion.shape[1], cond.seed.shape[1]
        if frames > self.config.frames:
            raise ConfigError(
                f"a window of {frames} frames, this denoiser takes up to {self.config.frames}", "lower window.frames"
            )
        positions = torch.arange(seeds + frames + 2, device=motion.device)
        time = self.time(timestep_embedding(timestep, self.config.width).to(motion.dtype))
        audio, pooled = self._listen(cond, frames, positions[seeds : seeds + frames])
        memory = self.memory_norm(torch.cat([audio, self.time_tokens(time).unflatten(-1, (2, -1))], dim=1))
        condition = self.time_film(time) + pooled

        x = self.motion_in(_motion_tokens(motion, cond))
        for layer in self.layers:
            x = layer(x, memory, condition, positions[:-2], positions[seeds:])
        result: Tensor = self.motion_out(x[:, seeds:])
        return result

    def _listen(self, cond: Conditioning, frames: int, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Audio tokens `b t width` and their pooled vector `b width`; learned stand-ins where audio is not kept."""
        tokens = self.audio_in(cond.audio)
        for layer in self.audio_layers:
            tokens = layer(tokens, positions)
        keep = cond.audio_keep[:, None] > 0.5
        pooled = torch.where(keep, self.pooled(tokens.mean(dim=1)), self.null_pooled.to(tokens.dtype))
        return torch.where(keep[:, :, None], tokens, self.null_audio[:, :frames].to(tokens.dtype)), pooled


def _motion_tokens(motion: Tensor, cond: Conditioning) -> Tensor:
    """Seed frames, then noised frames, each with the picture's motion and a flag: `b s+t 2d+1`.

    The flag is 1 on real seed frames; seed frames that never were are zeroed and look like noise of strength 0.
    """
    valid = cond.seed_valid[:, :, None].to(motion.dtype)
    frames = torch.cat([cond.seed * valid, motion], dim=1)
    flags = torch.cat([valid, torch.zeros_like(motion[:, :, :1])], dim=1)
    return torch.cat([frames, cond.source[:, None, :].expand_as(frames), flags], dim=-1)
