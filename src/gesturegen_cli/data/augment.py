"""Augmentation of frame pairs: what both frames share (geometry, colours) and what only the network's input gets.

Everything is per pair and single-threaded: a pair fits the processor's cache, and loaders run beside the training.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

NO_DESK = 2.0
"""Height of the desk where there is none: below every picture."""


@dataclass(frozen=True)
class Geometry:
    """A point p of the clip's frame goes to scale * p + shift, x mirrored first; coordinates in [-1, 1]."""

    scale: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)
    mirrored: bool = False
    desk: float = NO_DESK
    """Everything below this height is covered by something that does not move."""
    textured: bool = False
    """Outside the frame lies a random texture, else the frame's border."""


def draw_geometry(rng: np.random.Generator, labelled: bool) -> Geometry:
    """Wide for labelled data, whose framing is ours to vary; narrow for videos, whose framing is real."""
    scale = rng.uniform(0.62, 1.18) if labelled else rng.uniform(0.88, 1.15)
    desk = rng.random() < (0.4 if labelled else 0.1)
    # Speakers are cut off by the lower border: the frame's lower edge stays near it, or a desk hides it.
    down = 1 - scale + rng.uniform(-0.02, 0.25) - desk * rng.uniform(0, 0.3)
    edge = scale + down
    height = rng.uniform(0.6, 1.0) if desk else NO_DESK
    if desk or edge < 1:
        height = min(height, edge - 0.01)
    shift = (rng.uniform(-0.25, 0.25), down)
    return Geometry(scale, shift, bool(rng.random() < 0.5), height, bool(rng.random() < 0.5))


def move_frames(frames: NDArray[np.uint8], geometry: Geometry, noise: torch.Generator) -> Tensor:
    """Frames `2 h w 3` uint8 -> `2 3 h w` in [0, 1], both moved and covered alike."""
    size = frames.shape[1]
    pictures = torch.from_numpy(frames).permute(0, 3, 1, 2).float().mul_(1 / 255)
    if geometry == Geometry():
        return pictures.contiguous()
    centres = (torch.arange(size) * 2 + 1) / size - 1
    x = (centres - geometry.shift[0]) / geometry.scale * (-1 if geometry.mirrored else 1)
    y = (centres - geometry.shift[1]) / geometry.scale
    grid = torch.stack([x.expand(size, size), y[:, None].expand(size, size)], -1)[None]
    stacked = pictures.reshape(1, 6, size, size)
    moved = F.grid_sample(stacked, grid, padding_mode="border", align_corners=False).reshape(2, 3, size, size)
    if geometry.textured:
        outside = (y.abs() > 1)[:, None] | (x.abs() > 1)
        moved = torch.where(outside, random_texture(size, noise), moved)
    first = math.ceil((geometry.desk + 1) / 2 * size - 0.5)
    if first < size:
        moved[:, :, max(first, 0) :] = random_texture(size, noise)[:, max(first, 0) :]
    return moved


def random_texture(size: int, noise: torch.Generator) -> Tensor:
    """A still pattern `3 size size` in [0, 1]: a colour, large spots and small ones."""
    colour, large = torch.rand(1, 3, 1, 1, generator=noise), torch.rand(1, 3, 4, 4, generator=noise)
    small = torch.rand(1, 3, size // 8, size // 8, generator=noise)
    spots = 0.4 * F.interpolate(large, list(small.shape[2:]), mode="bilinear", align_corners=False) + 0.25 * small
    texture = (colour + spots - 0.32).clamp(0, 1)
    return F.interpolate(texture, (size, size), mode="bilinear", align_corners=False)[0]


def recolour(pictures: Tensor, rng: np.random.Generator) -> Tensor:
    """Random colour mixing, saturation, gamma, gain, offset and a soft blur, the same for all pictures `k 3 h w`."""
    mix = np.eye(3)
    if rng.random() < 0.6:
        mix = mix + rng.normal(0, 0.12, (3, 3))
    saturation = rng.uniform(0.2, 1.5)
    mix = (saturation * np.eye(3) + (1 - saturation) / 3) @ mix
    mix = mix / np.maximum(mix.sum(-1, keepdims=True), 0.3)
    gamma, gain, offset = float(np.exp(rng.normal(0, 0.28))), rng.uniform(0.65, 1.25), rng.uniform(-0.06, 0.06)
    matrix = torch.from_numpy(mix.astype(np.float32))
    mixed = torch.matmul(matrix, pictures.flatten(2)).view_as(pictures)
    toned = mixed.clamp_(1e-4, 1).pow_(gamma).mul_(gain).add_(offset).clamp_(0, 1)
    return _soften(toned) if rng.random() < 0.3 else toned


def _soften(pictures: Tensor) -> Tensor:
    padded = F.pad(pictures, (1, 1, 1, 1), mode="replicate")
    return 0.5 * pictures + 0.5 * F.avg_pool2d(padded, 3, 1)


def spoil(picture: Tensor, rng: np.random.Generator, noise: torch.Generator) -> Tensor:
    """What a camera and a codec do to a picture `3 h w`: noise, and sometimes JPEG or a low resolution."""
    deviation = rng.uniform(0, 0.035) * (rng.random() < 0.6)
    kind = rng.random()
    if deviation > 0.002:
        picture = torch.randn(picture.shape, generator=noise).mul_(deviation).add_(picture).clamp_(0, 1)
    if kind < 0.12:
        return _jpeg(picture, int(rng.integers(25, 85)))
    if kind < 0.2:
        factor = int(rng.integers(2, 4))
        small = F.avg_pool2d(picture[None], factor)
        return F.interpolate(small, list(picture.shape[1:]), mode="bilinear", align_corners=False)[0]
    return picture


def _jpeg(picture: Tensor, quality: int) -> Tensor:
    buffer = io.BytesIO()
    pixels = picture.permute(1, 2, 0).mul(255).round().to(torch.uint8).numpy()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return torch.from_numpy(np.asarray(Image.open(buffer)).copy()).permute(2, 0, 1).float() / 255
