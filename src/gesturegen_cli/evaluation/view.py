"""How an evaluation looks at videos: every one as the same kind of square frames, in batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gesturegen_cli.evaluation.items import Item
from gesturegen_cli.media.framing import CropBox, frame_speaker
from gesturegen_cli.media.video import iter_frames, probe_video

BATCH = 16
"""Frames in memory at a time; also the frames of a clip behind FVD."""


@dataclass(frozen=True)
class View:
    """How every video is looked at; see config.schema.Evaluation for what the words mean."""

    fps: float
    size: int
    device: torch.device
    crop: str = "speaker"
    frames: int = 0


def iter_batches(item: Item, view: View, partner: Item | None = None) -> Iterator[Tensor]:
    """The video as batches `b 3 size size` in [0, 1] of BATCH frames, the last one perhaps smaller."""
    frames = iter_pictures(item, view, partner)
    while batch := list(islice(frames, BATCH)):
        yield as_tensor(batch, view.device)


def iter_pictures(item: Item, view: View, partner: Item | None = None) -> Iterator[NDArray[np.uint8]]:
    """The frames `size size 3` that count: of a video that is not square those of a square in it (choose_crop)."""
    crop = choose_crop(item, view, partner)
    return islice(iter_frames(item.video, fps=view.fps, size=view.size, crop=crop), view.frames or None)


def choose_crop(item: Item, view: View, partner: Item | None = None) -> CropBox | None:
    """The square of a video that is not square: its middle, or around the speaker of the first frame; None if square.

    With a `partner`, the reference of the same width and height, it is the partner's square: both are to show the same
    part, and a few other pixels in the first frame would move a square of its own.
    """
    info = probe_video(item.video)
    if info.width == info.height:
        return None
    if view.crop == "middle":
        side = min(info.width, info.height)
        return CropBox((info.width - side) // 2, (info.height - side) // 2, side)
    if partner is not None:
        other = probe_video(partner.video)
        item = partner if (other.width, other.height) == (info.width, info.height) else item
    return frame_speaker(next(iter(iter_frames(item.video, fps=view.fps, seconds=1 / view.fps))))


def as_tensor(frames: list[NDArray[np.uint8]], device: torch.device) -> Tensor:
    """Frames `h w 3` -> `b 3 h w` in [0, 1]."""
    stacked = torch.from_numpy(np.stack(frames)).to(device)
    return stacked.permute(0, 3, 1, 2).float() / 255


def expected_frames(item: Item, view: View) -> int:
    """Frames the video will give, by its header. Raises InputError for a file that is no video."""
    count = max(1, round(probe_video(item.video).seconds * view.fps))
    return min(count, view.frames) if view.frames else count
