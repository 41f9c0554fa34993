"""What both denoisers know of a window besides the noised motion, in the form their layers take it.

Axis letters are those of `gesturegen_cli.types`; `width` is the size of all condition vectors. Nothing here depends on
the number of frames or of seed frames.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gesturegen_cli.errors import ConfigError
from gesturegen_cli.nn.embeddings import timestep_embedding
from gesturegen_cli.nn.transformer import EncoderLayer
from gesturegen_cli.types import Conditioning


class Speech(nn.Module):
    """Audio features to one token per frame. A learned token stands where there is no audio."""

    def __init__(self, audio_dim: int, width: int, heads: int, feedforward: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.project = nn.Linear(audio_dim, width)
        self.layers = nn.ModuleList(EncoderLayer(width, heads, feedforward, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        # As large as a token that comes out of the norm.
        self.null = nn.Parameter(torch.randn(width))

    def forward(self, cond: Conditioning) -> Tensor:
        """Tokens `b s+t width`: the learned one for seed frames, whose audio is not given, and where audio is not kept.

        Every frame gets the same learned token, so windows may have any length.
        """
        tokens = self.project(cond.audio)
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        for layer in self.layers:
            tokens = layer(tokens, positions)
        tokens = self.norm(tokens)
        null = self.null.to(tokens.dtype)
        heard = torch.where(cond.audio_keep[:, None, None] > 0.5, tokens, null)
        return torch.cat([null.expand(*cond.seed.shape[:2], -1), heard], dim=1)


class Conditions(nn.Module):
    """Timestep, speech and the picture's motion as a vector per window and a token per frame."""

    def __init__(self, motion_dim: int, width: int, speech: Speech) -> None:
        super().__init__()
        self.width = width
        self.speech = speech
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.pooled = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.source = nn.Linear(motion_dim, width)

    def forward(self, timestep: Tensor, cond: Conditioning) -> tuple[Tensor, Tensor]:
        """Training steps `b` -> vector `b width` of the window, audio tokens `b s+t width`."""
        audio = self.speech(cond)
        heard = audio[:, cond.seed.shape[1] :].mean(dim=1)
        time = timestep_embedding(timestep, self.width).to(cond.source.dtype)
        return self.time(time) + self.pooled(heard) + self.source(cond.source), audio


def motion_tokens(motion: Tensor, cond: Conditioning) -> Tensor:
    """Seed frames, then noised frames `b t d`, each with the picture's motion and a flag -> `b s+t 2d+1`.

    The flag is 1 on real seed frames. Seed frames that never were are replaced by zeros with flag 0: whatever they
    hold, not even NaN gets through.
    """
    valid = (cond.seed_valid > 0.5)[:, :, None]
    frames = torch.cat([torch.where(valid, cond.seed, torch.zeros_like(cond.seed)), motion], dim=1)
    flags = torch.cat([valid.to(motion.dtype), torch.zeros_like(motion[:, :, :1])], dim=1)
    return torch.cat([frames, cond.source[:, None, :].expand_as(frames), flags], dim=-1)


def check_heads(name: str, width: int, heads: int) -> None:
    """ConfigError unless `width` features divide into heads of even size, as rotary positions need."""
    if width % (2 * heads):
        raise ConfigError(
            f"{name} {width} does not divide into {heads} heads of even size",
            f"choose a multiple of {2 * heads}",
        )
