"""Regions of pictures: boxes become masks, what moves is found, labels are stretched over all frames."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from gesturegen_cli.evaluation.regions import box_mask, labelled_boxes, moving_mask


def test_a_box_covers_its_share_and_two_boxes_do_not_count_twice():
    left, top = torch.tensor([-1.0, -1.0, 0.0, 1.0]), torch.tensor([-1.0, -1.0, 1.0, 0.0])
    mask = box_mask(torch.stack([left, top])[None], 64)
    assert mask.shape == (1, 1, 64, 64)
    assert mask.mean() == 0.75
    assert mask[0, 0, 40, 10] == 1
    assert mask[0, 0, 40, 40] == 0
    assert box_mask(torch.tensor([[[1.2, 0.0, 1.6, 0.5]]]), 64).sum() == 0  # outside of the picture


def test_only_what_left_the_first_frame_moves():
    first = torch.zeros(1, 3, 256, 256)
    real = first.expand(2, -1, -1, -1).clone()
    real[1, :, 100:140, 100:140] = 0.5
    real[1, :, 10, 10] = 0.2  # one pixel of noise: 0.2 / 25 is below the threshold
    mask = moving_mask(real, first)
    assert mask[0].sum() == 0
    assert mask[1, 0, 120, 120] == 1
    assert mask[1, 0, 10, 10] == 0
    # one of five columns is enough (0.1), so 2 pixels around the square pass, and 4 more are added; at its corners one
    # of 25 pixels is not enough (0.02): 3 of the 4 pixels there are missing, but for what their neighbours add
    assert mask[1].sum() == (40 + 2 * 6) ** 2 - 4 * 3


@dataclass
class LabelledClip:
    id: str
    frames: int
    fps: float
    labels: Path | None


def write_labels(path, boxes=True):
    frames = np.array([0, 10, 20], np.int32)
    tensors = {
        "frames": frames,
        "joints": np.zeros((3, 25, 2), np.float32),
        "parts": np.zeros((3, 4, 4), np.uint8),
        "source_frames": np.zeros((3, 2), np.int32),
        "flow": np.zeros((3, 2, 4, 4, 2), np.float16),
        "visible": np.zeros((3, 2, 4, 4), np.uint8),
    }
    if boxes:
        tensors["boxes"] = np.linspace(0, 1, 3, dtype=np.float32)[:, None, None] * np.ones((3, 3, 4), np.float32)
    save_file(tensors, path)
    return path


def test_boxes_between_labelled_frames_are_interpolated_at_any_rate(tmp_path):
    clip = LabelledClip("a", 25, 25.0, write_labels(tmp_path / "labels.safetensors"))
    boxes = labelled_boxes(clip, 25, 25.0)
    assert boxes.shape == (25, 3, 4)
    assert boxes[:, 0, 0][[0, 5, 10, 20, 24]].tolist() == pytest.approx([0.0, 0.25, 0.5, 1.0, 1.0])
    assert labelled_boxes(clip, 50, 50.0)[20, 2, 3] == pytest.approx(0.5)


def test_clips_without_boxes_have_none(tmp_path):
    assert labelled_boxes(LabelledClip("a", 25, 25.0, None), 25, 25.0) is None
    labels = write_labels(tmp_path / "labels.safetensors", boxes=False)
    assert labelled_boxes(LabelledClip("a", 25, 25.0, labels), 25, 25.0) is None
