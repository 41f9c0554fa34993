"""Looking pictures and features up at the places of a grid, in the convention of the published weights.

-1 and 1 are the centres of the corner pixels (`align_corners=True`), outside there are zeros; always float32, because
eight bits of mantissa are steps of a pixel.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from gesturegen_cli.nn.warp import exact


def sample(features: Tensor, grid: Tensor, outside: str = "zeros") -> Tensor:
    """Features `b c h w` (or `1 c h w` for the whole batch) at places `b i j 2` -> `b c i j`, bilinear."""
    with exact(features):
        shared = features.float().expand(len(grid), -1, -1, -1)
        return F.grid_sample(shared, grid.float(), padding_mode=outside, align_corners=True)


def warp(features: Tensor, grid: Tensor) -> Tensor:
    """`sample` with a grid `b g g 2` that is first interpolated to the size of the features: `b c h w`."""
    if features.shape[2:] != grid.shape[1:3]:
        planes = F.interpolate(grid.permute(0, 3, 1, 2), features.shape[2:], mode="bilinear", align_corners=True)
        grid = planes.permute(0, 2, 3, 1)
    return sample(features, grid)
