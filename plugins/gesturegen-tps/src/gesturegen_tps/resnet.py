"""ResNet-18 (He et al. 2016) that ends in numbers: the trunk of the keypoint detector and of the background predictor.

Names of submodules are those of torchvision, which the published weights use.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch norm beside a shortcut: `b c h w` -> `b out h w` / stride."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.downsample: nn.Module | None = None
        if stride != 1 or channels != out:
            self.downsample = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to `b c h w`."""
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet18(nn.Module):
    """Pictures `b channels h w` to `out` numbers; `width` channels after the stem, doubled three times."""

    def __init__(self, channels: int, out: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = _stage(width, width, 1)
        self.layer2 = _stage(width, 2 * width, 2)
        self.layer3 = _stage(2 * width, 4 * width, 2)
        self.layer4 = _stage(4 * width, 8 * width, 2)
        self.fc = nn.Linear(8 * width, out)

    def forward(self, pictures: Tensor) -> Tensor:
        """Pictures `b channels h w`, h and w at least 33 -> `b out`."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(pictures))), 3, 2, 1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        result: Tensor = self.fc(x.mean((2, 3)))
        return result


def _stage(channels: int, out: int, stride: int) -> nn.Sequential:
    return nn.Sequential(BasicBlock(channels, out, stride), BasicBlock(out, out, 1))
