"""From keypoints to one flow: K thin-plate transforms and the background, mixed per place (Zhao & Zhang 2022).

Names of submodules are those of the published weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gesturegen_cli.nn.warp import exact, gaussian
from gesturegen_tps.background import map_points
from gesturegen_tps.blocks import Down, Up
from gesturegen_tps.keypoints import POINTS
from gesturegen_tps.sampling_grid import sample
from gesturegen_tps.thin_plate import corner_grid, fit_thin_plates

REDUCTION = 4
"""The flow is estimated on pictures of this fraction of the size."""
GAUSSIAN_VARIANCE = 0.01
"""Of the blobs drawn at keypoints."""
LEVELS = 4
"""Occlusion maps: at 1/8, 1/4, 1/2 of the size and at the size."""


@dataclass(frozen=True)
class DenseMotion:
    """How a source has to be moved, `b` times."""

    grid: Tensor
    """Where each place of the driving frame lies in the source, `b g g 2` with g = size / 4, float32."""
    occlusion: tuple[Tensor, ...]
    """Share of the moved source to be seen, `b 1 h w` each, in [0, 1], at 1/8, 1/4, 1/2 of the size and at it."""


class Shrink(nn.Module):
    """A picture at a quarter of its size, blurred first so that fine patterns do not become coarse ones."""

    weight: Tensor

    def __init__(self) -> None:
        super().__init__()
        sigma = (REDUCTION - 1) / 2
        places = torch.arange(-round(4 * sigma), round(4 * sigma) + 1)
        bell = torch.exp(-places.square() / (2 * sigma**2))
        bell = bell / bell.sum()
        self.register_buffer("weight", (bell[:, None] * bell).expand(3, 1, -1, -1).clone())

    def forward(self, pictures: Tensor) -> Tensor:
        """Pictures `b 3 h w` -> `b 3 h/4 w/4`, float32."""
        with exact(pictures):
            return F.conv2d(
                pictures.float(), self.weight, stride=REDUCTION, padding=self.weight.shape[-1] // 2, groups=3
            )


class Encoder(nn.Module):
    """Half the size with every block."""

    def __init__(self, channels: list[int]) -> None:
        super().__init__()
        self.down_blocks = nn.ModuleList(Down(c, out) for c, out in pairwise(channels))

    def forward(self, x: Tensor) -> list[Tensor]:
        """`b c h w` -> itself and the output of every block, finest first."""
        levels = [x]
        for block in self.down_blocks:
            levels.append(block(levels[-1]))
        return levels


class Decoder(nn.Module):
    """Back up through the levels of an encoder, each joined to what comes from below."""

    def __init__(self, channels: list[int], skips: list[int]) -> None:
        super().__init__()
        below = [channels[-1], *(c + s for c, s in zip(channels[-2:0:-1], skips[-2:0:-1], strict=True))]
        self.up_blocks = nn.ModuleList(Up(c, out) for c, out in zip(below, channels[-2::-1], strict=True))

    def forward(self, levels: list[Tensor]) -> Iterator[Tensor]:
        """Levels, finest first -> the joined features, coarsest first; the last has the size of the first level."""
        x = levels[-1]
        for block, skip in zip(self.up_blocks, levels[-2::-1], strict=True):
            x = torch.cat([block(x), skip], 1)
            yield x


class Hourglass(nn.Module):
    """Encoder and decoder: `b c h w` -> features of all levels, coarsest first, the last with c + `width` channels."""

    def __init__(self, channels: int, width: int, blocks: int, widest: int) -> None:
        super().__init__()
        widths = [min(widest, width * 2**level) for level in range(blocks + 1)]
        inputs = [channels, *widths[1:]]
        self.encoder = Encoder(inputs)
        self.decoder = Decoder(widths, inputs)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Apply it to `b c h w`, h and w divisible by 2^blocks."""
        return list(self.decoder(self.encoder(x)))


class DenseMotionNetwork(nn.Module):
    """Estimates flow and occlusion from a small source and the keypoints of both frames.

    It sees heat maps and moved copies of the source, the heat maps first in the channels if `heatmaps_first`.
    """

    def __init__(self, transforms: int, width: int, blocks: int, widest: int, heatmaps_first: bool) -> None:
        super().__init__()
        self.heatmaps_first = heatmaps_first
        inputs = 3 * (transforms + 1) + POINTS * transforms + 1
        outputs = inputs + width
        self.down = Shrink()
        self.hourglass = Hourglass(inputs, width, blocks, widest)
        self.maps = nn.Conv2d(outputs, transforms + 1, 7, padding=3)
        self.up = nn.ModuleList([Up(outputs, outputs // 2), Up(outputs // 2, outputs // 4)])
        coarse = min(widest, 2 * width)
        widths = (2 * coarse, outputs, outputs // 2, outputs // 4)
        self.occlusion = nn.ModuleList(nn.Conv2d(c, 1, 7, padding=3) for c in widths)

    def forward(
        self,
        small: Tensor,
        source: Tensor,
        driving: Tensor,
        background: Tensor | None = None,
        keep: Tensor | None = None,
    ) -> DenseMotion:
        """Sources `b 3 g g` made small by `down`, their points `b k 5 2`, and the points of driving frames.

        Sources may be one (`1 3 g g`, `1 k 5 2`) for the whole batch. `background` `b 3 3` are affine maps from
        driving frame to source, None the identity; `keep` `b k+1` is false for transforms to do without.
        """
        with exact(small):
            grids = candidate_grids(small.shape[-1], source, driving, background)
            blobs = gaussians(small.shape[-1], driving) - gaussians(small.shape[-1], source)
            heatmaps = torch.cat([torch.zeros_like(blobs[:, :1]), blobs], 1)  # the background has none
            copies = moved_copies(small, grids)
            seen = torch.cat([heatmaps, copies] if self.heatmaps_first else [copies, heatmaps], 1)
        levels = self.hourglass(seen)
        with exact(small):
            shares = _shares(self.maps(levels[-1]).float(), keep)
            grid = (shares[..., None] * grids).sum(1)
        return DenseMotion(grid, tuple(self._occlusion(levels)))

    def _occlusion(self, levels: list[Tensor]) -> Iterator[Tensor]:
        features = [*levels[-2:]]
        for block in self.up:
            features.append(block(features[-1]))
        for head, x in zip(self.occlusion, features, strict=True):
            yield head(x).float().sigmoid()


def candidate_grids(size: int, source: Tensor, driving: Tensor, background: Tensor | None) -> Tensor:
    """Where every transform finds the places of the driving frame: `b k+1 g g 2`, the background first."""
    places = corner_grid(size, driving.device).view(-1, 2)
    still = places[None] if background is None else map_points(background.float(), places)
    moved = fit_thin_plates(driving, source.expand_as(driving))(places)
    grids = torch.cat([still[:, None].expand(len(driving), 1, -1, -1), moved], 1)
    return grids.view(len(driving), -1, size, size, 2)


def gaussians(size: int, points: Tensor) -> Tensor:
    """Blobs of height 1 at points `b k 5 2`: `b 5k size size`."""
    places = torch.linspace(-1, 1, size, device=points.device)
    x, y = points.float().flatten(1, 2).unbind(-1)
    across, along = (gaussian((places - at[..., None]).square() / GAUSSIAN_VARIANCE) for at in (x, y))
    return along[..., :, None] * across[..., None, :]


def moved_copies(small: Tensor, grids: Tensor) -> Tensor:
    """Pictures `b 3 g g` (or one) moved by each of `b k+1 g g 2` -> `b 3(k+1) g g`, channels of one copy together."""
    batch, copies, size = grids.shape[:3]
    stacked = sample(small, grids.reshape(batch, copies * size, size, 2))
    return stacked.view(batch, 3, copies, size, size).transpose(1, 2).flatten(1, 2)


def _shares(logits: Tensor, keep: Tensor | None) -> Tensor:
    """Share of every transform per place, `b k+1 g g`; transforms that are not kept have none."""
    if keep is not None:
        logits = logits.masked_fill(~keep[..., None, None], float("-inf"))
    return logits.softmax(1)
