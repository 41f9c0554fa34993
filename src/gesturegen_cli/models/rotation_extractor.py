"""Latent deviation extractor of `rotation`: a frame to a field of angles and one translation (docs/method.md)."""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gesturegen_cli.models.rotation_blocks import Bottleneck
from gesturegen_cli.nn.warp import exact

BINS = 66
"""An angle is the expectation over bins of 3 degrees from -99 on."""
DEGREES_PER_BIN = 3.0
MAX_DEGREES = 99.0


class RotationExtractor(nn.Module):
    """The trunk of a head-pose estimator with its heads as 1x1 convolutions: every cell has its own rotation."""

    def __init__(self, channels: tuple[int, int, int, int], blocks: tuple[int, int, int]) -> None:
        super().__init__()
        stem, low, middle, high = channels
        self.conv1, self.norm1 = nn.Conv2d(3, stem, 7, 2, 3), nn.BatchNorm2d(stem)
        self.conv2, self.norm2 = nn.Conv2d(stem, low, 1), nn.BatchNorm2d(low)
        self.block1 = _chain("b1", low, blocks[0])
        self.conv3, self.norm3 = nn.Conv2d(low, middle, 1), nn.BatchNorm2d(middle)
        self.block2 = Bottleneck(middle, 2)
        self.block3 = _chain("b3", middle, blocks[1])
        self.conv4, self.norm4 = nn.Conv2d(middle, high, 1), nn.BatchNorm2d(high)
        self.block4 = Bottleneck(high, 2)
        self.block5 = _chain("b5", high, blocks[2])
        self.fc_roll_down8 = nn.Conv2d(high, BINS, 1)
        self.fc_pitch_down8 = nn.Conv2d(high, BINS, 1)
        self.fc_yaw_down8 = nn.Conv2d(high, BINS, 1)
        self.fc_t_down8 = nn.Sequential(nn.Conv2d(high, 3, 1))
        # Ours: a model starts with next to no translation, as its field starts with next to no deviation.
        nn.init.normal_(self.fc_t_down8[0].weight, std=1e-3)  # type: ignore[arg-type] # a convolution's weight
        nn.init.zeros_(self.fc_t_down8[0].bias)  # type: ignore[arg-type] # a convolution's bias

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Frames `b 3 h w` in [0, 1] -> angles `b h/16 w/16 3` (pitch, yaw, roll) in units of 99 degrees, and `b 3`.

        The published heads of yaw and roll bear each other's names.
        """
        x = F.max_pool2d(F.relu(self.norm1(self.conv1(frames))), 3, 2, 1)
        x = self.block1(F.relu(self.norm2(self.conv2(x))))
        x = self.block3(self.block2(F.relu(self.norm3(self.conv3(x)))))
        x = self.block5(self.block4(F.relu(self.norm4(self.conv4(x)))))
        heads = (self.fc_pitch_down8(x), self.fc_roll_down8(x), self.fc_yaw_down8(x))
        translation = torch.tanh(self.fc_t_down8(x.mean((2, 3), keepdim=True)).flatten(1).float())
        with exact(x):
            return torch.stack([expected_angle(head.float()) for head in heads], -1), translation


def expected_angle(logits: Tensor) -> Tensor:
    """Logits `b bins g g` -> angle `b g g` in units of 99 degrees: the expectation under their softmax."""
    bins = torch.arange(BINS, device=logits.device, dtype=logits.dtype)
    expected = (logits.softmax(1) * bins[:, None, None]).sum(1)
    return (expected * DEGREES_PER_BIN - MAX_DEGREES) / MAX_DEGREES


def _chain(name: str, channels: int, count: int) -> nn.Sequential:
    return nn.Sequential(OrderedDict((f"{name}_{index}", Bottleneck(channels, 1)) for index in range(count)))
