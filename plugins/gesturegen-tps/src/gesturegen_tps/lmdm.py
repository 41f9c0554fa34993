"""The `lmdm` denoiser: the latent motion diffusion model of S2G-MDDiffusion (He et al. 2024).

With the default sizes the state dict has the names and shapes of the published `motion_diffusion.pt` (249 tensors).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gesturegen_cli.config.schema import ranged
from gesturegen_cli.errors import ConfigError
from gesturegen_cli.nn.embeddings import timestep_embedding
from gesturegen_cli.types import Conditioning
from gesturegen_tps.lmdm_layers import DecoderLayer, EncoderLayer, Rotary

TIME_TOKENS = 2
"""Tokens about the diffusion step that follow the audio in the memory."""


class Stack(nn.Module):
    """The decoder layers, under the name the release has for them."""

    def __init__(self, layers: list[DecoderLayer]) -> None:
        super().__init__()
        self.stack = nn.ModuleList(layers)

    def forward(self, x: Tensor, memory: Tensor, condition: Tensor) -> Tensor:
        """Apply all layers to tokens `b t width`."""
        for layer in self.stack:
            x = layer(x, memory, condition)
        return x


class Lmdm(nn.Module):
    """Clean motion from noised motion, speech, and the one frame before the window.

    That frame is the last seed frame where there is one, else the picture's own motion. Windows may be shorter than
    `frames`. Audio is left out where `audio_keep` says so, and only there.
    """

    @dataclass(frozen=True)
    class Config:
        """Sizes; the defaults are the published ones. The core knows `motion_dim`, `audio_dim` and `frames`."""

        motion_dim: int = ranged(200, 1)
        audio_dim: int = ranged(1059, 1)
        frames: int = ranged(80, 1, 1000)
        """Most frames of a window."""
        width: int = ranged(512, 8, 4096)
        """Size of tokens; a multiple of `heads`, and even."""
        layers: int = ranged(8, 1, 64)
        heads: int = ranged(8, 1, 64)
        feedforward: int = ranged(1024, 1)
        audio_layers: int = ranged(2, 1, 64)
        dropout: float = ranged(0.1, 0, 0.9)

    def __init__(self, config: Config) -> None:
        super().__init__()
        if config.width % config.heads or config.width % 2:
            found = f"width is {config.width}, expected an even multiple of heads = {config.heads}"
            step = 2 * config.heads
            raise ConfigError(found, f"take {max(config.width // step, 1) * step}")
        self.config = config
        width, sizes = config.width, (config.width, config.heads, config.feedforward, config.dropout)
        self.null_cond_embed = nn.Parameter(torch.randn(1, config.frames, width))
        self.null_cond_hidden = nn.Parameter(torch.randn(1, width))
        self.rotary = Rotary(width)  # the layers have their own; kept because the release saves this one too
        self.time_mlp = nn.Sequential(nn.Identity(), nn.Linear(width, 4 * width), nn.Mish())
        self.to_time_cond = nn.Sequential(nn.Linear(4 * width, width))
        self.to_time_tokens = nn.Sequential(nn.Linear(4 * width, TIME_TOKENS * width))
        self.norm_cond = nn.LayerNorm(width)
        self.input_projection = nn.Linear(2 * config.motion_dim, width)
        self.cond_encoder = nn.Sequential(*(EncoderLayer(*sizes) for _ in range(config.audio_layers)))
        self.cond_projection = nn.Linear(config.audio_dim, width)
        self.non_attn_cond_projection = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width)
        )
        self.seqTransDecoder = Stack([DecoderLayer(*sizes) for _ in range(config.layers)])
        self.final_layer = nn.Linear(width, config.motion_dim)

    def forward(self, motion: Tensor, timestep: Tensor, cond: Conditioning) -> Tensor:
        """Noised motion `b t d` and training steps `b` -> clean motion `b t d`; t at most `config.frames`."""
        frames = motion.shape[1]
        if frames > self.config.frames:
            found = f"a window of {frames} frames, this denoiser takes up to {self.config.frames}"
            raise ConfigError(found, "lower window.frames")
        before = frame_before(cond).to(motion.dtype)[:, None].expand_as(motion)
        audio, pooled = self._listen(cond, frames)
        time = self.time_mlp(timestep_embedding(timestep, self.config.width).to(motion.dtype))
        time_tokens = self.to_time_tokens(time).unflatten(-1, (TIME_TOKENS, -1))
        memory = self.norm_cond(torch.cat([audio, time_tokens], 1))
        tokens = self.input_projection(torch.cat([motion, before], -1))
        result: Tensor = self.final_layer(self.seqTransDecoder(tokens, memory, self.to_time_cond(time) + pooled))
        return result

    def _listen(self, cond: Conditioning, frames: int) -> tuple[Tensor, Tensor]:
        """Audio tokens `b t width` and their pooled vector `b width`; learned stand-ins where audio is not kept."""
        tokens = self.cond_encoder(self.cond_projection(cond.audio))
        pooled = self.non_attn_cond_projection(tokens.mean(1))
        keep = cond.audio_keep[:, None] > 0.5
        pooled = torch.where(keep, pooled, self.null_cond_hidden.to(pooled.dtype))
        return torch.where(keep[:, :, None], tokens, self.null_cond_embed[:, :frames].to(tokens.dtype)), pooled


def frame_before(cond: Conditioning) -> Tensor:
    """The motion directly before the window, `b d`: the last seed frame if it is valid, else the picture's own."""
    return torch.where(cond.seed_valid[:, -1:] > 0.5, cond.seed[:, -1], cond.source)
