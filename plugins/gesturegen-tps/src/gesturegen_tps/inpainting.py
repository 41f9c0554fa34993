"""From a moved source to an image: features are warped, hidden parts painted anew (Zhao & Zhang 2022).

Names of submodules are those of the published weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from gesturegen_tps.blocks import Down, Residual, Same, Up
from gesturegen_tps.dense_motion import DenseMotion
from gesturegen_tps.sampling_grid import warp

Features = tuple[Tensor, ...]
"""Of pictures, finest first: `b c h w` at the size, 1/2, 1/4 and 1/8 of it."""


class InpaintingNetwork(nn.Module):
    """Encoder of the source, and the decoder that paints an image from its moved features.

    `channels` are those of the features at the size, 1/2, 1/4 and 1/8 of it.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        full, half, quarter, eighth = channels
        self.first = Same(3, full, 7)
        self.down_blocks = nn.ModuleList([Down(full, half), Down(half, quarter), Down(quarter, eighth)])
        widths = (eighth, 2 * quarter, 2 * half)
        self.resblock = nn.ModuleList(Residual(width) for width in widths for _ in range(2))
        self.up_blocks = nn.ModuleList(Up(c, out) for c, out in zip(widths, (quarter, half, full), strict=True))
        self.final = nn.Conv2d(full, 3, 7, padding=3)

    def encode(self, pictures: Tensor) -> Features:
        """Pictures `b 3 h w` in [0, 1] -> features of all levels."""
        levels = [self.first(pictures)]
        for block in self.down_blocks:
            levels.append(block(levels[-1]))
        return tuple(levels)

    def forward(self, pictures: Tensor, features: Features, motion: DenseMotion) -> Tensor:
        """Sources `b 3 h w` with their features (or one for the whole batch) and motion -> images `b 3 h w`, [0, 1]."""
        moved = moved_features(features, motion)
        x = next(moved)
        for level, (block, beside) in enumerate(zip(self.up_blocks, moved, strict=True)):
            x = block(self.resblock[2 * level + 1](self.resblock[2 * level](x)))
            if level < len(self.up_blocks) - 1:
                x = torch.cat([x, beside.to(x.dtype)], 1)
        seen = motion.occlusion[-1]
        x = x * (1 - seen) + beside
        painted: Tensor = self.final(x).float().sigmoid()
        return painted * (1 - seen) + warp(pictures, motion.grid) * seen


def moved_features(features: Features, motion: DenseMotion) -> Iterator[Tensor]:
    """Features where the motion puts them, times how much of them is to be seen; coarsest first."""
    for level, seen in zip(reversed(features), motion.occlusion, strict=True):
        yield warp(level, motion.grid) * seen
