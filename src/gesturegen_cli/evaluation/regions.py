"""Parts of pictures that are scored by themselves: boxes of hands and mouth, and what moves."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gesturegen_cli.data.frames import BOXES, labelled_frames, read_labels
from gesturegen_cli.data.manifest import Clip

MOVED = 0.05
"""Mean difference from the first frame over 5 x 5 pixels from which a place of a 256 x 256 picture has moved."""
_MEAN, _GROWN = 5, 9
"""Pixels of a 256 x 256 picture that the difference is averaged over, and that the moved region grows by."""


def box_mask(boxes: Tensor, side: int) -> Tensor:
    """Boxes `b n 4` (x0, y0, x1, y1 in [-1, 1]) -> `b 1 side side`, 1 inside any of them.

    A box of NaN is nowhere.
    """
    centres = ((torch.arange(side) * 2 + 1) / side - 1).to(boxes.device)
    across = (centres >= boxes[..., 0, None]) & (centres <= boxes[..., 2, None])
    down = (centres >= boxes[..., 1, None]) & (centres <= boxes[..., 3, None])
    return (down[..., :, None] & across[..., None, :]).any(dim=1, keepdim=True).float()


def moving_mask(real: Tensor, first: Tensor) -> Tensor:
    """Where `real` `b 3 h w` has left `first` `1 3 h w`: `b 1 h w`.

    The mean difference over a small square exceeds MOVED; the region is then grown. Sizes of both go with the picture.
    """
    side = real.shape[-1]
    mean, grown = (max(1, round(k * side / 256) // 2 * 2 + 1) for k in (_MEAN, _GROWN))
    change = (real - first).abs().mean(dim=1, keepdim=True)
    change = F.avg_pool2d(change, mean, stride=1, padding=mean // 2, count_include_pad=False)
    return F.max_pool2d((change > MOVED).float(), grown, stride=1, padding=grown // 2)


def labelled_boxes(clip: Clip, frames: int, fps: float) -> Tensor | None:
    """Boxes `frames 3 4` of left hand, right hand and mouth at `fps`, between labelled frames interpolated.

    None when the clip has no labels or labels without boxes. InputError when the labels are damaged.
    """
    if clip.labels is None:
        return None
    numbers = labelled_frames(clip)
    labels = read_labels(clip.labels, None)
    if BOXES not in labels:
        return None
    times, wanted = numbers / clip.fps, np.arange(frames) / fps
    flat = labels[BOXES].astype(np.float64).reshape(len(numbers), -1)
    columns = [np.interp(wanted, times, column) for column in flat.T]
    return torch.from_numpy(np.stack(columns, axis=1).reshape(frames, 3, 4).astype(np.float32))
