"""Squares around the speaker."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest

from gesturegen_cli.media.framing import CropBox, crop_and_resize, frame_speaker, motion_center, refine_crop


def noise(width: int, height: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)


def test_square_picture_is_taken_whole():
    assert frame_speaker(noise(100, 100)) == CropBox(0, 0, 100)


def test_tall_picture_keeps_its_top():
    assert frame_speaker(noise(90, 160)) == CropBox(0, 0, 90)


def test_tall_picture_follows_a_low_subject_and_stays_inside():
    assert frame_speaker(noise(90, 160), subject=(45, 80)) == CropBox(0, 35, 90)
    assert frame_speaker(noise(90, 160), subject=(45, 159)) == CropBox(0, 70, 90)
    assert frame_speaker(noise(90, 160), subject=(45, 5)) == CropBox(0, 0, 90)


def test_wide_picture_takes_the_middle_when_nothing_is_known():
    assert frame_speaker(noise(160, 90)) == CropBox(35, 0, 90)


@pytest.mark.parametrize(("x", "left"), [(0, 0), (100, 55), (159, 70)])
def test_wide_picture_is_centred_on_the_subject(x, left):
    assert frame_speaker(noise(160, 90), subject=(x, 45)) == CropBox(left, 0, 90)


@pytest.mark.parametrize("at", [300, 640, 1000])
def test_wide_picture_finds_the_person_before_a_plain_background(at):
    pixels = np.full((720, 1280, 3), 240, np.uint8)
    pixels[150:, at - 150 : at + 150] = (80, 40, 40)
    box = frame_speaker(pixels)
    assert abs(box.left + box.side / 2 - np.clip(at, 360, 920)) < 12
    assert box.inside(1280, 720)


def test_joints_give_a_square_around_them():
    points = np.array([[500.0, 100.0], [450.0, 300.0], [550.0, 300.0], [np.nan, 0.0]])
    box = refine_crop(points, 1000, 700)
    assert box.side == round(200 * 1.7) or box.side == -(-700 // 3)
    assert abs(box.left + box.side / 2 - 500) <= 1
    assert box.inside(1000, 700)


def test_joints_at_the_edge_stay_inside_and_none_gives_the_middle():
    assert refine_crop(np.array([[0.0, 0.0], [990.0, 690.0]]), 1000, 700).inside(1000, 700)
    assert refine_crop(np.full((3, 2), np.nan), 1000, 700) == CropBox(150, 0, 700)
    assert refine_crop(np.zeros((0, 2)), 700, 1000) == CropBox(0, 0, 700)


def moving_square(width: int, height: int, x: int, y: int) -> list[np.ndarray]:
    frames = []
    for step in range(5):
        frame = np.full((height, width, 3), 120, np.uint8)
        frame[y - 20 : y + 20, x - 30 + 5 * step : x + 10 + 5 * step] = (250, 200, 20)
        frames.append(frame)
    return frames


@pytest.mark.parametrize(("x", "y"), [(60, 50), (400, 120), (580, 300)])
def test_motion_center_is_where_a_square_moves(x, y):
    found = motion_center(moving_square(640, 360, x, y))
    assert found is not None
    assert abs(found[0] - x) < 15
    assert abs(found[1] - y) < 10


def test_motion_center_ignores_noise_and_stillness():
    rng = np.random.default_rng(0)
    still = [np.full((90, 160, 3), 100, np.uint8) + rng.integers(0, 6, (90, 160, 3), dtype=np.uint8) for _ in range(4)]
    assert motion_center(still) is None
    assert motion_center(still[:1]) is None


def test_motion_center_is_not_pulled_by_a_flicker():
    frames = moving_square(640, 360, 150, 200)
    for step, frame in enumerate(frames):
        frame[0:8, 632:640] = 255 * (step % 2)
    assert abs(motion_center(frames)[0] - 150) < 30


def test_crop_without_scaling_copies_exactly():
    pixels = noise(50, 40)
    part = crop_and_resize(pixels, CropBox(7, 3, 20), 20)
    assert (part == pixels[3:23, 7:27]).all()
    part[:] = 0
    assert pixels[3:23, 7:27].any()


def test_crop_over_the_edge_repeats_it():
    pixels = noise(30, 20)
    part = crop_and_resize(pixels, CropBox(-5, -5, 40), 40)
    assert (part[:5, :5] == pixels[0, 0]).all()
    assert (part[5:25, 5:35] == pixels).all()
    assert (part[30:, 37:] == pixels[-1, -1]).all()


def test_scaling_keeps_the_content():
    x = np.linspace(0, 255, 200)
    pixels = np.repeat(np.tile(x, (200, 1))[:, :, None], 3, axis=2).astype(np.uint8)
    small = crop_and_resize(pixels, CropBox(0, 0, 200), (50, 100))
    assert small.shape == (100, 50, 3)
    assert np.abs(small[50, :, 0].astype(float) - x.reshape(50, 4).mean(axis=1)).max() < 3


def test_a_box_is_recorded_as_plain_data():
    assert asdict(CropBox(1, 2, 3)) == {"left": 1, "top": 2, "side": 3}
