"""Which square of a video is looked at."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gesturegen_cli.evaluation.items import Item
from gesturegen_cli.evaluation.view import View, choose_crop, iter_batches
from gesturegen_cli.media.framing import CropBox
from gesturegen_cli.media.video import write_video


@pytest.fixture
def block(tmp_path):
    """(name, left, width=128) -> a video with a dark block of 32 x 64 pixels before a plain wall, 64 pixels tall."""

    def make(name, left, width=128):
        frame = np.full((64, width, 3), 200, np.uint8)
        frame[:, left : left + 32] = 40
        write_video(tmp_path / name, [frame] * 3, fps=25, size=(width, 64), frame_count=3)
        return Item(name, tmp_path / name)

    return make


def left(item, partner=None, crop="speaker"):
    found = choose_crop(item, View(25, 64, torch.device("cpu"), crop), partner)
    assert found is None or found == CropBox(found.left, 0, 64)
    return None if found is None else found.left


def test_a_video_shows_the_square_of_its_reference_where_both_have_one_size(block):
    real, made, larger, square = block("r.mp4", 80), block("m.mp4", 20), block("l.mp4", 20, 160), block("s.mp4", 0, 64)
    assert left(real) == 64
    assert left(made) == pytest.approx(4, abs=2)
    assert left(made, real) == 64
    assert left(larger, real) == left(larger) == pytest.approx(4, abs=2)
    assert left(square, real) is None
    assert left(made, real, "middle") == left(made, crop="middle") == 32


def test_batches_are_cut_by_the_reference(block):
    real, made = block("r.mp4", 80), block("m.mp4", 20)
    view = View(25, 64, torch.device("cpu"))
    (own,), (shared,) = (list(iter_batches(made, view, partner)) for partner in (None, real))
    assert own.shape == shared.shape == (3, 3, 64, 64)
    assert own.min() < 0.3
    assert shared.min() > 0.6  # the right half shows the wall only
