"""Which square of a picture or video shows the speaker, and cutting it out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_BORDER = 0.02
"""Width of the border that must look alike for the background to count as plain, relative to the picture's width."""
_PLAIN_SPREAD = 24.0
"""Grey levels by which three quarters of a plain border stay around its median."""
_FOREGROUND = 40.0
"""Grey levels (largest of r, g, b) by which a pixel differs from a plain background to belong to the speaker."""
_NOISE = 12.0
"""Grey levels of change between two frames that are compression noise, not motion."""
_ANALYSIS_WIDTH = 256


@dataclass(frozen=True)
class CropBox:
    """A square in pixels: `left`, `top` and `side`. It may reach over the picture's edge, which is then repeated."""

    left: int
    top: int
    side: int

    def inside(self, width: int, height: int) -> bool:
        """True when the square lies in a picture of `width` x `height` pixels."""
        return (
            self.side > 0
            and self.left >= 0
            and self.top >= 0
            and self.left + self.side <= width
            and self.top + self.side <= height
        )


def frame_speaker(pixels: NDArray[np.uint8], *, subject: tuple[float, float] | None = None) -> CropBox:
    """The largest square around the speaker in `h w 3`.

    A tall picture keeps its top, where the head is. A wide one is centred on the speaker: `subject` (x, y in pixels)
    where something knows it, else the foreground before a plain background, else the middle. With `subject`, a tall
    picture follows it downwards only as far as needed to hold it in the upper half.
    """
    height, width = pixels.shape[:2]
    side = min(height, width)
    if height > width:
        top = 0 if subject is None else round(subject[1] - side / 2)
        return CropBox(0, _clamp(top, 0, height - side), side)
    center = subject[0] if subject is not None else _foreground_center(pixels)
    left = round((width if center is None else 2 * center) / 2 - side / 2)
    return CropBox(_clamp(left, 0, width - side), 0, side)


def refine_crop(points: NDArray[np.floating], width: int, height: int, *, margin: float = 0.35) -> CropBox:
    """A square around joints `k 2` (x, y in pixels of a `width` x `height` picture), for speakers that are small in it.

    The longer side of the joints' bounding box grows by `margin` on each side; the square is never larger than the
    picture's shorter side, never smaller than a third of it, and stays inside. Joints that are not finite do not count;
    without any the middle is taken.
    """
    shorter = min(width, height)
    known = points[np.isfinite(points).all(axis=1)]
    if len(known) == 0:
        return CropBox((width - shorter) // 2, 0 if height > width else (height - shorter) // 2, shorter)
    low, high = known.min(axis=0), known.max(axis=0)
    side = _clamp(round(float((high - low).max()) * (1 + 2 * margin)), -(-shorter // 3), shorter)
    left, top = (float(value) - side / 2 for value in (low + high) / 2)
    return CropBox(_clamp(round(left), 0, width - side), _clamp(round(top), 0, height - side), side)


def motion_center(frames: Sequence[NDArray[np.uint8]]) -> tuple[float, float] | None:
    """Centre (x, y in pixels) of what moves between `frames`, each `h w 3` of one size; None when nothing does.

    The weighted median along each axis of how often a pixel changed, so that a flicker in a corner does not pull it.
    """
    if len(frames) < 2:
        return None
    height, width = frames[0].shape[:2]
    stride = max(1, width // _ANALYSIS_WIDTH)
    grey = np.stack([frame[::stride, ::stride].astype(np.float32).mean(axis=2) for frame in frames])
    energy = (np.abs(np.diff(grey, axis=0)) > _NOISE).sum(axis=0).astype(np.float64)
    if not energy.any():
        return None
    x, y = (_weighted_median(energy.sum(axis=axis)) * stride for axis in (0, 1))
    return min(x, float(width)), min(y, float(height))


def crop_and_resize(pixels: NDArray[np.uint8], box: CropBox, size: int | tuple[int, int]) -> NDArray[np.uint8]:
    """The part of `h w 3` in `box`, scaled (Lanczos) to `size` x `size` or (width, height) pixels.

    Where the box reaches over the picture, the nearest edge pixel is repeated.
    """
    height, width = pixels.shape[:2]
    if box.inside(width, height):
        part = pixels[box.top : box.top + box.side, box.left : box.left + box.side]
    else:
        rows = np.clip(np.arange(box.top, box.top + box.side), 0, height - 1)
        columns = np.clip(np.arange(box.left, box.left + box.side), 0, width - 1)
        part = pixels[rows[:, None], columns]
    target = (size, size) if isinstance(size, int) else size
    if part.shape[1::-1] == target:
        return part.copy()
    return np.array(Image.fromarray(np.ascontiguousarray(part)).resize(target, Image.Resampling.LANCZOS))


def _foreground_center(pixels: NDArray[np.uint8]) -> float | None:
    """The x of the middle of what differs from a plain background; None when the background is not plain."""
    width = pixels.shape[1]
    stride = max(1, width // _ANALYSIS_WIDTH)
    small = pixels[::stride, ::stride].astype(np.float32)
    edge = max(1, round(small.shape[1] * _BORDER))
    # The lower edge is left out: speakers are cut off there. One side may be, too, so the sides vote by their median.
    border = np.concatenate(
        [small[:edge].reshape(-1, 3), small[:, :edge].reshape(-1, 3), small[:, -edge:].reshape(-1, 3)]
    )
    background = np.median(border, axis=0)
    if np.quantile(np.abs(border - background).max(axis=1), 0.75) > _PLAIN_SPREAD:
        return None
    foreground = (np.abs(small - background).max(axis=2) > _FOREGROUND).sum(axis=0).astype(np.float32)
    if foreground.sum() < 0.01 * small.shape[0] * small.shape[1]:
        return None
    center = _weighted_median(foreground) * stride
    return float(min(center, width))


def _weighted_median(weights: NDArray[np.floating]) -> float:
    """Position at which half of the `weights` (one per unit of length) lies before."""
    total = np.cumsum(weights, dtype=np.float64)
    half = total[-1] / 2
    index = int(np.searchsorted(total, half))
    before = total[index - 1] if index else 0.0
    return index + float((half - before) / (total[index] - before))


def _clamp(value: int, low: int, high: int) -> int:
    return max(low, min(high, value))
