"""Still backgrounds do not flicker, colours and faces do not drift; and where they do, it shows in the right unit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gesturegen_cli.evaluation.stability import StabilityTrack, background_change, cut_faces, slope
from gesturegen_cli.models.speaker_anatomy import JOINTS


def track(frames, batch=16):
    joints = torch.zeros(len(frames), len(JOINTS), 2)
    for name, x, y in (("head_top", 0, -0.8), ("chin", 0, -0.4), ("waist", 0, 0.9), ("neck", 0, -0.3)):
        joints[:, JOINTS.index(name)] = torch.tensor([float(x), y])
    for side, sign in (("left", 1), ("right", -1)):
        joints[:, JOINTS.index(f"{side}_shoulder"), 0] = sign * 0.2
    found = StabilityTrack(JOINTS)
    for start in range(0, len(frames), batch):
        found.add(frames[start : start + batch], joints[start : start + batch])
    return found


def room(frames):
    picture = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    return picture.expand(frames, -1, -1, -1).clone()


def test_a_still_room_does_not_flicker_and_a_moving_person_does_not_count():
    frames = room(20)
    assert np.nanmax(track(frames).flicker()) == 0.0
    frames[:, :, 24:60, 28:36] = torch.rand(20, 3, 36, 8)  # where the person is
    assert np.nanmax(track(frames).flicker()) == 0.0


def test_flicker_is_in_grey_levels_and_does_not_depend_on_the_batches():
    frames = room(20) * 0.9
    frames[1::2] += 2 / 255
    values = track(frames).flicker()
    assert values.shape == (19,)
    assert values == pytest.approx(2.0, abs=1e-3)
    assert track(frames, batch=7).flicker() == pytest.approx(values, abs=1e-4)


def test_where_no_background_is_seen_flicker_is_not_measured():
    background = torch.zeros(3, 8, 8, dtype=torch.bool)
    assert torch.isnan(background_change(torch.rand(3, 3, 16, 16), background)).all()


def test_a_drift_of_colour_has_its_size_per_minute():
    frames = room(150) * 0.5
    rising = frames + (torch.arange(150) / 25 / 60 * 30 / 255)[:, None, None, None]
    assert track(frames).colour_drift(25) == pytest.approx(0.0, abs=1e-3)
    assert track(rising).colour_drift(25) == pytest.approx(30.0, rel=1e-3)
    assert track(frames[:100]).colour_drift(25) is None  # 4 s


def test_a_face_that_turns_into_noise_drifts_and_a_brighter_one_does_not():
    frames, noise = room(250), torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(9))
    share = torch.linspace(0, 0.5, 250)[:, None, None, None]
    assert track(frames).face_drift(25) == pytest.approx(0.0, abs=1e-4)
    assert track(frames * 0.5 + share).face_drift(25) == pytest.approx(0.0, abs=1e-4)
    assert track(frames * (1 - share) + share * noise).face_drift(25) > 0.5


def test_faces_are_cut_where_the_head_is():
    frames = torch.zeros(1, 3, 64, 64)
    frames[:, :, :, :32] = 1.0
    face = cut_faces(frames, torch.tensor([[0.0, 0.0, 0.5]])).reshape(32, 32)
    assert (face[:, :15] > 0).all()
    assert (face[:, 17:] < 0).all()
    assert face.norm() == pytest.approx(1.0)


def test_slope_of_a_line():
    values = 3.0 + 2.0 * torch.arange(50, dtype=torch.float64)[:, None] / 25 / 60
    assert float(slope(values, 25)[0]) == pytest.approx(2.0)
