"""Our small video network: features of 16-frame clips, trained to notice what goes wrong in gesture video.

Convolutions over space and over time take turns (the factorisation of Tran et al. 2018, "(2+1)D"), so that most of the
work is two-dimensional. Changes between frames come beside the colours, so that a held frame looks unlike a slow one.
Two read-outs feed the features: means over time and space, for what a clip looks like and how it moves, and a coarse
map, for where the arms are.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIZE = 64
"""Side of the pictures that the network looks at, pixels."""
FRAMES = 16
FEATURES = 64
WIDTHS = (24, 48, 96, 128)
STRIDES = (1, 1, 2, 2)
"""Strides over time of the four stages; each halves the picture's side."""
MAP = 8
"""Channels of the coarse map."""


class SpaceTimeBlock(nn.Module):
    """3x3 (first stage: 5x5) convolution of each frame with stride 2, then a residual one over three frames.

    `n c t h w` -> `n out t/stride h/2 w/2`.
    """

    def __init__(self, channels: int, out: int, stride: int, kernel: int = 3) -> None:
        super().__init__()
        half = kernel // 2
        self.space = nn.Conv3d(channels, out, (1, kernel, kernel), (1, 2, 2), (0, half, half), bias=False)
        self.space_norm = nn.BatchNorm3d(out)
        self.time = nn.Conv3d(out, out, (3, 1, 1), (stride, 1, 1), (1, 0, 0), bias=False)
        self.time_norm = nn.BatchNorm3d(out)
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to `n c t h w`."""
        x = F.relu(self.space_norm(self.space(x)))
        short = F.avg_pool3d(x, (self.stride, 1, 1)) if self.stride > 1 else x
        return F.relu(short + self.time_norm(self.time(x)))


class SpaceTimeNetwork(nn.Module):
    """Clips `n 16 3 h w` in [0, 1] -> features `n 64`; about 0.25 million weights, 0.2 GMAC per clip.

    `centre` and `whiten` are set after training: directions in which clean training clips have mean 0 and variance 1,
    each then shrunk by how little faults move clips along it. Beyond that range features grow as the logarithm (asinh),
    so that one loud fault, such as noise, does not count a thousand times another.
    """

    centre: Tensor
    whiten: Tensor

    def __init__(self) -> None:
        super().__init__()
        widths = (6, *WIDTHS)
        self.blocks = nn.ModuleList(
            SpaceTimeBlock(widths[i], widths[i + 1], STRIDES[i], 5 if i == 0 else 3) for i in range(len(WIDTHS))
        )
        self.map = nn.Conv3d(WIDTHS[-1], MAP, 1)
        cells = (FRAMES // 4) * (SIZE // 16) ** 2
        # Means of all stages: fine texture and fast flicker do not survive to the last.
        self.features = nn.Linear(sum(WIDTHS) + MAP * cells, FEATURES)
        self.register_buffer("centre", torch.zeros(FEATURES))
        self.register_buffer("whiten", torch.eye(FEATURES))

    def forward(self, clips: Tensor) -> Tensor:
        """Clips `n 16 3 h w` in [0, 1] -> features `n 64`. ValueError for another shape."""
        return torch.asinh((self.raw(clips) - self.centre) @ self.whiten)

    def raw(self, clips: Tensor) -> Tensor:
        """The features before they are whitened; training works on these."""
        x = with_changes(shrink(clips)).transpose(1, 2)
        means = []
        for block in self.blocks:
            x = block(x)
            means.append(x.mean((2, 3, 4)))
        found: Tensor = self.features(torch.cat([*means, self.map(x).flatten(1)], 1))
        return found


def with_changes(clips: Tensor) -> Tensor:
    """`n t 3 h w` -> `n t 6 h w`: colours in [-2, 2], and the change since the frame before, 0 for the first.

    Changes are squashed to (-2, 2) such that one of a hundredth, as a slow hand makes it, still counts.
    """
    change = F.pad(clips[:, 1:] - clips[:, :-1], (0, 0, 0, 0, 0, 0, 1, 0))
    return torch.cat([clips * 4 - 2, 2 * change / (change.abs() + 0.05)], 2)


def shrink(clips: Tensor) -> Tensor:
    """`n 16 3 h w` -> `n 16 3 64 64`, bicubic with antialiasing: as sharp as the clips that training saw.

    ValueError for anything but sixteen colour frames, square ones.
    """
    if clips.ndim != 5 or clips.shape[1:3] != (FRAMES, 3) or clips.shape[3] != clips.shape[4]:
        raise ValueError(f"clips are {tuple(clips.shape)}, expected n {FRAMES} 3 h h")
    if clips.shape[-1] == SIZE:
        return clips
    small = F.interpolate(clips.flatten(0, 1), (SIZE, SIZE), mode="bicubic", antialias=True).clamp(0, 1)
    return small.reshape(*clips.shape[:3], SIZE, SIZE)
