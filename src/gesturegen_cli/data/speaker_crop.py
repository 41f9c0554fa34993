"""The square of a clip: centred on what moves, with the head in it.

Hands move most, so the centre of motion of a gesturing speaker is at the chest, and a square around it in a tall
picture would cut off the head. The head is the highest thing that moves: the square begins a little above it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gesturegen_cli.media.framing import CropBox, frame_speaker, motion_center

_MOVED = 24
"""Grey levels by which a pixel changes over the clip to count as moved."""
_TOP_SHARE = 0.03
"""Share of the moved pixels that may lie above the head: leaves, flicker."""
_HEADROOM = 0.1
"""Room above the head, relative to the square's side."""


def place_crop(pictures: Sequence[NDArray[np.uint8]], frame: NDArray[np.uint8]) -> CropBox:
    """The square of `frame` `h w 3` that shows the speaker who moves in `pictures`, small grey ones `h w 1`.

    Where nothing moves, as `frame_speaker` without a subject.
    """
    center = motion_center(pictures)
    if center is None:
        return frame_speaker(frame)
    height, width = frame.shape[:2]
    small_height, small_width = pictures[0].shape[:2]
    x, y = center[0] * width / small_width, center[1] * height / small_height
    side = min(height, width)
    top = highest_motion(pictures, center[0])
    if top is not None:
        y = top * height / small_height - _HEADROOM * side + side / 2
    return frame_speaker(frame, subject=(x, y))


def fixed_square(share: float, width: int, height: int) -> CropBox | None:
    """The square as high as a picture of `width` x `height` that begins at the `share` of its width.

    A share of 1 gives the square at the right edge. None where it would reach over the edge: `share` was measured on
    pictures of another shape, or they have been cut already.
    """
    left = width - height if share >= 1 else round(share * width)
    box = CropBox(left, 0, height)
    return box if box.inside(width, height) else None


def highest_motion(pictures: Sequence[NDArray[np.uint8]], center: float) -> float | None:
    """Row, in pixels of the small `pictures`, below which nearly all that moves around column `center` lies."""
    stack = np.stack(pictures)[..., 0]
    moved = (stack.max(axis=0) - stack.min(axis=0)) > _MOVED
    reach = moved.shape[1] / 4
    columns = np.abs(np.arange(moved.shape[1]) + 0.5 - center) <= reach
    rows = np.cumsum(moved[:, columns].sum(axis=1))
    if rows[-1] == 0:
        return None
    return float(np.searchsorted(rows, _TOP_SHARE * rows[-1], side="right"))
