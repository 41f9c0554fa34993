"""Convolution blocks with instance norm that dense motion and inpainting are made of (Zhao & Zhang 2022).

Names of submodules are those of the published weights.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class Same(nn.Module):
    """Convolution, instance norm, ReLU: `b c h w` -> `b out h w`."""

    def __init__(self, channels: int, out: int, kernel: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, kernel, padding=kernel // 2)
        self.norm = nn.InstanceNorm2d(out, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to `b c h w`."""
        return F.relu(self.norm(self.conv(x)))


class Down(Same):
    """`Same`, then the mean of 2 x 2 pixels: `b c h w` -> `b out h/2 w/2`."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to `b c h w`."""
        return F.avg_pool2d(super().forward(x), 2)


class Up(Same):
    """Every pixel repeated 2 x 2 times, then `Same`: `b c h w` -> `b out 2h 2w`."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to `b c h w`."""
        return super().forward(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Residual(nn.Module):
    """x plus twice (instance norm, ReLU, 3x3 convolution) of x; same shape `b c h w`."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = nn.InstanceNorm2d(channels, affine=True)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2 = nn.InstanceNorm2d(channels, affine=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to `b c h w`."""
        y = self.conv1(F.relu(self.norm1(x)))
        result: Tensor = x + self.conv2(F.relu(self.norm2(y)))
        return result
