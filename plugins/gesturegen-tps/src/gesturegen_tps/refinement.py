"""The refinement network of S2G-MDDiffusion (He et al. 2024): paints again what the moved source does not show.

A U-net down to one pixel, with residual blocks at the two finest sizes. Names of submodules are those of the published
weights: `model1` ... count the steps down and up, the residual blocks are called after the sizes of the release.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

SLOPE = 0.2
"""Of the leaky ReLUs on the way down."""
WIDEST = 8
"""Channels grow to at most this many times those of the first step."""


class ReflectResidual(nn.Module):
    """x plus two 3x3 convolutions of x with batch norm, reflecting at the border; same shape `b c h w`."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to `b c h w`."""
        result: Tensor = x + self.conv_block(x)
        return result


class RefinementNetwork(nn.Module):
    """Image and hidden places to an image. `size` is a power of two of at least 8, `width` the channels at half of it.

    On the way up every level is joined to the one of the same size on the way down, which comes first in the channels
    if `skips_first`.
    """

    def __init__(self, size: int, width: int, skips_first: bool) -> None:
        super().__init__()
        self.skips_first = skips_first
        self.steps = size.bit_length() - 1
        c = [width * min(2**step, WIDEST) for step in range(self.steps)]
        last = self.steps
        self._add(1, _down(4, c[0]))
        for step in range(2, last):
            self._add(step, nn.LeakyReLU(SLOPE), _down(c[step - 2], c[step - 1]), nn.BatchNorm2d(c[step - 1]))
        turn = (nn.LeakyReLU(SLOPE), _down(c[-2], c[-1]), nn.ReLU(), _up(c[-1], c[-2]), nn.BatchNorm2d(c[-2]))
        self._add(last, *turn)
        for step in range(last - 2, 0, -1):  # each joined to the same size on the way down
            self._add(2 * last - 1 - step, nn.ReLU(), _up(2 * c[step], c[step - 1]), nn.BatchNorm2d(c[step - 1]))
        self._add(2 * last - 1, nn.ReLU(), _up(2 * c[0], width, bias=True), nn.Tanh())
        self.resblock_128_1, self.resblock_128_2 = ReflectResidual(width), ReflectResidual(width)
        self.resblock_256_1, self.resblock_256_2 = ReflectResidual(width), ReflectResidual(width)
        self.final = nn.Sequential(nn.ReflectionPad2d(3), nn.Conv2d(width, 3, 7), nn.Tanh())
        self.apply(_initialize)

    def forward(self, images: Tensor, occlusion: Tensor) -> Tensor:
        """Images `b 3 size size` in [0, 1] and what is seen of the source `b 1 size size` -> images in [-1, 1]."""
        levels = [self._step(1, torch.cat([images, 1 - occlusion], 1))]
        for step in range(2, self.steps):
            levels.append(self._step(step, levels[-1]))
        x = self._step(self.steps, levels[-1])
        for step in range(self.steps + 1, 2 * self.steps - 1):
            x = self._step(step, self._join(x, levels.pop()))
        x = self.resblock_128_2(self.resblock_128_1(x))
        x = self._step(2 * self.steps - 1, self._join(x, levels.pop()))
        x = self.resblock_256_2(self.resblock_256_1(x))
        result: Tensor = self.final(x).float()
        return result

    def _join(self, x: Tensor, skip: Tensor) -> Tensor:
        return torch.cat([skip, x] if self.skips_first else [x, skip], 1)

    def _add(self, step: int, *layers: nn.Module) -> None:
        self.add_module(f"model{step}", nn.Sequential(*layers))

    def _step(self, step: int, x: Tensor) -> Tensor:
        result: Tensor = self.get_submodule(f"model{step}")(x)
        return result


def _down(channels: int, out: int) -> nn.Conv2d:
    return nn.Conv2d(channels, out, 4, 2, 1, bias=False)


def _up(channels: int, out: int, bias: bool = False) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(channels, out, 4, 2, 1, bias=bias)


def _initialize(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0, 0.02)
