"""Crops around face and hands of the `flow` model: where they lie, what is seen in them, and laying them back.

A crop is a square around the centre of a latent code's joints, as large as the body is near, of 64 x 64 pixels. That of
the right hand is mirrored, so that both hands look alike to the networks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gesturegen_cli.models.speaker_anatomy import CODE_JOINTS, CODES, average_joints, averaging_weights, body_scale
from gesturegen_cli.nn.warp import exact, pixel_grid, warp

SIDE = 64
"""Pixels of a crop's side."""
REACH = 0.3
"""Half a crop's side in body scales: an open hand, or a face from the brows to the chin."""
FLIPS: tuple[float, ...] = tuple(-1.0 if name.startswith("right") else 1.0 for name in CODES)


@dataclass(frozen=True)
class Crops:
    """The three crops (face, left hand, right hand) of `b` poses, or the first of them; no gradients."""

    centres: Tensor
    """`b 3 2` in [-1, 1] of the picture, or outside it."""
    halves: Tensor
    """Half of a side in the same units, `b`."""

    @property
    def grid(self) -> Tensor:
        """Picture coordinates of the crops' pixels, the three one below the other: `b 3*n n 2`."""
        local = self.to_picture(pixel_grid(SIDE).to(self.centres)[None, None])
        return local.flatten(1, 2)

    def to_picture(self, local: Tensor) -> Tensor:
        """Crop coordinates in [-1, 1], `b|1 3|1 n n 2` -> picture coordinates `b 3 n n 2`."""
        return self.centres[:, :, None, None] + self.turn(local) * self.halves[:, None, None, None, None]

    def to_local(self, points: Tensor) -> Tensor:
        """Picture coordinates `b 3 k 2` -> crop coordinates."""
        turned = (points - self.centres[:, :, None]) / self.halves[:, None, None, None]
        return turned * self._signs(turned)[:, :, 0]

    def turn(self, vectors: Tensor) -> Tensor:
        """Mirror the right hand's `b|1 3|1 n n 2`, there or back."""
        return vectors * self._signs(vectors)

    def _signs(self, like: Tensor) -> Tensor:
        flips = torch.tensor(FLIPS[: self.centres.shape[1]], device=like.device, dtype=like.dtype)
        return torch.stack([flips, torch.ones_like(flips)], -1)[None, :, None, None]

    def sample(self, maps: Tensor) -> Tensor:
        """What is seen of maps `b|1 c h w` in the crops, `b 3 c n n`."""
        return by_part(warp(maps, self.grid))


def by_part(stacked: Tensor) -> Tensor:
    """Maps of crops one below the other, `b c 3*n n` -> `b 3 c n n`."""
    count, channels = stacked.shape[:2]
    return stacked.reshape(count, channels, len(CODES), SIDE, SIDE).transpose(1, 2)


def place_crops(joints: Tensor) -> Crops:
    """The crops of poses `b 25 2`."""
    joints = joints.detach()
    with exact(joints):
        centres = average_joints(averaging_weights(CODE_JOINTS).to(joints), joints)
        return Crops(centres, REACH * body_scale(joints))


def paste_crops(maps: Tensor, crops: Crops, size: int) -> Tensor:
    """The first crops' maps `b k c n n`, each where it lies in a picture of `size` pixels: `b k c size size`.

    Every crop is drawn in the smallest square of whole pixels that holds the largest of them: sampling the whole
    picture for each would be most of the work.
    """
    count, parts, channels = maps.shape[:3]
    crops = Crops(crops.centres[:, :parts], crops.halves)
    side = min(size, int(float(crops.halves.max()) * size) + 2)
    with exact(maps):
        # Squares lie in the picture; of crops that do not, they hold what does.
        corners = ((crops.centres + 1) * (size / 2) - side / 2).round().clamp(0, size - side)
        middle = (corners + side / 2) * (2 / size) - 1
        offsets = pixel_grid(side).to(maps) * (side / size)
        points = (middle[:, :, None, None] + offsets).flatten(2, 3)
        grid = crops.to_local(points).flatten(0, 1).view(-1, side, side, 2)
        drawn = F.grid_sample(maps.float().flatten(0, 1), grid, align_corners=False)
        drawn = drawn.view(count, parts, channels, side * side)
        left, top = corners.long().unbind(-1)
        along = torch.arange(side, device=maps.device)
        places = (top[..., None] + along)[..., None] * size + (left[..., None] + along)[..., None, :]
        canvas = drawn.new_zeros(count, parts, channels, size * size)
        canvas = canvas.scatter(3, places.flatten(2)[:, :, None].expand(-1, -1, channels, -1), drawn)
        return canvas.view(count, parts, channels, size, size)
