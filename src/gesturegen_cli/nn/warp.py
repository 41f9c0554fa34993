"""Sampling grids and warps. Coordinates are x, y in [-1, 1] over the outer pixel edges (`align_corners=False`)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def exact(like: Tensor) -> torch.autocast:
    """Context in which autocast is off for the device of `like`.

    Geometry must not run in bfloat16: eight bits of mantissa are steps of one pixel at 256 x 256.
    """
    return torch.autocast(like.device.type, enabled=False)


def pixel_grid(size: int) -> Tensor:
    """Centres of the pixels of a square picture as `size size 2` (x, y): the grid of the identity warp."""
    centres = (torch.arange(size) * 2 + 1) / size - 1
    return torch.stack(torch.meshgrid(centres, centres, indexing="xy"), -1)


def warp(features: Tensor, grid: Tensor) -> Tensor:
    """Sample `features` `b c h w` (or `1 c h w`, shared by the batch) at `grid` `b i j 2` -> `b c i j`, float32.

    Bilinear; positions outside the picture take its border.
    """
    with exact(features):
        shared = features.float().expand(grid.shape[0], -1, -1, -1)
        return F.grid_sample(shared, grid.float(), padding_mode="border", align_corners=False)


def expected_position(weights: Tensor) -> Tensor:
    """Mean position under `weights` `b k n n` (each map sums to 1) -> `b k 2`, x and y in [-1, 1].

    Summed along the axes instead of a matrix product, because those may run in TF32 (an error of 0.1 pixel).
    """
    size = weights.shape[-1]
    centres = (torch.arange(size, device=weights.device) * 2 + 1) / size - 1
    x = (weights.sum(-2) * centres).sum(-1)
    y = (weights.sum(-1) * centres).sum(-1)
    return torch.stack([x, y], -1)
