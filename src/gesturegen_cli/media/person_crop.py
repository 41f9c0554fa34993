"""Cropping a picture once more, where a model can tell where the person is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from gesturegen_cli.media.framing import CropBox, refine_crop

SMALL_PERSON = 0.45
"""Share of the crop's side below which a person is small enough to crop again."""
OFF_CENTRE = 0.2
"""The same for the distance of the person's middle from that of the crop, sideways."""
LOST_PERSON = 0.1
"""Share of the crop's side below which joints lie on one spot: nobody was found."""
SAME_PERSON = 0.15
"""Mean distance, in shares of the new crop's side, by which joints may differ between the two crops."""

Locate = Callable[[CropBox], NDArray[np.floating]]
"""A crop to the joints seen in it, `k 2` in pixels of the whole picture."""


def better_crop(locate: Locate, first: CropBox, width: int, height: int) -> CropBox | None:
    """A crop around a person who is small or off the middle of the crop `first`; None when that one is good.

    It counts only if the same joints are seen in the new crop: what was taken for a person by mistake moves with it.
    """
    points = locate(first)
    low, high = points.min(axis=0), points.max(axis=0)
    share = float((high - low).max()) / first.side
    off = abs(float(low[0] + high[0]) / 2 - first.left - first.side / 2) / first.side
    if not share >= LOST_PERSON or (share >= SMALL_PERSON and off <= OFF_CENTRE):
        return None
    better = refine_crop(points, width, height)
    if better == first:
        return None
    moved = float(np.linalg.norm(locate(better) - points, axis=1).mean())
    return better if moved <= SAME_PERSON * better.side else None
