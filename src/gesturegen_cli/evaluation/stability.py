"""What should not change in a video: still background, colours, the face."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from gesturegen_cli.evaluation.pose import head_squares, person_mask

GRID = 32
"""Cells per side in which background and person are told apart."""
LEAST_BACKGROUND = 0.02
"""Share of the picture that must be background for its flicker to be measured."""
FACE = 32
"""Side in pixels at which heads are compared."""
LEAST_SECONDS = 5.0
"""A drift per minute is not told from shorter videos."""


class StabilityTrack:
    """Goes through a video batch by batch and keeps a few numbers per frame."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self._last: tuple[Tensor, Tensor] | None = None
        self._flicker: list[Tensor] = []
        self._colours: list[Tensor] = []
        self._faces: list[Tensor] = []

    def add(self, frames: Tensor, joints: Tensor) -> None:
        """The next frames `b 3 h w` and their joints `b k 2`."""
        background = ~person_mask(joints, self.names, GRID)
        small = F.adaptive_avg_pool2d(frames, min(frames.shape[-1], 4 * GRID))
        if self._last is not None:
            small = torch.cat([self._last[0], small])
            background = torch.cat([self._last[1], background])
        self._flicker.append(background_change(small, background))
        self._last = small[-1:], background[-1:]
        self._colours.append(255 * frames.mean(dim=(2, 3)).cpu())
        self._faces.append(cut_faces(frames, head_squares(joints, self.names)))

    def flicker(self) -> NDArray[np.float32]:
        """Change of the background between neighbouring frames, t - 1, in grey levels; NaN where none is seen."""
        return torch.cat(self._flicker).numpy()

    def colour_drift(self, fps: float) -> float | None:
        """Grey levels per minute by which the mean colour drifts; None under LEAST_SECONDS."""
        colours = torch.cat(self._colours).double()
        if len(colours) < LEAST_SECONDS * fps:
            return None
        return float(slope(colours, fps).abs().mean())

    def face_drift(self, fps: float) -> float | None:
        """Change per minute of 1 - correlation with the head of the first second; None under LEAST_SECONDS."""
        faces = torch.cat(self._faces)
        if len(faces) < LEAST_SECONDS * fps:
            return None
        model = F.normalize(faces[: max(1, round(fps))].mean(dim=0), dim=0)
        return float(slope((1 - faces @ model).double()[:, None], fps).abs()[0])


def background_change(frames: Tensor, background: Tensor) -> Tensor:
    """Mean |difference| in grey levels between neighbours of frames `t 3 h w`, `t - 1`.

    Only where both frames of a pair are `background` `t n n`; NaN where that is less than LEAST_BACKGROUND.
    """
    both = F.interpolate((background[1:] & background[:-1]).float()[:, None], frames.shape[-1], mode="nearest")
    change = 255 * (frames[1:] - frames[:-1]).abs().mean(dim=1, keepdim=True).cpu()
    share = both.mean(dim=(1, 2, 3))
    mean = (change * both).mean(dim=(1, 2, 3)) / share.clamp_min(1e-9)
    return torch.where(share >= LEAST_BACKGROUND, mean, torch.nan)


def cut_faces(frames: Tensor, squares: Tensor) -> Tensor:
    """Heads of frames `b 3 h w` in squares `b 3` -> `b n`: grey, FACE x FACE, mean 0, length 1."""
    centres = (torch.arange(FACE) * 2 + 1) / FACE - 1
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    grid = squares[:, None, None, :2] + torch.stack([x, y], dim=-1) * squares[:, None, None, 2:]
    grey = frames.mean(dim=1, keepdim=True)
    heads = F.grid_sample(grey, grid.to(grey), padding_mode="border", align_corners=False).flatten(1).cpu()
    return F.normalize(heads - heads.mean(dim=1, keepdim=True), dim=1)


def slope(values: Tensor, fps: float) -> Tensor:
    """Least-squares slope per minute of each column of `t n`."""
    minutes = torch.arange(len(values), dtype=values.dtype) / fps / 60
    centred = minutes - minutes.mean()
    return (centred[:, None] * (values - values.mean(dim=0))).sum(dim=0) / centred.square().sum()
