"""Transformer layers with rotary positions and FiLM conditioning: pre-norm, GELU (after EDGE, Tseng et al. 2023)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from gesturegen_cli.nn.attention import attention
from gesturegen_cli.nn.embeddings import rotate


class Attention(nn.Module):
    """Multi-head attention from `b t width` to `b m width`; queries and keys are rotated by their positions."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor, memory: Tensor, x_positions: Tensor, memory_positions: Tensor) -> Tensor:
        """Tokens x `b t width`, memory `b m width`, positions `t` and `m` -> `b t width`."""
        q = rotate(self._split(self.query(x)), x_positions)
        k = rotate(self._split(self.key(memory)), memory_positions)
        result: Tensor = self.output(attention(q, k, self._split(self.value(memory))).flatten(-2))
        return result

    def _split(self, x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:-1], self.heads, -1)


class FeedForward(nn.Sequential):
    """Two linear layers with GELU between, per position."""

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        super().__init__(nn.Linear(width, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, width))


class Film(nn.Module):
    """Feature-wise linear modulation: y -> (1 + scale) y + shift, both from a condition vector."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(width, 2 * width)

    def forward(self, y: Tensor, condition: Tensor) -> Tensor:
        """Tokens y `b t width`, condition `b width` -> `b t width`."""
        scale, shift = self.project(functional.mish(condition))[:, None, :].chunk(2, dim=-1)
        return torch.addcmul(shift, scale + 1, y)


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward, each with a residual."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.self_attention = Attention(width, heads)
        self.feed_forward = FeedForward(width, hidden, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        """Tokens x `b t width`, positions `t` -> `b t width`."""
        y = self.norms[0](x)
        x = x + self.dropout(self.self_attention(y, y, positions, positions))
        result: Tensor = x + self.dropout(self.feed_forward(self.norms[1](x)))
        return result


class DecoderLayer(nn.Module):
    """Self-attention, cross-attention and feed-forward, each modulated by FiLM before its residual."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.films = nn.ModuleList(Film(width) for _ in range(3))
        self.self_attention = Attention(width, heads)
        self.cross_attention = Attention(width, heads)
        self.feed_forward = FeedForward(width, hidden, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Tensor, memory: Tensor, condition: Tensor, positions: Tensor, memory_positions: Tensor
    ) -> Tensor:
        """Tokens x `b t width`, memory `b m width`, condition `b width`, positions `t` and `m` -> `b t width`."""
        y = self.norms[0](x)
        x = x + self.films[0](self.dropout(self.self_attention(y, y, positions, positions)), condition)
        y = self.norms[1](x)
        x = x + self.films[1](self.dropout(self.cross_attention(y, memory, positions, memory_positions)), condition)
        y = self.dropout(self.feed_forward(self.norms[2](x)))
        result: Tensor = x + self.films[2](y, condition)
        return result
