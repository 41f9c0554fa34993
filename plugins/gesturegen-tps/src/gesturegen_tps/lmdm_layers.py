"""Transformer layers of the denoiser `lmdm`, after EDGE (Tseng et al. 2023) as S2G-MDDiffusion (He et al. 2024) has it.

Unlike the core's layers, rotary positions act on whole token vectors, before the projections to queries and keys, and
not per head after them; weights trained one way do not fit the other. Names of submodules are those of the release.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gesturegen_cli.nn.attention import attention
from gesturegen_cli.nn.embeddings import BASE


class Rotary(nn.Module):
    """Rotary position embedding (Su et al. 2021) of whole token vectors, on interleaved pairs."""

    freqs: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("freqs", BASE ** (-torch.arange(0, width, 2).float() / width))

    def forward(self, x: Tensor) -> Tensor:
        """Tokens `b t width` at positions 0, 1, ... -> rotated tokens of the same shape and type."""
        positions = torch.arange(x.shape[1], device=x.device, dtype=torch.float32)
        angles = positions[:, None] * self.freqs.float()
        cos, sin = angles.cos(), angles.sin()
        even, odd = x[..., 0::2].float(), x[..., 1::2].float()
        return torch.stack([even * cos - odd * sin, even * sin + odd * cos], -1).flatten(-2).to(x.dtype)


class Attention(nn.Module):
    """Multi-head attention with the parameters of `nn.MultiheadAttention`; computed by the core's `attention`.

    The release also drops attention weights in training; the core's attention has no such dropout.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Tokens query `b t width`, key and value `b m width` -> `b t width`."""
        projections = zip(self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3), strict=True)
        q, k, v = (
            F.linear(x, weight, bias).reshape(*x.shape[:-1], self.heads, -1)
            for x, (weight, bias) in zip((query, key, value), projections, strict=True)
        )
        result: Tensor = self.out_proj(attention(q, k, v).flatten(-2))
        return result


class Film(nn.Module):
    """Feature-wise linear modulation: y -> (1 + scale) y + shift, both from a condition vector."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Mish(), nn.Linear(width, 2 * width))

    def forward(self, y: Tensor, condition: Tensor) -> Tensor:
        """Tokens y `b t width`, condition `b width` -> `b t width`."""
        scale, shift = self.block(condition)[:, None].chunk(2, dim=-1)
        return torch.addcmul(shift, scale + 1, y)


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward, each behind a layer norm and beside a shortcut."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.rotary = Rotary(width)
        self.self_attn = Attention(width, heads)
        self.linear1 = nn.Linear(width, hidden)
        self.linear2 = nn.Linear(hidden, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens `b t width` -> the same shape."""
        y = self.norm1(x)
        placed = self.rotary(y)
        x = x + self.dropout(self.self_attn(placed, placed, y))
        return x + self._feed_forward(self.norm2(x))

    def _feed_forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.dropout(self.linear2(self.dropout(F.gelu(self.linear1(x)))))
        return result


class DecoderLayer(EncoderLayer):
    """Self-attention, attention to a memory, and feed-forward, each modulated before its shortcut is added."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__(width, heads, hidden, dropout)
        self.multihead_attn = Attention(width, heads)
        self.norm3 = nn.LayerNorm(width)
        self.film1, self.film2, self.film3 = Film(width), Film(width), Film(width)

    def forward(self, x: Tensor, memory: Tensor, condition: Tensor) -> Tensor:  # type: ignore[override] # needs more
        """Tokens x `b t width`, memory `b m width`, condition `b width` -> `b t width`."""
        y = self.norm1(x)
        placed = self.rotary(y)
        x = x + self.film1(self.dropout(self.self_attn(placed, placed, y)), condition)
        heard = self.multihead_attn(self.rotary(self.norm2(x)), self.rotary(memory), memory)
        x = x + self.film2(self.dropout(heard), condition)
        result: Tensor = x + self.film3(self._feed_forward(self.norm3(x)), condition)
        return result
