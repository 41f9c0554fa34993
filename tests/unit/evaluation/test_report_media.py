"""Exhibits show the square of a video that was measured."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from gesturegen_cli.evaluation.report_media import compose_exhibit
from gesturegen_cli.evaluation.results import Curves, Exhibit
from gesturegen_cli.media.video import iter_frames, write_video


@pytest.fixture
def wide(tmp_path):
    """(name, left) -> a video of 128 x 64 with a dark block at `left` before a plain wall and a red square at 72."""

    def make(name, left):
        frame = np.full((64, 128, 3), 200, np.uint8)
        frame[:, left : left + 32] = 40
        frame[24:40, 72:88] = (220, 30, 30)
        write_video(tmp_path / name, [frame] * 5, fps=25, size=(128, 64), frame_count=5)
        return tmp_path / name

    return make


def curves(x):
    """Curves of 5 frames in which the left hand is at `x`, at half the height, a quarter of the square wide."""
    hands = np.full((5, 2, 3), np.nan, np.float32)
    hands[:, 0] = x, 0.0, 0.25
    empty = np.zeros(0)
    return Curves(np.ones(4, np.float32), empty, empty, np.zeros(0, np.float32), np.ones(4, np.float32), (), hands)


def middle_colour(data):
    """Mean colour in the picture of the left hand, which stands at the right."""
    return np.asarray(Image.open(io.BytesIO(data))).astype(int)[30:80, 150:200].mean(axis=(0, 1))


def test_hands_are_cut_from_the_square_that_was_measured(wide):
    exhibit = Exhibit("videos", "a", "", {"ours": wide("a.mp4", 92)}, {"ours": curves(0.5)})
    hand = compose_exhibit(exhibit, fps=25, size=64, crop="middle").hands["ours"][0]  # the square from 32 to 96
    assert middle_colour(hand)[0] > 180 > 80 > middle_colour(hand)[1]
    hand = compose_exhibit(exhibit, fps=25, size=64).hands["ours"][0]  # from 64, about the block
    assert middle_colour(hand).max() < 80


def test_columns_show_the_square_of_the_reference(wide, tmp_path):
    videos = {"reference": wide("r.mp4", 92), "ours": wide("m.mp4", 0)}
    exhibit = Exhibit("videos", "a", "", videos, {name: curves(-0.5) for name in videos})
    pictures = compose_exhibit(exhibit, fps=25, size=64)
    for name in videos:
        assert middle_colour(pictures.hands[name][0])[0] > 180, name
    (tmp_path / "x.mp4").write_bytes(pictures.video)
    frame = next(iter_frames(tmp_path / "x.mp4", fps=25)).astype(int)
    for left in (0, 70):
        red = (frame[26:, left : left + 64, 0] - frame[26:, left : left + 64, 1] > 100).any(axis=0)
        assert np.flatnonzero(red)[[0, -1]] == pytest.approx([8, 23], abs=2)


def test_a_reference_that_cannot_be_read_takes_no_column_with_it(wide, tmp_path):
    videos = {"reference": tmp_path / "none.mp4", "ours": wide("m.mp4", 92)}
    pictures = compose_exhibit(Exhibit("videos", "a", "", videos, {}), fps=25, size=64)
    assert pictures.video
    assert len(pictures.problems) == 1
