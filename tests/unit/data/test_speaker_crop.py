"""The square of a clip holds the head of a drawn speaker whose hands move most."""

from __future__ import annotations

import numpy as np

from gesturegen_cli.data.speaker_crop import fixed_square, highest_motion, place_crop
from gesturegen_cli.media.framing import CropBox


def drawn(width: int, height: int, x: int, head: int, step: int) -> np.ndarray:
    """A head that sways a little at row `head`, and a hand 30 rows below that moves a lot."""
    picture = np.full((height, width, 1), 40, np.uint8)
    sway = (step % 3) - 1
    picture[head : head + 10, x - 5 + sway : x + 5 + sway] = 200
    hand = x - 15 + 5 * (step % 6)
    picture[head + 30 : head + 38, hand : hand + 8] = 220
    return picture


def test_the_head_stays_in_the_square_of_a_tall_picture() -> None:
    pictures = [drawn(54, 96, 27, 30, step) for step in range(20)]
    frame = np.zeros((960, 540, 3), np.uint8)
    box = place_crop(pictures, frame)
    assert box.inside(540, 960)
    assert box.side == 540
    assert 300 - 0.15 * 540 <= box.top <= 300


def test_the_square_of_a_wide_picture_follows_the_speaker() -> None:
    pictures = [drawn(96, 54, 70, 5, step) for step in range(20)]
    box = place_crop(pictures, np.zeros((540, 960, 3), np.uint8))
    assert (box.top, box.side) == (0, 540)
    assert box.left <= 550
    assert box.left + 540 >= 850


def test_without_motion_the_middle_is_taken() -> None:
    pictures = [np.full((54, 96, 1), 40, np.uint8)] * 5
    noisy = np.random.default_rng(0).integers(0, 255, (540, 960, 3)).astype(np.uint8)
    assert place_crop(pictures, noisy).left == 210
    assert highest_motion(pictures, 48) is None


def test_a_fixed_square_is_as_high_as_the_picture_and_inside_it() -> None:
    assert fixed_square(0.395, 1280, 720) == CropBox(506, 0, 720)
    assert fixed_square(0.0, 1280, 720) == CropBox(0, 0, 720)
    assert fixed_square(1.0, 1280, 720) == CropBox(560, 0, 720)
    assert fixed_square(1.0, 256, 256) == CropBox(0, 0, 256)
    assert fixed_square(0.395, 256, 256) is None
    assert fixed_square(1.0, 720, 1280) is None
