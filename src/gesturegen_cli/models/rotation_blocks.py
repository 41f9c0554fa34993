"""Blocks of the `rotation` deviation model (method: sections 2.1 and 2.2).

Attributes are named as in the published state dict, so that published weights load without renaming. Narrower models
have fewer groups in their norms, not fewer channels per group (`group_norm`).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from gesturegen_cli.nn.conv import double_nearest

GROUP = 16
"""Fewest channels that share a group in the published model."""


def group_norm(groups: int, channels: int) -> nn.GroupNorm:
    """Group norm with at most `groups` groups, each of at least 16 channels, where there are so many.

    At the published widths these are the published groups. Small groups would forget how bright a picture is: a norm
    takes the mean of its group away, and with two channels in it hardly anything else is left (docs/benchmarks.md).
    """
    most = max(1, min(groups, channels // GROUP))
    return nn.GroupNorm(next(count for count in range(most, 0, -1) if channels % count == 0), channels)


class Same(nn.Module):
    """Convolution, group norm, ReLU: `b c h w` -> `b out h w`."""

    def __init__(self, channels: int, out: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, kernel, padding=kernel // 2)
        self.norm = group_norm(4, out)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to `b c h w`."""
        return F.relu(self.norm(self.conv(x)))


class Down(nn.Module):
    """Convolution, group norm, ReLU, mean of 2 x 2: `b c h w` -> `b out h/2 w/2`."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, 3, padding=1)
        self.norm = group_norm(8, out)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to `b c h w`."""
        return F.avg_pool2d(F.relu(self.norm(self.conv(x))), 2)


class Up(nn.Module):
    """Nearest neighbour, convolution, group norm, ReLU: `b c h w` -> `b out 2h 2w`."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, 3, padding=1)
        self.norm = group_norm(8, out)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to `b c h w`."""
        return F.relu(self.norm(self.conv(double_nearest(x))))


class Residual(nn.Module):
    """x plus two pre-normed 3x3 convolutions of x, same shape `b c h w`."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm1 = group_norm(groups, channels)
        self.norm2 = group_norm(groups, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to `b c h w`."""
        y = self.conv1(F.relu(self.norm1(x)))
        return x + self.conv2(F.relu(self.norm2(y)))  # type: ignore[no-any-return] # nn.Module.__call__ is untyped


class ResizeResidual(nn.Module):
    """Residual block that may change size (`scale` 0.5, 1 or 2, nearest neighbour) and channels."""

    def __init__(self, channels: int, out: int, scale: float, groups: int) -> None:
        super().__init__()
        self.scale = scale
        self.conv1 = nn.Conv2d(channels, out, 3, padding=1)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1)
        self.norm1 = group_norm(groups, channels)
        self.norm2 = group_norm(groups, out)
        self.conv3 = nn.Conv2d(channels, out, 1) if scale != 1 or channels != out else None

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to `b c h w`."""
        y = self.conv1(self._resized(F.relu(self.norm1(x))))
        y = self.conv2(F.relu(self.norm2(y)))
        skip = x if self.conv3 is None else self.conv3(self._resized(x))
        return skip + y  # type: ignore[no-any-return] # nn.Module.__call__ is untyped

    def _resized(self, x: Tensor) -> Tensor:
        if self.scale == 1:
            return x
        return double_nearest(x) if self.scale > 1 else x[:, :, ::2, ::2]


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolution with batch norms around a quarter of the channels, plus a skip."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        inner = channels // 4
        self.conv1 = nn.Conv2d(channels, inner, 1)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, 1)
        self.conv3 = nn.Conv2d(inner, channels, 1)
        self.norm1, self.norm2, self.norm3 = nn.BatchNorm2d(inner), nn.BatchNorm2d(inner), nn.BatchNorm2d(channels)
        self.skip = nn.Conv2d(channels, channels, 1, stride) if stride != 1 else None
        self.norm4 = nn.BatchNorm2d(channels) if stride != 1 else None

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to `b c h w`."""
        y = F.relu(self.norm1(self.conv1(x)))
        y = F.relu(self.norm2(self.conv2(y)))
        skip = x if self.skip is None or self.norm4 is None else self.norm4(self.skip(x))
        return F.relu(skip + self.norm3(self.conv3(y)))
