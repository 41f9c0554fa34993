"""Warping calculator of `rotation`: motion features to a matrix per cell, and the warp it stands for (docs/method.md).

Features are a volume whose depth is their channel axis; the matrix of a cell and one translation displace every voxel.
Angles, matrices and the grid stay in float32 under autocast; only the convolutions of `FieldUp` may not.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gesturegen_cli.models.rotation_blocks import ResizeResidual
from gesturegen_cli.models.rotation_extractor import MAX_DEGREES
from gesturegen_cli.nn.conv import join
from gesturegen_cli.nn.warp import exact


def rotation_matrices(angles: Tensor, half_turn: float) -> Tensor:
    """Pitch, yaw, roll `... 3` in units of 99 degrees -> Rx(pitch) Ry(yaw) Rz(roll) `... 3 3` (docs/method.md).

    `half_turn` is the number of radians taken for 180 degrees.
    """
    pitch, yaw, roll = (angles * (MAX_DEGREES / 180 * half_turn)).unbind(-1)
    cx, cy, cz = pitch.cos(), yaw.cos(), roll.cos()
    sx, sy, sz = pitch.sin(), yaw.sin(), roll.sin()
    rows = (
        (cy * cz, -cy * sz, sy),
        (cx * sz + sx * sy * cz, cx * cz - sx * sy * sz, -sx * cy),
        (sx * sz - cx * sy * cz, sx * cz + cx * sy * sz, cx * cy),
    )
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


class FieldUp(nn.Module):
    """Rotations of the coarse grid to free matrices of the fine one: a small U-net that also mends bad rotations."""

    def __init__(self, channels: tuple[int, int, int, int], blocks: int) -> None:
        super().__init__()
        first, low, middle, high = channels
        up = (middle + high) // 2
        self.conv_0 = nn.Conv2d(9, first, 1)
        self.down_0 = ResizeResidual(first, low, 0.5, 4)
        self.down_1 = ResizeResidual(low, middle, 0.5, 8)
        self.mid_0 = ResizeResidual(middle, high, 1, 8)
        self.res_mid = nn.Sequential(*(ResizeResidual(high, high, 1, 16) for _ in range(blocks)))
        self.up_1 = ResizeResidual(high + middle, up, 2, 16)
        self.up_0 = ResizeResidual(up + low, middle, 2, 8)
        self.up_out = ResizeResidual(middle + first, low, 2, 8)
        self.out_0 = ResizeResidual(low, first, 1, 4)
        self.out_1 = nn.Sequential(nn.Conv2d(first, 9, 3, padding=1))
        # Starts at "no deviation" (docs/method.md).
        nn.init.normal_(self.out_1[0].weight, std=1e-3)  # type: ignore[arg-type] # a convolution's weight
        nn.init.zeros_(self.out_1[0].bias)  # type: ignore[arg-type] # a convolution's bias

    def forward(self, rotations: Tensor) -> Tensor:
        """Rotations `b g g 3 3` -> matrices `b 2g 2g 3 3` with entries in (-1, 1)."""
        start = self.conv_0(rotations.flatten(3).permute(0, 3, 1, 2))
        half = self.down_0(start)
        quarter = self.down_1(half)
        x = self.res_mid(self.mid_0(quarter))
        x = self.up_0(join([self.up_1(join([x, quarter])), half]))
        x = self.out_0(self.up_out(join([x, start])))
        field = torch.tanh(self.out_1(x).float()).permute(0, 2, 3, 1)
        return field.reshape(*field.shape[:3], 3, 3)


def deviation_grid(field: Tensor, translation: Tensor, depth: int) -> Tensor:
    """Matrices `b h w 3 3` and translation `b 3` -> where each voxel looks, `b depth h w 3` (x, y, z in [-1, 1]).

    Identity plus deviation, with the corners of the volume at -1 and 1. All voxels of a column share one matrix A, so
    they lie on a line: base(h, w) + slope(h, w) z, which spares a matrix product per voxel (docs/method.md).
    """
    side_h, side_w = field.shape[1:3]
    options = {"device": field.device, "dtype": field.dtype}
    x = torch.linspace(-1, 1, side_w, **options)[None, :, None]  # type: ignore[call-overload] # same options thrice
    y = torch.linspace(-1, 1, side_h, **options)[:, None, None]  # type: ignore[call-overload]
    z = torch.linspace(-1, 1, depth, **options)[:, None, None, None]  # type: ignore[call-overload]
    matrix = field + torch.eye(3, **options)  # type: ignore[call-overload]
    base = matrix[..., 0] * x + matrix[..., 1] * y + translation[:, None, None]
    grid: Tensor = base[:, None] + matrix[..., 2][:, None] * z
    return grid


def warp_volume(features: Tensor, field: Tensor, translation: Tensor, align_corners: bool) -> Tensor:
    """Features `b c h w` (or `1 c h w`, shared) moved by `b h w 3 3` and `b 3` -> `b c h w`, float32.

    Trilinear with zeros outside, the channels being the depth. The grid has the corners' convention; released weights
    were trained to sample it with `align_corners=False`, where "no deviation" is not the identity (docs/method.md).
    """
    with exact(features):
        grid = deviation_grid(field.float(), translation.float(), features.shape[1])
        volume = features.float().expand(len(grid), -1, -1, -1)[:, None].contiguous()
        return F.grid_sample(volume, grid, padding_mode="zeros", align_corners=align_corners)[:, 0]


def field_penalty(field: Tensor, translation: Tensor) -> Tensor:
    """Mean squares of matrices and translation, plus the total variation of the field (docs/method.md)."""
    with exact(field):
        varied = field.diff(dim=1).abs().mean() + field.diff(dim=2).abs().mean()
        return field.square().mean() + translation.square().mean() + varied


def smooth_depth(convolution: nn.Conv2d, reach: float) -> None:
    """Begin with a volume whose neighbouring channels are alike, and a ramp along the depth that shows every move.

    `convolution` makes the volume; `reach` is the sigma of a Gaussian over channels.
    """
    depth = convolution.out_channels
    place = torch.arange(depth, dtype=torch.float32)
    kernel = torch.exp(-0.5 * ((place[:, None] - place[None]) / reach).square())
    kernel = kernel / kernel.norm(dim=1, keepdim=True)
    height = torch.linspace(-1, 1, depth)
    with torch.no_grad():
        convolution.weight.copy_((kernel @ convolution.weight.flatten(1)).view_as(convolution.weight))
        if convolution.bias is not None:
            convolution.bias.copy_(height + 0.5 * torch.sin(2 * torch.pi * height))
