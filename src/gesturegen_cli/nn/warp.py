"""Sampling grids and warps. Coordinates are x, y in [-1, 1] over the outer pixel edges (`align_corners=False`)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def exact(like: Tensor) -> torch.autocast:
    """Context in which autocast is off for the device of `like`.

    Geometry must not run in bfloat16: eight bits of mantissa are steps of one pixel at 256 x 256.
    """
    # Autocast does not know the device "meta", on which sizes and operations are counted.
    return torch.autocast("cpu" if like.is_meta else like.device.type, enabled=False)


def pixel_grid(size: int) -> Tensor:
    """Centres of the pixels of a square picture as `size size 2` (x, y): the grid of the identity warp."""
    centres = (torch.arange(size) * 2 + 1) / size - 1
    return torch.stack(torch.meshgrid(centres, centres, indexing="xy"), -1)


def warp(features: Tensor, grid: Tensor) -> Tensor:
    """Sample `features` `b c h w` (or `1 c h w`, shared by the batch) at `grid` `b i j 2` -> `b c i j`, float32.

    Bilinear; positions outside the picture take its border.
    """
    with exact(features):
        if _gathers(features, grid):
            return _gather(features.float(), grid.float())
        shared = features.float().expand(grid.shape[0], -1, -1, -1)
        return F.grid_sample(shared, grid.float(), padding_mode="border", align_corners=False)


def _gathers(features: Tensor, grid: Tensor) -> bool:
    """Whether `_gather` applies and pays: one shared source of many channels on a CPU, without gradients."""
    learns = torch.is_grad_enabled() and (features.requires_grad or grid.requires_grad)
    return len(features) == 1 and features.shape[1] >= 16 and features.device.type == "cpu" and not learns


def _gather(features: Tensor, grid: Tensor) -> Tensor:
    """`warp` of one shared source as a weighted sum of table rows: 2 to 5 times faster than sampling by channel.

    A row is one pixel with all its channels, so memory is read in long runs; the result is channels-last.
    """
    channels, height, width = features.shape[1:]
    x = ((grid[..., 0] + 1) * (width / 2) - 0.5).clamp(0, width - 1)
    y = ((grid[..., 1] + 1) * (height / 2) - 0.5).clamp(0, height - 1)
    left, top = x.floor().clamp_max(width - 2), y.floor().clamp_max(height - 2)
    fx, fy = x - left, y - top
    first = (top * width + left).to(torch.int32)
    rows = torch.stack([first, first + 1, first + width, first + width + 1], -1)
    weights = torch.stack([(1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy], -1)
    table = features[0].permute(1, 2, 0).reshape(height * width, channels)
    sampled = F.embedding_bag(rows.view(-1, 4), table, mode="sum", per_sample_weights=weights.view(-1, 4))
    return sampled.view(*grid.shape[:3], channels).permute(0, 3, 1, 2)


def gaussian(squares: Tensor) -> Tensor:
    """exp(-squares / 2), but never below 2e-9: the tails of Gaussians are denormal numbers, which make the convolutions
    that read them several times slower on CPUs.
    """
    return squares.clamp_max(40).mul(-0.5).exp()


def expected_position(weights: Tensor) -> Tensor:
    """Mean position under `weights` `b k n n` (each map sums to 1) -> `b k 2`, x and y in [-1, 1].

    Summed along the axes instead of a matrix product, because those may run in TF32 (an error of 0.1 pixel).
    """
    size = weights.shape[-1]
    centres = (torch.arange(size, device=weights.device) * 2 + 1) / size - 1
    x = (weights.sum(-2) * centres).sum(-1)
    y = (weights.sum(-1) * centres).sum(-1)
    return torch.stack([x, y], -1)
