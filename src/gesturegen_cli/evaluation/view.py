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


def iter_batches(item: Item, view: View) -> Iterator[Tensor]:
    """The video as batches `b 3 size size` in [0, 1] of BATCH frames, the last one perhaps smaller."""
    frames = iter_pictures(item, view)
    while batch := list(islice(frames, BATCH)):
        yield as_tensor(batch, view.device)


def iter_pictures(item: Item, view: View) -> Iterator[NDArray[np.uint8]]:
    """The frames `size size 3` that count: of a video that is not square those of a square in it."""
    return islice(
        iter_frames(item.video, fps=view.fps, size=view.size, crop=choose_crop(item, view)), view.frames or None
    )


def choose_crop(item: Item, view: View) -> CropBox | None:
    """The square of a video that is not square: its middle, or around the speaker of the first frame."""
    info = probe_video(item.video)
    if info.width == info.height:
        return None
    if view.crop == "middle":
        side = min(info.width, info.height)
        return CropBox((info.width - side) // 2, (info.height - side) // 2, side)
    return frame_speaker(next(iter(iter_frames(item.video, fps=view.fps, seconds=1 / view.fps))))


def as_tensor(frames: list[NDArray[np.uint8]], device: torch.device) -> Tensor:
    """Frames `h w 3` -> `b 3 h w` in [0, 1]."""
    stacked = torch.from_numpy(np.stack(frames)).to(device)
    return stacked.permute(0, 3, 1, 2).float() / 255


def expected_frames(item: Item, view: View) -> int:
    """Frames the video will give, by its header. Raises InputError for a file that is no video."""
    count = max(1, round(probe_video(item.video).seconds * view.fps))
    return min(count, view.frames) if view.frames else count
