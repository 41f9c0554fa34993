"""The denoiser `unet1d`: convolutions over time at several frame rates, with the speech at every one of them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from diffusers.models.downsampling import Downsample1D
from diffusers.models.upsampling import Upsample1D
from torch import Tensor, nn
from torch.nn import functional

from gesturegen_cli.config.schema import ranged
from gesturegen_cli.errors import ConfigError
from gesturegen_cli.nn.conv import zeroed
from gesturegen_cli.nn.transformer import EncoderLayer
from gesturegen_cli.types import Conditioning
from gesturegen_denoisers.conditions import Conditions, Speech, check_heads, motion_tokens

MAX_LEVELS = 8
MIN_CHANNELS, MAX_CHANNELS = 8, 4096
EXAMPLE = "for example --set denoiser.params.channels=[128,192,256]"


class FrameNorm(nn.LayerNorm):
    """Layer norm of each frame of `b c t` over its channels.

    Group norm over time, the usual choice, would let the padded end of a window change all of its frames.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise `b c t`."""
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class FilmBlock(nn.Module):
    """Two convolutions over time with a residual, modulated between them frame by frame; any number of frames.

    After the blocks of ADM (Dhariwal & Nichol 2021, "adaptive group normalization"): norm, SiLU, convolution; norm,
    y -> (1 + scale) y + shift, SiLU, convolution that starts at zero. diffusers' `ResidualTemporalBlock1D` does not
    fit: it takes one vector for a whole window, only adds it, and normalises over time.
    """

    def __init__(self, channels: int, out: int, width: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.first_norm = FrameNorm(channels)
        self.first = nn.Conv1d(channels, out, kernel, padding=kernel // 2)
        self.film = nn.Conv1d(width, 2 * out, 1)
        self.second_norm = FrameNorm(out)
        self.dropout = nn.Dropout(dropout)
        self.second = zeroed(nn.Conv1d(out, out, kernel, padding=kernel // 2))
        self.shortcut = nn.Conv1d(channels, out, 1) if channels != out else nn.Identity()

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Frames x `b channels t`, condition `b width t` -> `b out t`."""
        y = self.first(functional.silu(self.first_norm(x)))
        scale, shift = self.film(functional.silu(condition)).chunk(2, dim=1)
        y = functional.silu(torch.addcmul(shift, scale + 1, self.second_norm(y)))
        result: Tensor = self.shortcut(x) + self.second(self.dropout(y))
        return result


class FilmBlocks(nn.ModuleList):
    """`config.blocks` blocks one after the other, the first of which brings the channels to `out`."""

    def __init__(self, channels: int, out: int, config: UNet1DDenoiser.Config) -> None:
        sizes = [channels, *[out] * (config.blocks - 1)]
        super().__init__(FilmBlock(size, out, config.width, config.kernel, config.dropout) for size in sizes)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Frames x `b channels t`, condition `b width t` -> `b out t`."""
        for block in self:
            x = block(x, condition)
        return x


class UNet1DDenoiser(nn.Module):
    """Clean motion from noised motion, speech, the frames before, and the picture's motion. Any number of frames.

    Seed frames are frames before the window, so convolutions carry on from them. Every level has half the frames of
    the one above, rounded up, and what an odd end has too much is cut on the way back up: no window is padded to a
    fixed multiple. At every level and frame, timestep, mean audio, the picture's motion and that frame's audio modulate
    the blocks (FiLM). Attention at the lowest rate sees the whole window. A U-net over time for diffusion of
    trajectories is due to Janner et al. 2022.
    """

    @dataclass(frozen=True)
    class Config:
        """Sizes. `motion_dim` and `audio_dim` come from the deviation model and the audio encoder."""

        motion_dim: int = ranged(98, 1)
        """Motion size d."""
        audio_dim: int = ranged(68, 1)
        """Audio feature size c."""
        channels: tuple[int, ...] = (128, 192, 256)
        """Channels per level, from full frame rate down; each level halves the rate of the one before."""
        blocks: int = ranged(1, 1, 16)
        """Blocks per level on the way down, and as many on the way up."""
        kernel: int = ranged(5, 1, 31)
        """Frames that a convolution sees, an odd number."""
        attention_layers: int = ranged(1, 0, 16)
        """Transformer layers at the lowest rate; 0 leaves a purely convolutional network."""
        width: int = ranged(192, 8, 4096)
        """Size of the condition, a multiple of twice the heads."""
        heads: int = ranged(4, 1, 64)
        """Heads of all attention; the last of `channels` is a multiple of twice this number too."""
        feedforward: int = ranged(384, 1)
        """Hidden size of the transformer layers."""
        audio_layers: int = ranged(2, 0, 64)
        """Transformer layers that prepare the audio."""
        dropout: float = ranged(0.1, 0, 0.9)

    def __init__(self, config: Config) -> None:
        super().__init__()
        _check(config)
        self.config = config
        width, heads, hidden, dropout = config.width, config.heads, config.feedforward, config.dropout
        levels = config.channels
        speech = Speech(config.audio_dim, width, heads, hidden, config.audio_layers, dropout)
        self.conditions = Conditions(config.motion_dim, width, speech)
        self.motion_in = nn.Conv1d(2 * config.motion_dim + 1, levels[0], 1)
        self.down_blocks = nn.ModuleList(FilmBlocks(size, size, config) for size in levels)
        steps = list(pairwise(levels))
        self.downs = nn.ModuleList(Downsample1D(fine, use_conv=True, out_channels=rough) for fine, rough in steps)
        self.attention = nn.ModuleList(
            EncoderLayer(levels[-1], heads, hidden, dropout) for _ in range(config.attention_layers)
        )
        self.middle = FilmBlocks(levels[-1], levels[-1], config)
        self.ups = nn.ModuleList(Upsample1D(rough, use_conv=True, out_channels=fine) for fine, rough in steps)
        self.up_blocks = nn.ModuleList(FilmBlocks(2 * fine, fine, config) for fine, _ in steps)
        self.last_norm = FrameNorm(levels[0])
        self.motion_out = nn.Conv1d(levels[0], config.motion_dim, 1)

    def forward(self, motion: Tensor, timestep: Tensor, cond: Conditioning) -> Tensor:
        """Noised motion `b t d` and training steps `b` -> clean motion `b t d`, t >= 1."""
        vector, audio = self.conditions(timestep, cond)
        conditions = _pyramid((audio + vector[:, None, :]).transpose(1, 2), len(self.config.channels))
        x = self.motion_in(motion_tokens(motion, cond).transpose(1, 2))
        kept = []
        for level, blocks in enumerate(self.down_blocks):
            x = blocks(self.downs[level - 1](x) if level else x, conditions[level])
            kept.append(x)
        x = self.middle(self._look_around(x), conditions[-1])
        for level in reversed(range(len(self.ups))):
            raised = self.ups[level](x)[:, :, : kept[level].shape[2]]
            x = self.up_blocks[level](torch.cat([raised, kept[level]], dim=1), conditions[level])
        clean: Tensor = self.motion_out(functional.silu(self.last_norm(x)))
        return clean[:, :, cond.seed.shape[1] :].transpose(1, 2)

    def _look_around(self, x: Tensor) -> Tensor:
        """Attention at the lowest rate, `b c t`, with positions counted in frames of the full rate."""
        positions = torch.arange(x.shape[2], device=x.device) * 2 ** len(self.downs)
        tokens = x.transpose(1, 2)
        for layer in self.attention:
            tokens = layer(tokens, positions)
        return tokens.transpose(1, 2)


def _pyramid(condition: Tensor, levels: int) -> list[Tensor]:
    """Condition `b c t` at `levels` rates, each the mean of two frames of the one before (of one, at an odd end)."""
    rates = [condition]
    for _ in range(levels - 1):
        rates.append(functional.avg_pool1d(rates[-1], 2, ceil_mode=True, count_include_pad=False))
    return rates


def _check(config: UNet1DDenoiser.Config) -> None:
    """ConfigError for values that do not go together, or that the fields' own ranges cannot express."""
    if not 1 <= len(config.channels) <= MAX_LEVELS:
        raise ConfigError(
            f"channels {list(config.channels)} are {len(config.channels)} levels, expected 1 to {MAX_LEVELS}",
            EXAMPLE,
        )
    wrong = [size for size in config.channels if not MIN_CHANNELS <= size <= MAX_CHANNELS]
    if wrong:
        raise ConfigError(
            f"channels {list(config.channels)} hold {wrong[0]}, expected {MIN_CHANNELS} to {MAX_CHANNELS}",
            EXAMPLE,
        )
    if config.kernel % 2 == 0:
        raise ConfigError(f"kernel {config.kernel} is even, expected an odd number", f"use {config.kernel + 1}")
    check_heads("width", config.width, config.heads)
    if config.attention_layers:
        check_heads("the last of channels", config.channels[-1], config.heads)
