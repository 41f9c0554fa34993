"""Keypoints of a frame: five for every thin-plate transform (Zhao & Zhang 2022)."""

from __future__ import annotations

from torch import Tensor, nn

from gesturegen_tps.resnet import ResNet18

POINTS = 5
"""Control points of one thin-plate transform."""


class KeypointDetector(nn.Module):
    """Frames to the control points of `transforms` thin-plate transforms, learned without labels."""

    def __init__(self, transforms: int, width: int) -> None:
        super().__init__()
        self.transforms = transforms
        self.fg_encoder = ResNet18(3, transforms * POINTS * 2, width)

    def forward(self, frames: Tensor) -> Tensor:
        """Frames `b 3 h w` in [0, 1] -> points `b k 5 2` (x, y in [-1, 1] between corner pixels), float32."""
        numbers: Tensor = self.fg_encoder(frames)
        return (2 * numbers.float().sigmoid() - 1).view(-1, self.transforms, POINTS, 2)
