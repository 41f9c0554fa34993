"""Beats that were put in are found, and scored as the formula says."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from gesturegen_cli.errors import InputError
from gesturegen_cli.evaluation.beat import (
    angle_beats,
    angle_changes,
    angle_scale,
    audio_beats,
    bas_chance,
    beat_alignment,
    beat_consistency,
    onset_scores,
    onset_strength,
    pose_beats,
)
from gesturegen_cli.types import SAMPLE_RATE, AudioClip


def clicks(seconds: float, times: list[float]) -> AudioClip:
    """Bursts of a tone that begin at `times`, 0.1 s each, over faint noise."""
    samples = 1e-3 * np.random.default_rng(0).standard_normal(round(seconds * SAMPLE_RATE))
    burst = np.sin(2 * np.pi * 440 * np.arange(SAMPLE_RATE // 10) / SAMPLE_RATE) * np.linspace(1, 0, SAMPLE_RATE // 10)
    for time in times:
        start = round(time * SAMPLE_RATE)
        samples[start : start + len(burst)] += 0.5 * burst
    return AudioClip(samples.astype(np.float32))


def test_onsets_are_found_where_sounds_begin():
    times = [0.5, 1.2, 2.0, 2.64]
    found = audio_beats(clicks(4.0, times), fps=25) / 25
    assert len(found) == len(times)
    assert np.abs(found - times).max() < 0.03


def test_silence_has_no_onsets():
    assert len(audio_beats(AudioClip(np.zeros(SAMPLE_RATE, np.float32)), fps=25)) == 0
    assert len(audio_beats(AudioClip(np.zeros(1, np.float32)), fps=25)) == 0


def test_onset_strength_has_no_seam_between_its_blocks():
    wave = torch.from_numpy(clicks(62.0, [59.98, 61.0]).samples)
    whole = onset_strength(wave)
    # the same sound, shifted so that the block boundary lies elsewhere; equal peaks keep the level the same
    shifted = onset_strength(wave[SAMPLE_RATE:])
    assert len(whole) == 6200
    assert torch.allclose(whole[5950:6150], shifted[5850:6050], atol=1e-3)


def test_motion_beats_are_where_motion_rests():
    frames = torch.arange(200.0)
    # moves there and back, resting at multiples of 25 frames
    motion = torch.cos(math.pi * frames / 25)[:, None, None].repeat(1, 3, 2)
    beats = pose_beats(motion)
    assert np.abs(beats - np.arange(25, 200 - 24, 25)).max() <= 1.0


def test_a_still_or_tiny_motion_has_no_beats():
    assert len(pose_beats(torch.zeros(100, 4, 2))) == 0
    assert len(pose_beats(torch.randn(3, 4, 2))) == 0


def test_aligned_beats_score_one_and_shifted_ones_as_the_formula_says():
    beats = np.array([10.0, 40.0, 70.0])
    assert beat_alignment(beats, beats) == 1.0
    assert beat_alignment(beats, beats + 3.0) == pytest.approx(math.exp(-0.5))
    assert beat_alignment(np.array([10.0, 20.0]), np.array([10.0, 23.0])) == pytest.approx((1 + math.exp(-0.5)) / 2)


def test_each_onset_has_its_score_and_their_mean_is_bas():
    onsets, rests = np.array([10.0, 50.0]), np.array([13.0, 50.0])
    np.testing.assert_allclose(onset_scores(onsets, rests), [np.exp(-0.5), 1.0])
    np.testing.assert_array_equal(onset_scores(np.array([1.0]), np.zeros(0)), [0.0])
    assert beat_alignment(onsets, rests) == pytest.approx((np.exp(-0.5) + 1) / 2)
    assert onset_scores(onsets, rests, sigma=1.5)[0] == pytest.approx(np.exp(-2))


def test_no_audio_beats_have_no_score_and_no_motion_beats_score_zero():
    assert beat_alignment(np.zeros(0), np.array([3.0])) is None
    assert beat_alignment(np.array([3.0]), np.zeros(0)) == 0.0


FPS = 25
EVERY = 20
"""Frames between the rests of the constructed motion."""


def resting_poses(frames: int, first: float) -> torch.Tensor:
    """Joints that go round and round, each at its own pace, and rest at `first` and every EVERY frames from it."""
    time = torch.arange(frames).double() - first
    path = time - EVERY / (2 * math.pi) * torch.sin(2 * math.pi * time / EVERY)
    pace = torch.tensor([0.01, 0.02, 0.03])
    angle = path[:, None] * pace
    return torch.stack([angle.cos(), angle.sin()], dim=-1).float()


def speech_at(first: float, frames: int) -> AudioClip:
    return clicks(frames / FPS, list(np.arange(first, frames - 25, EVERY) / FPS))


@pytest.mark.parametrize("first", [13.0, 14.37, 15.5, 16.81])
@pytest.mark.parametrize(("shift", "expected"), [(0, 1.0), (3, math.exp(-0.5)), (-3, math.exp(-0.5))])
def test_from_samples_and_poses_to_a_score_there_is_no_offset(first: float, shift: float, expected: float):
    onsets = audio_beats(speech_at(first, 500), FPS)
    rests = pose_beats(resting_poses(500, first + shift))
    assert len(onsets) == len(np.arange(first, 475, EVERY))
    assert beat_alignment(onsets, rests) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("kind", ["tone", "noise", "click"])
def test_onsets_are_neither_early_nor_late(kind: str):
    rng = np.random.default_rng(3)
    samples, times = 1e-3 * rng.standard_normal(40 * SAMPLE_RATE), 0.5 + np.cumsum(rng.uniform(0.4, 0.9, 50))
    steps = np.arange(SAMPLE_RATE // 10)
    sound = {
        "tone": np.sin(2 * np.pi * 440 * steps / SAMPLE_RATE),
        "noise": rng.standard_normal(len(steps)) / 2,
        "click": steps == 0,
    }[kind]
    for time in times:
        start = round(time * SAMPLE_RATE)
        samples[start : start + len(steps)] += 0.5 * sound * np.linspace(1, 0, len(steps))
    found = audio_beats(AudioClip(samples.astype(np.float32)), FPS) / FPS
    late = np.array([(found - time)[np.abs(found - time).argmin()] for time in times])
    assert np.abs(late).max() < 0.003
    assert abs(late.mean()) < 0.001


@pytest.mark.parametrize("noise", [0.01, 0.05])
def test_the_flicker_of_noise_is_no_onset(noise: float):
    # sounds of 0.1 s over noise that is 23 dB and 9 dB below them
    times = np.arange(0.5, 20, 0.7)
    clean = clicks(21.0, list(times)).samples
    noisy = clean + noise * np.random.default_rng(5).standard_normal(len(clean)).astype(np.float32)
    found = audio_beats(AudioClip(noisy), FPS) / FPS
    hits = [np.abs(found - time).min() < 0.01 for time in times]
    assert all(hits)
    assert len(found) <= 1.15 * len(times)


def test_random_rests_score_what_chance_gives():
    onsets = audio_beats(speech_at(13.0, 500), FPS)
    rng = np.random.default_rng(4)
    rests = [np.sort(rng.uniform(0, 500, 25)) for _ in range(40)]
    scores = np.array([beat_alignment(onsets, times) for times in rests])
    chances = np.array([bas_chance(onsets, times, 500) for times in rests])
    apart = scores - chances
    assert abs(apart.mean()) < 2 * apart.std() / math.sqrt(len(apart))
    assert chances.mean() == pytest.approx(scores.mean(), abs=0.03)
    aligned = pose_beats(resting_poses(500, 13.0))
    assert bas_chance(onsets, aligned, 500) < 0.5 < 0.99 < beat_alignment(onsets, aligned)


def test_chance_is_the_mean_over_all_shifts_but_none():
    # one onset at 0, one rest at 0: shifts 1 to 9 give the distances 1 to 9
    expected = np.mean([math.exp(-(d**2) / 18) for d in range(1, 10)])
    assert bas_chance(np.array([0.0]), np.array([0.0]), 10) == pytest.approx(expected)
    assert bas_chance(np.zeros(0), np.array([0.0]), 10) is None
    assert bas_chance(np.array([0.0]), np.zeros(0), 10) == 0.0


def test_rests_lie_between_frames_where_they_do():
    found = pose_beats(resting_poses(200, 10.3))
    inner = found[(found > 25) & (found < 175)]
    assert np.abs(inner - np.arange(30.3, 175, EVERY)).max() < 0.05


def test_poses_that_stand_still_or_move_evenly_have_no_rests():
    steady = 100 + 0.01 * torch.arange(100.0)[:, None, None].repeat(1, 3, 2)
    assert len(pose_beats(torch.ones(100, 3, 2))) == 0
    assert len(pose_beats(steady.double())) == 0
    assert len(pose_beats(torch.randn(2, 3, 2))) == 0


ARMS = (
    "neck",
    *(f"{s}_{j}" for s in ("left", "right") for j in ("shoulder", "elbow", "wrist", "index_tip", "little_tip")),
)


def arm_poses(elbow: torch.Tensor) -> torch.Tensor:
    """Arms stretched out sideways, bent at the elbow by `elbow` `t` radians and straight everywhere else."""
    poses = torch.zeros(len(elbow), len(ARMS), 2)
    for side, sign in (("left", 1.0), ("right", -1.0)):
        fore = torch.stack([sign * elbow.cos(), elbow.sin()], dim=-1)
        across = torch.stack([-fore[:, 1], fore[:, 0]], dim=-1)
        start = ARMS.index(f"{side}_shoulder")
        poses[:, start, 0], poses[:, start + 1, 0] = 0.5 * sign, 1.5 * sign
        poses[:, start + 2] = poses[:, start + 1] + fore
        for place, offset in ((start + 3, 0.1), (start + 4, -0.1)):
            poses[:, place] = poses[:, start + 1] + 1.3 * fore + offset * across
    return poses


def test_the_angles_are_those_of_the_elbows_and_change_as_they_bend():
    elbow = torch.tensor([0.0, 0.3, 0.4, -0.2])
    changes = angle_changes(arm_poses(elbow), ARMS)
    # between lines, so a bend of -0.2 is one of 0.2
    expected = torch.tensor([0.3, 0.1, 0.2]).double()
    assert changes.shape == (3, 6)
    for column in (1, 4):
        assert torch.allclose(changes[:, column], expected, atol=1e-6)
    assert changes[:, [0, 2, 3, 5]].abs().max() < 1e-6


def test_angles_do_not_depend_on_size_place_or_turn():
    poses = arm_poses(torch.linspace(0.2, 1.2, 20))
    turn = torch.tensor([[math.cos(0.7), -math.sin(0.7)], [math.sin(0.7), math.cos(0.7)]])
    assert torch.allclose(angle_changes(3 * poses @ turn + 5, ARMS), angle_changes(poses, ARMS), atol=1e-5)


def test_poses_without_an_arm_are_refused():
    with pytest.raises(InputError, match="left_elbow"):
        angle_changes(torch.zeros(4, 2, 2), ("neck", "left_shoulder"))
    with pytest.raises(InputError, match="2 frames"):
        angle_scale([torch.zeros(0, 6)])


def test_pauses_of_the_angles_are_minima_deep_enough():
    changes = torch.tensor([1.0, 0.99, 1.0, 1.0, 0.5, 1.0, 0.98, 1.02])[:, None].repeat(1, 6).double()
    scale = torch.ones(6).double()
    # 0.99 is not deep enough, 0.98 lies 0.04 below the frame after it
    assert angle_beats(changes, scale) == pytest.approx([4.5, 6.5 - 1 / 6])
    # against a reference that moves twice as much, that is not deep enough either
    assert angle_beats(changes, 2 * scale).tolist() == [4.5]
    assert len(angle_beats(changes, 0 * scale)) == 0


def test_beat_consistency_from_samples_and_poses():
    first, frames = 13.0, 500
    onsets = audio_beats(speech_at(first, frames), FPS)
    time = torch.arange(frames).double() - first
    # one slow fold from about 0.3 to 2.8 that stops every EVERY frames
    bend = 0.3 + 0.005 * (time - EVERY / (2 * math.pi) * torch.sin(2 * math.pi * time / EVERY))
    changes = angle_changes(arm_poses(bend.float()), ARMS)
    beats = angle_beats(changes, angle_scale([changes]))
    assert len(beats) >= len(onsets)
    assert beat_consistency(onsets, beats, FPS) == pytest.approx(1.0, abs=0.01)
    assert beat_consistency(np.array([0.0]), np.array([2.5]), FPS) == pytest.approx(math.exp(-0.5))
    assert beat_consistency(np.zeros(0), beats, FPS) is None
    assert beat_consistency(onsets, np.zeros(0), FPS) == 0.0
