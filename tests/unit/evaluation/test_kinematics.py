"""Motion whose speed, jerk and range are known in closed form, and recordings whose pauses were put in."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from gesturegen_cli.errors import InputError
from gesturegen_cli.evaluation.kinematics import (
    mean_jerk,
    mean_speed,
    pose_speed,
    range_of_motion,
    seam_score,
    silence_ratio,
    speech_activity,
)
from gesturegen_cli.types import SAMPLE_RATE, AudioClip

FPS = 25.0
WRISTS = ("neck", "left_wrist", "right_wrist")


def uniform(frames: int, step: float = 0.02) -> torch.Tensor:
    """Three joints that go `step` per frame, each in its own direction."""
    time = torch.arange(frames).double()[:, None, None]
    return time * step * torch.tensor([[1.0, 0.0], [0.0, -1.0], [0.6, 0.8]], dtype=torch.float64)


def talk(*parts: tuple[float, float], noise: float = 0.0) -> AudioClip:
    """Parts of (seconds, amplitude) of a voice-like tone, over noise."""
    rng = np.random.default_rng(0)
    level = np.concatenate([np.full(round(seconds * SAMPLE_RATE), amplitude) for seconds, amplitude in parts])
    time = np.arange(len(level)) / SAMPLE_RATE
    voice = sum(np.sin(2 * np.pi * 120 * k * time) / k for k in range(1, 9))
    samples = 0.5 * level * voice + noise * rng.standard_normal(len(level))
    return AudioClip(np.clip(samples, -1, 1).astype(np.float32))


def spans(active: NDArray[np.bool_]) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], active, [False]])))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]


def test_uniform_motion_has_its_speed_and_no_jerk():
    assert mean_speed(uniform(50), FPS) == pytest.approx(0.5, rel=1e-9)
    assert mean_jerk(uniform(50), FPS) == pytest.approx(0.0, abs=1e-6)


def test_a_sinusoid_has_the_speed_and_jerk_of_its_derivatives():
    # 2 s period over whole periods at a high rate: mean |cos| is 2 / pi
    fps, rate = 200.0, math.pi
    time = torch.arange(8 * 200 + 1).double() / fps
    poses = torch.stack([0.5 * torch.sin(rate * time), torch.zeros_like(time)], dim=-1)[:, None]
    assert mean_speed(poses, fps) == pytest.approx(0.5 * rate * 2 / math.pi, rel=1e-3)
    assert mean_jerk(poses, fps) == pytest.approx(0.5 * rate**3 * 2 / math.pi, rel=1e-3)


def test_a_cubic_has_constant_jerk():
    time = torch.arange(40).double() / FPS
    poses = torch.stack([0.3 * time**3, 0.4 * time**3], dim=-1)[:, None]
    assert mean_jerk(poses, FPS) == pytest.approx(6 * 0.5, rel=1e-6)


def test_speed_in_seconds_does_not_depend_on_the_frame_rate():
    slow, fast = uniform(26), uniform(51, step=0.01)
    assert mean_speed(slow, 25) == pytest.approx(mean_speed(fast, 50), rel=1e-9)


def test_too_few_frames_have_no_speed_or_jerk():
    assert mean_speed(uniform(1), FPS) is None
    assert mean_jerk(uniform(3), FPS) is None
    assert mean_jerk(uniform(4), FPS) is not None


def test_the_range_of_an_even_sweep_is_nine_tenths_of_it():
    poses = torch.zeros(1001, 3, 2)
    poses[:, 1] = torch.linspace(0, 1, 1001)[:, None] * torch.tensor([3.0, 4.0])
    # left wrist: 0.9 x 5, right wrist: 0
    assert range_of_motion(poses, WRISTS) == pytest.approx(0.45 * 5, rel=1e-5)
    assert range_of_motion(torch.ones(10, 3, 2), WRISTS) == 0.0
    assert range_of_motion(torch.zeros(0, 3, 2), WRISTS) is None


def test_the_range_of_a_circle():
    angle = torch.linspace(0, 2 * math.pi, 4001)[:-1]
    circle = torch.stack([angle.cos(), angle.sin()], dim=-1)[:, None].repeat(1, 3, 1)
    # the 95 % quantile of cos is cos(pi / 20)
    assert range_of_motion(circle, WRISTS) == pytest.approx(2 * math.sqrt(2) * math.cos(math.pi / 20), rel=1e-3)


def test_poses_without_wrists_are_refused():
    with pytest.raises(InputError, match="without wrists"):
        range_of_motion(torch.zeros(5, 2, 2), ("neck", "left_wrist"))


@pytest.mark.parametrize("noise", [0.0, 1e-4, 0.01, 0.03])
def test_pauses_are_found_over_any_noise(noise: float):
    active = speech_activity(talk((1.0, 0), (2.0, 0.4), (1.2, 0), (1.8, 0.4), (1.0, 0), noise=noise), FPS, 175)
    found = spans(active)
    assert len(found) == 2
    assert np.abs(np.array(found) - [(25, 75), (105, 150)]).max() <= 1


def test_short_pauses_are_speech_and_long_ones_are_not():
    assert spans(speech_activity(talk((1.0, 0.4), (0.25, 0), (1.0, 0.4)), FPS, 56)) == [(0, 56)]
    assert len(spans(speech_activity(talk((1.0, 0.4), (0.4, 0), (1.0, 0.4)), FPS, 60))) == 2


def test_one_word_in_a_long_silence_is_found():
    found = spans(speech_activity(talk((10.0, 0), (0.4, 0.4), (10.0, 0)), FPS, 510))
    assert len(found) == 1
    assert np.abs(np.array(found[0]) - (250, 260)).max() <= 1


def test_silent_recordings_are_pauses_and_steady_ones_speech():
    assert not speech_activity(talk((3.0, 0)), FPS, 75).any()
    assert not speech_activity(AudioClip(np.zeros(0, np.float32)), FPS, 75).any()
    assert speech_activity(talk((3.0, 0.2)), FPS, 75).all()
    assert speech_activity(talk((3.0, 0), noise=0.1), FPS, 75).all()


def test_the_time_after_a_recording_is_a_pause():
    assert spans(speech_activity(talk((2.0, 0.4)), FPS, 100)) == [(0, 50)]


@given(st.integers(0, 20_000), st.integers(0, 200), st.sampled_from([12.5, 25.0, 29.97, 60.0]))
def test_activity_has_one_value_a_frame_whatever_the_lengths(samples: int, frames: int, fps: float):
    wave = np.random.default_rng(samples).uniform(-1, 1, samples).astype(np.float32)
    assert speech_activity(AudioClip(wave), fps, frames).shape == (frames,)


def test_the_silence_ratio_compares_speeds():
    # 0.04 per frame while speaking, 0.01 in the pauses
    speech = np.arange(100) < 50
    steps = torch.where(torch.from_numpy(speech), 0.04, 0.01).double()
    poses = torch.stack([torch.cumsum(steps, 0) - steps, torch.zeros(100).double()], dim=-1)[:, None]
    value, reason = silence_ratio(poses, speech, FPS)
    assert value == pytest.approx(0.25, rel=1e-9)
    assert reason == ""
    assert silence_ratio(uniform(100), speech, FPS)[0] == pytest.approx(1.0)


def test_the_silence_ratio_needs_half_a_second_of_each_and_motion():
    value, reason = silence_ratio(uniform(100), np.arange(100) < 95, FPS)
    assert value is None
    assert reason == "0.16 s of pauses, at least 0.5 s are needed"
    assert "of speech" in silence_ratio(uniform(100), np.zeros(100, dtype=bool), FPS)[1]
    assert "nothing moves" in silence_ratio(torch.zeros(100, 3, 2), np.arange(100) < 50, FPS)[1]


def test_seams_are_measured_against_the_usual_step():
    poses = uniform(60)
    assert seam_score(poses, [20, 40])[0] == pytest.approx(1.0)
    poses[20:] += 0.06 * torch.tensor(
        [[1.0, 0.0], [0.0, -1.0], [0.6, 0.8]], dtype=torch.float64
    )  # a step of 0.08 instead of 0.02
    assert float(pose_speed(poses)[19]) == pytest.approx(0.08)
    assert seam_score(poses, [20])[0] == pytest.approx(4.0)
    assert seam_score(poses, [20, 40]) == (pytest.approx(2.5), "")


def test_no_boundaries_or_no_motion_have_no_seam_score_and_say_why():
    assert seam_score(uniform(60), []) == (None, "no record beside the videos says where windows begin")
    outside = (None, "no window but the first begins inside the measured frames")
    assert seam_score(uniform(60), [0, 60, -3]) == outside
    assert seam_score(uniform(1), [1]) == outside
    still = (None, "nothing moves in most frames, so that there is no usual step")
    assert seam_score(torch.zeros(60, 3, 2), [20]) == still
