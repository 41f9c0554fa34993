"""The denoiser `dit`: a transformer whose layers are modulated by what is known of the whole window (adaLN-Zero)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from gesturegen_cli.config.schema import ranged
from gesturegen_cli.nn.conv import zeroed
from gesturegen_cli.nn.transformer import Attention, FeedForward
from gesturegen_cli.types import Conditioning
from gesturegen_denoisers.conditions import Conditions, Speech, check_heads, motion_tokens


class Modulation(nn.Module):
    """`count` vectors of the size of a token from the condition of the window; all zero before training."""

    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        self.count = count
        self.project = zeroed(nn.Linear(width, count * width))

    def forward(self, condition: Tensor) -> tuple[Tensor, ...]:
        """Condition `b width` -> `count` tensors `b 1 width`."""
        projected: Tensor = self.project(functional.silu(condition))
        return projected[:, None, :].chunk(self.count, dim=-1)


class DiTBlock(nn.Module):
    """Self-attention and feed-forward, each y = x + gate * f((1 + scale) * norm(x) + shift).

    Shift, scale and gate come from the condition, and the norms have no parameters of their own. Gates start at
    zero, so that the untrained block changes nothing: adaLN-Zero (Peebles & Xie 2023, section 3.2).
    """

    def __init__(self, width: int, heads: int, feedforward: int, dropout: float) -> None:
        super().__init__()
        self.modulation = Modulation(width, 6)
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.attention = Attention(width, heads)
        self.feed_forward = FeedForward(width, feedforward, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, condition: Tensor, positions: Tensor) -> Tensor:
        """Tokens x `b t width`, condition `b width`, positions `t` -> `b t width`."""
        shift, scale, gate, shift_ff, scale_ff, gate_ff = self.modulation(condition)
        y = torch.addcmul(shift, scale + 1, self.norm(x))
        x = torch.addcmul(x, gate, self.dropout(self.attention(y, y, positions, positions)))
        y = torch.addcmul(shift_ff, scale_ff + 1, self.norm(x))
        return torch.addcmul(x, gate_ff, self.dropout(self.feed_forward(y)))


class DiTDenoiser(nn.Module):
    """Clean motion from noised motion, speech, the frames before, and the picture's motion. Any number of frames.

    A diffusion transformer (Peebles & Xie 2023) over time. Frames are tokens, with the seed frames as extra tokens
    before the window. Timestep, mean audio and the picture's motion modulate every layer; the audio of a frame is
    added to its token. Positions are rotary: only distances count.
    """

    @dataclass(frozen=True)
    class Config:
        """Sizes. `motion_dim` and `audio_dim` come from the deviation model and the audio encoder."""

        motion_dim: int = ranged(98, 1)
        """Motion size d."""
        audio_dim: int = ranged(68, 1)
        """Audio feature size c."""
        width: int = ranged(192, 8, 4096)
        """Size of a token, a multiple of twice the heads."""
        layers: int = ranged(6, 1, 64)
        """Modulated blocks."""
        heads: int = ranged(4, 1, 64)
        """Attention heads, of the audio layers too."""
        feedforward: int = ranged(768, 1)
        """Hidden size of the feed-forward parts; four times the width in the paper."""
        audio_layers: int = ranged(2, 0, 64)
        """Transformer layers that prepare the audio."""
        dropout: float = ranged(0.1, 0, 0.9)

    def __init__(self, config: Config) -> None:
        super().__init__()
        check_heads("width", config.width, config.heads)
        self.config = config
        width, heads, hidden, dropout = config.width, config.heads, config.feedforward, config.dropout
        speech = Speech(config.audio_dim, width, heads, hidden, config.audio_layers, dropout)
        self.conditions = Conditions(config.motion_dim, width, speech)
        self.motion_in = nn.Linear(2 * config.motion_dim + 1, width)
        self.blocks = nn.ModuleList(DiTBlock(width, heads, hidden, dropout) for _ in range(config.layers))
        self.last_modulation = Modulation(width, 2)
        self.last_norm = nn.LayerNorm(width, elementwise_affine=False)
        self.motion_out = zeroed(nn.Linear(width, config.motion_dim))

    def forward(self, motion: Tensor, timestep: Tensor, cond: Conditioning) -> Tensor:
        """Noised motion `b t d` and training steps `b` -> clean motion `b t d`; zero, the mean, before training."""
        condition, audio = self.conditions(timestep, cond)
        x = self.motion_in(motion_tokens(motion, cond)) + audio
        positions = torch.arange(x.shape[1], device=x.device)
        for block in self.blocks:
            x = block(x, condition, positions)
        shift, scale = self.last_modulation(condition)
        seeds = cond.seed.shape[1]
        result: Tensor = self.motion_out(torch.addcmul(shift, scale + 1, self.last_norm(x[:, seeds:])))
        return result
