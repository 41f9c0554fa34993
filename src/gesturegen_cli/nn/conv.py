"""Convolution blocks shared by the deviation models, and the folding of their batch norms for rendering."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

L = TypeVar("L", bound=nn.Module)


class ConvBlock(nn.Module):
    """Convolution without bias, batch norm and, unless `relu` is false, ReLU; `b c h w` -> `b out h w` / stride."""

    def __init__(self, channels: int, out: int, kernel: int = 3, stride: int = 1, relu: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, kernel, stride, kernel // 2, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(out)
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to `b c h w`."""
        y: Tensor = self.norm(self.conv(x))
        return F.relu(y, inplace=True) if self.relu else y


class ResidualBlock(nn.Module):
    """ReLU(x + two 3x3 convolutions of x), same shape `b c h w`."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = ConvBlock(channels, channels)
        self.second = ConvBlock(channels, channels, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to `b c h w`."""
        return F.relu(x + self.second(self.first(x)))


class ShuffleUp(nn.Module):
    """1x1 convolution and pixel shuffle: `b c h w` -> `b out 2h 2w`, without the cost of a convolution at 2h x 2w."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 4 * out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to `b c h w`."""
        return F.pixel_shuffle(self.conv(x), 2)


def join(parts: Sequence[Tensor]) -> Tensor:
    """Concatenate `b c h w` along the channels, in channels-last memory, which convolutions read without a copy."""
    return torch.cat([part.permute(0, 2, 3, 1) for part in parts], -1).permute(0, 3, 1, 2)


def double_nearest(x: Tensor) -> Tensor:
    """Repeat every pixel twice in both directions: `b c h w` -> `b c 2h 2w`."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


def double_linear(x: Tensor) -> Tensor:
    """Bilinear interpolation to twice the size: `b c h w` -> `b c 2h 2w`."""
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def zeroed(layer: L) -> L:
    """The layer with all parameters zero: a branch that begins with it starts by changing nothing."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def fold_batch_norms(module: nn.Module) -> None:
    """Fold the statistics of every `ConvBlock` in `module` into its convolution, in place.

    The module has to be in eval mode; it computes the same afterwards and cannot be trained any more.
    """
    for block in module.modules():
        if isinstance(block, ConvBlock) and isinstance(block.norm, nn.BatchNorm2d):
            block.conv = fuse_conv_bn_eval(block.conv, block.norm)
            block.norm = nn.Identity()
