"""What goes wrong in gesture video, drawn on purpose: 16-frame clips with a known fault of a known strength in [0, 1].

Faults of time choose other frames of the source; faults of the picture change the sixteen that were chosen. `HELD_OUT`
are never trained on: they show whether the features notice what they were not told about.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

FRAMES, SIZE = 16, 64
TIME = ("freeze", "shuffle", "speed", "drop", "seam")
PICTURE = ("blur", "noise", "jitter", "flicker", "drift", "hands")
KINDS = (*TIME, *PICTURE)
HELD_OUT = ("ghost", "wobble", "blocks", "erase")
SPAN = 64
"""Frames of the source that a clip may need: sixteen at four times the speed."""


@dataclass(frozen=True)
class Source:
    """A video of a speaker, decoded."""

    frames: np.ndarray
    """`t 64 64 3` uint8, 25 fps."""
    joints: np.ndarray | None
    """`t k 2` in [-1, 1]; None for video without labels."""
    boxes: np.ndarray | None
    """Left and right hand, `t 2 4` as x0 y0 x1 y1 in [-1, 1]."""


@dataclass(frozen=True)
class Cut:
    """Sixteen frames of a source, at times that need not be whole."""

    clip: torch.Tensor
    """`16 3 64 64` in [0, 1]."""
    joints: torch.Tensor | None
    boxes: torch.Tensor | None


def times(kind: str, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Sixteen times in frames after the start.

    `speed` is 2, 3 or 4 times the usual for positive strength and a half, a third or a quarter for negative: whole
    factors, since frames blended in between would give the faster ones away.
    """
    usual = np.arange(FRAMES, dtype=float)
    if kind == "freeze":
        held = round(strength * (FRAMES - 1))
        first = int(rng.integers(0, FRAMES - held))
        return np.where((usual > first) & (usual <= first + held), first, usual)
    if kind == "shuffle":
        return np.argsort(usual + rng.uniform(0, 1 + 15 * strength, FRAMES), kind="stable").astype(float)
    if kind == "speed":
        factor = 1 + np.ceil(3 * abs(strength))
        return usual * factor if strength > 0 else usual / factor
    if kind == "drop":
        step = 1 + np.ceil(3 * strength)
        return np.floor(usual / step) * step
    if kind == "seam":
        return usual + (usual >= rng.integers(3, 14)) * round(40 * strength)
    return usual


def cut(source: Source, start: int, at: np.ndarray) -> Cut:
    """The frames at `start + at`, neighbours blended for times in between."""
    where = np.clip(start + at, 0, len(source.frames) - 1)
    low = np.floor(where).astype(int)
    high, part = np.minimum(low + 1, len(source.frames) - 1), (where - low).astype(np.float32)

    def take(values: np.ndarray) -> torch.Tensor:
        weight = part.reshape(-1, *[1] * (values.ndim - 1))
        if not part.any():
            return torch.from_numpy(values[low].astype(np.float32))
        return torch.from_numpy(values[low] * (1 - weight) + values[high] * weight)

    clip = take(source.frames).permute(0, 3, 1, 2).contiguous() / 255
    labels = [None if values is None else take(values) for values in (source.joints, source.boxes)]
    return Cut(clip, labels[0], labels[1])


def shake(strength: float, rng: np.random.Generator) -> torch.Tensor:
    """Offsets of the frames of `jitter`, `16 2` in [-1, 1] of the picture: up to 2.5 pixels of standard deviation."""
    return torch.from_numpy(rng.normal(0, 2.5 * strength * 2 / SIZE, (FRAMES, 2)).astype(np.float32))


def place(clip: torch.Tensor, zoom: float, centre: torch.Tensor, mirror: bool) -> torch.Tensor:
    """Cut out a square of side `zoom` about `centre` (`2` or, per frame, `16 2`), bicubic, edges repeated."""
    theta = torch.zeros(FRAMES, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = (-zoom if mirror else zoom), zoom
    theta[:, :, 2] = centre
    grid = F.affine_grid(theta, [FRAMES, 3, SIZE, SIZE], align_corners=False)
    return F.grid_sample(clip, grid, "bicubic", padding_mode="border", align_corners=False)


def corrupt(clip: torch.Tensor, kind: str, strength: float, boxes: torch.Tensor | None, rng: np.random.Generator):
    """A fault of the picture on `16 3 64 64`; those of time leave it as it is."""
    if kind == "blur":
        return smooth(clip, 2.5 * strength)
    if kind == "noise":
        return clip + 0.15 * strength * torch.from_numpy(rng.standard_normal(clip.shape, np.float32))
    if kind == "jitter":
        return place(clip, 1.0, shake(strength, rng), False)
    if kind == "flicker":
        return clip * torch.from_numpy(1 + 0.25 * strength * rng.standard_normal((FRAMES, 1, 1, 1), np.float32))
    if kind == "drift":
        way = rng.standard_normal((1, 3, 1, 1), np.float32)
        ramp = np.linspace(0, 1, FRAMES, dtype=np.float32).reshape(-1, 1, 1, 1)
        return clip + torch.from_numpy(0.3 * strength * ramp * way / np.linalg.norm(way))
    if kind == "hands":
        mask = hand_mask(boxes)
        return clip * (1 - mask) + smooth(clip, 2 * strength) * mask
    return held_out(clip, kind, strength, boxes, rng)


def held_out(clip: torch.Tensor, kind: str, strength: float, boxes: torch.Tensor | None, rng: np.random.Generator):
    """The faults that training never shows."""
    if kind == "ghost":  # the picture drags its past along
        keep, out = 0.85 * strength, [clip[0]]
        for frame in clip[1:]:
            out.append(keep * out[-1] + (1 - keep) * frame)
        return torch.stack(out)
    if kind == "wobble":  # a slow wave of warping, as of melting shapes
        rough = torch.from_numpy(rng.standard_normal((1, 2, 5, 5, 5), np.float32))
        field = F.interpolate(rough, (FRAMES, SIZE, SIZE), mode="trilinear", align_corners=True)[0]
        grid = F.affine_grid(torch.eye(2, 3).expand(FRAMES, 2, 3), [FRAMES, 3, SIZE, SIZE], align_corners=False)
        grid = grid + 0.12 * strength * field.permute(1, 2, 3, 0)
        return F.grid_sample(clip, grid, padding_mode="border", align_corners=False)
    if kind == "blocks":  # JPEG, each frame by itself
        return torch.stack([_jpeg(frame, round(90 * (1 - strength) ** 2 + 3)) for frame in clip])
    if kind == "erase":  # hands dissolve into the average of their surroundings
        mask = hand_mask(boxes) * strength
        return clip * (1 - mask) + clip.mean((2, 3), keepdim=True) * mask
    return clip


def hand_mask(boxes: torch.Tensor | None) -> torch.Tensor:
    """Soft masks `16 1 64 64` of boxes `16 2 4`, wider by a quarter."""
    if boxes is None:
        return torch.zeros(FRAMES, 1, SIZE, SIZE)
    line = (torch.arange(SIZE) + 0.5) * 2 / SIZE - 1
    low, high = boxes[..., :2], boxes[..., 2:]
    middle, half = (low + high) / 2, (high - low) / 2 * 1.25 + 2 / SIZE
    inside = [((half[..., i, None] - (line - middle[..., i, None]).abs()) * SIZE / 4).clamp(0, 1) for i in (0, 1)]
    return (inside[1][..., :, None] * inside[0][..., None, :]).amax(1, keepdim=True)


def smooth(clip: torch.Tensor, sigma: float) -> torch.Tensor:
    """Gaussian blur of each frame, edges repeated."""
    if sigma < 0.05:
        return clip
    reach = int(np.ceil(3 * sigma))
    x = torch.arange(-reach, reach + 1, dtype=torch.float32)
    kernel = torch.exp(-(x**2) / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    planes = clip.reshape(-1, 1, SIZE, SIZE)
    planes = F.conv2d(F.pad(planes, (reach, reach, 0, 0), mode="replicate"), kernel.reshape(1, 1, 1, -1))
    planes = F.conv2d(F.pad(planes, (0, 0, reach, reach), mode="replicate"), kernel.reshape(1, 1, -1, 1))
    return planes.reshape(clip.shape)


def faulty(source: Source, start: int, kind: str, strength: float, rng: np.random.Generator) -> torch.Tensor:
    """A clip of `source` with one fault and nothing else changed: what validation compares."""
    found = cut(source, start, times(kind, strength, rng))
    return corrupt(found.clip, kind, strength, found.boxes, rng).clamp(0, 1)


def _jpeg(frame: torch.Tensor, quality: int) -> torch.Tensor:
    data = io.BytesIO()
    Image.fromarray((frame.clamp(0, 1) * 255).byte().permute(1, 2, 0).numpy()).save(data, "JPEG", quality=quality)
    return torch.from_numpy(np.asarray(Image.open(data)).copy()).permute(2, 0, 1) / 255
