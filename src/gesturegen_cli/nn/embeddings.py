"""Where in the diffusion schedule, and where in time: sinusoidal and rotary embeddings."""

from __future__ import annotations

import math

import torch
from torch import Tensor

BASE = 10_000.0


def timestep_embedding(timestep: Tensor, width: int) -> Tensor:
    """Steps `b` -> `b width`, float32: sines, then cosines (Vaswani et al. 2017); width is even and at least 4."""
    half = width // 2
    exponent = torch.arange(half, device=timestep.device, dtype=torch.float32) / (half - 1)
    angles = timestep.float()[:, None] * torch.exp(-math.log(BASE) * exponent)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def rotate(x: Tensor, positions: Tensor) -> Tensor:
    """Rotary position embedding (Su et al. 2021) of queries or keys, per head, on interleaved pairs.

    x `b t k e` with e even, positions `t` in frames -> `b t k e`. The product of a rotated query and a rotated key
    depends on their distance only.
    """
    size = x.shape[-1]
    frequency = BASE ** (-torch.arange(0, size, 2, device=x.device, dtype=torch.float32) / size)
    angles = positions.float()[:, None] * frequency
    cos, sin = angles.cos().to(x.dtype)[:, None, :], angles.sin().to(x.dtype)[:, None, :]
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1).flatten(-2)
