import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from gesturegen_speakers.arrays import Array
from gesturegen_speakers.gestures import plan, plan_workspace, rest_keys, sample_style
from gesturegen_speakers.performance import perform
from gesturegen_speakers.rotations import about_axis, from_vector, swing
from gesturegen_speakers.speech_features import analyse
from gesturegen_speakers.tracks import Track, minimum_jerk

TIMES = np.arange(200) / 25


def test_phrases_and_accents_are_where_the_speech_is(talk: Array) -> None:
    features = analyse(talk)
    assert len(features.phrases) == 2
    np.testing.assert_allclose(features.phrases, [(1, 3.5), (4.5, 7)], atol=0.2)
    assert len(features.accents) >= 4
    assert all(1 <= time <= 3.5 or 4.5 <= time <= 7 for time, _ in features.accents)
    assert min(np.diff([time for time, _ in features.accents])) > 0.38


@pytest.mark.parametrize("seed", range(8))
def test_strokes_end_on_accents(talk: Array, seed: int) -> None:
    rng = np.random.default_rng(seed)
    features = analyse(talk)
    _, strokes = plan(features, rng, sample_style(rng))
    assert strokes
    for stroke in strokes:
        early = [time - stroke.apex for time, _ in features.accents]
        assert any(-1e-9 <= e <= 0.05 for e in early)


@pytest.mark.parametrize("planner", [plan, plan_workspace])
def test_hands_rest_before_the_first_and_after_the_last_phrase(planner, talk: Array) -> None:
    rng = np.random.default_rng(3)
    tracks, _ = planner(analyse(talk), rng, sample_style(rng))
    for track in tracks.values():
        row = track.sample(TIMES)
        np.testing.assert_allclose(row[:5], np.tile(track.start, (5, 1)), atol=1e-9)
        np.testing.assert_allclose(row[-1], track.start, atol=0.02)


def test_silence_keeps_the_hands_at_rest(rng: np.random.Generator) -> None:
    done = perform(np.zeros(16000 * 4, np.float32), rng)
    assert done.strokes == ()
    for row in done.motion.hands.values():
        assert np.ptp(row[:, :3], axis=0).max() < 0.05
    assert done.motion.face["JawDrop"].max() == 0


@pytest.mark.parametrize("workspace", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_no_movement_is_cut(talk: Array, seed: int, workspace: bool) -> None:
    motion = perform(talk, np.random.default_rng(seed), workspace).motion
    for row in motion.hands.values():
        assert row.shape == (200, 13)
        assert np.linalg.norm(np.diff(row[:, :3], axis=0), axis=1).max() < 0.16  # arm lengths: 2 m/s and a bit
        assert np.abs(np.diff(row[:, 3])).max() < 35  # degrees of forearm roll
        assert row[:, 5:].min() >= 0
    for part in (motion.torso, motion.neck):
        assert np.degrees(np.abs(np.diff(part, axis=0))).max() < 6


def test_workspace_clips_move_more_than_ordinary_ones(talk: Array) -> None:
    def spread(workspace: bool) -> float:
        rows = [perform(talk, np.random.default_rng(s), workspace).motion.hands["R"][:, :3] for s in range(6)]
        return float(np.concatenate(rows).std(0).sum())

    assert spread(True) > spread(False)


def test_same_generator_state_gives_the_same_motion(talk: Array) -> None:
    first, second = (perform(talk, np.random.default_rng(4)).motion for _ in range(2))
    assert np.array_equal(first.hands["L"], second.hands["L"])
    assert np.array_equal(first.neck, second.neck)


def test_tracks_reach_their_targets_with_zero_end_speed() -> None:
    track = Track(np.zeros(2))
    track.to(1.0, 2.0, np.array([1.0, -1.0]))
    track.to(1.8, 3.0, np.array([0.5, 0.0]))
    values = track.sample(np.array([0.0, 1.0, 3.0, 9.0]))
    np.testing.assert_allclose(values, [[0, 0], [0, 0], [0.5, 0], [0.5, 0]], atol=1e-12)
    step = 1e-4
    assert abs(minimum_jerk(np.array([step]))[0] / step) < 1e-6
    assert minimum_jerk(np.array([0.5]))[0] == pytest.approx(0.5)


@pytest.mark.parametrize("kind", ["folded", "ready", "low"])
def test_rest_keys_name_one_hand_shape(kind: str, rng: np.random.Generator) -> None:
    for key in rest_keys(kind, rng).values():
        assert key.shape == (13,)
        assert key[5:].sum() == 1


def test_rotations_agree_with_scipy(rng: np.random.Generator) -> None:
    vectors = rng.normal(size=(6, 3))
    np.testing.assert_allclose(from_vector(vectors), Rotation.from_rotvec(vectors).as_matrix(), atol=1e-12)
    np.testing.assert_allclose(from_vector(np.zeros(3)), np.eye(3))
    axis = np.array([0.0, 0.0, 1.0])
    np.testing.assert_allclose(about_axis(axis, np.pi / 2) @ [1, 0, 0], [0, 1, 0], atol=1e-12)


def test_swing_takes_one_direction_to_the_other(rng: np.random.Generator) -> None:
    a, b = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in rng.normal(size=(2, 5, 3)))
    np.testing.assert_allclose(np.einsum("tij,tj->ti", swing(a, b), a), b, atol=1e-12)
