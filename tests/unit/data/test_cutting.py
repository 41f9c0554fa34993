"""Scene cuts, lengths and speech: drawn pictures and sounds whose answer is known."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gesturegen_cli.data.cutting import ChangeMeter, divide, find_cuts, measure_loudness, split_scenes

THRESHOLD = 0.3


def scene(seed: int) -> np.ndarray:
    """A smooth random picture, 54 x 96."""
    coarse = np.random.default_rng(seed).uniform(0, 255, (6, 8))
    return np.kron(coarse, np.ones((9, 12))).astype(np.float32)


def with_arm(picture: np.ndarray, x: int) -> np.ndarray:
    out = picture.copy()
    out[20:40, x : x + 12] = 255.0 - out[20:40, x : x + 12]
    return out


def cuts_of(pictures: list[np.ndarray]) -> list[int]:
    meter = ChangeMeter()
    for picture in pictures:
        meter.add(picture)
    return find_cuts(meter.changes(), THRESHOLD)


def test_a_hard_cut_is_found_at_its_frame() -> None:
    assert cuts_of([scene(1)] * 20 + [scene(2)] * 20 + [scene(3)] * 10) == [20, 40]


def test_a_fast_gesture_is_no_cut() -> None:
    assert cuts_of([with_arm(scene(1), 6 * (i % 12)) for i in range(40)]) == []


def test_a_cut_is_found_while_the_speaker_gestures() -> None:
    pictures = [with_arm(scene(1 if i < 25 else 2), 6 * (i % 12)) for i in range(50)]
    assert cuts_of(pictures) == [25]


def test_a_moving_camera_is_no_cut() -> None:
    wide = np.tile(scene(1), (1, 4))
    assert cuts_of([wide[:, 6 * i : 6 * i + 96] for i in range(30)]) == []


@pytest.mark.parametrize("length", [1, 2])
def test_a_flash_is_no_cut(length: int) -> None:
    flash = [np.full((54, 96), 250.0, np.float32)] * length
    assert cuts_of([scene(1)] * 20 + flash + [scene(1)] * 20) == []


def test_a_slow_fade_of_the_light_is_no_cut() -> None:
    assert cuts_of([scene(1) * (1 - i / 60) for i in range(50)]) == []


def test_a_cut_between_dark_scenes_is_found() -> None:
    assert cuts_of([scene(1) * 0.1] * 20 + [scene(2) * 0.1] * 20) == [20]


def test_one_or_no_frame_has_no_cut() -> None:
    assert cuts_of([]) == []
    assert cuts_of([scene(1)]) == []


def test_scenes_keep_a_frame_away_from_cuts() -> None:
    assert split_scenes(100, [40]) == [(0, 39), (41, 100)]
    assert split_scenes(100, []) == [(0, 100)]
    assert split_scenes(10, [1, 2]) == [(3, 10)]


@given(
    length=st.integers(1, 5000),
    first=st.integers(0, 1000),
    fps=st.integers(1, 60),
    least=st.floats(0.2, 10),
    factor=st.floats(1, 6),
)
@settings(max_examples=300, deadline=None)
def test_clips_and_rest_tile_the_scene_within_the_limits(
    length: int, first: int, fps: int, least: float, factor: float
) -> None:
    most = max(least * factor, 0.5)
    clips, rest = divide((first, first + length), fps, least, most)
    parts = sorted([*clips, *rest])
    assert parts[0][0] == first
    assert parts[-1][1] == first + length
    assert all(a[1] == b[0] for a, b in pairwise(parts))
    assert all(least - 1e-6 <= (end - start) / fps <= most + 1e-6 for start, end in clips)
    if not clips:
        assert length / fps < least or most * fps < least * fps + 1


def test_long_scenes_become_equal_clips() -> None:
    assert divide((10, 70), 10, 1, 3) == ([(10, 40), (40, 70)], [])
    assert divide((0, 31), 10, 1, 3) == ([(0, 15), (15, 31)], [])
    assert divide((0, 9), 10, 1, 3) == ([], [(0, 9)])
    assert divide((0, 31), 10, 2.9, 3) == ([(0, 30)], [(30, 31)])


def voice(seconds: float, on: float, seed: int = 0) -> np.ndarray:
    """Noise at -26 dB in the first `on` of each second, at -66 dB in the rest."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * 16000)) / 16000
    return (rng.standard_normal(len(time)) * np.where(time % 1 < on, 0.05, 0.0005)).astype(np.float32)


@pytest.mark.parametrize("on", [0.2, 0.5, 0.8])
def test_speech_share_is_the_share_of_loud_time(on: float) -> None:
    assert measure_loudness(voice(10, on)).speech_share(0, 10) == pytest.approx(on, abs=0.02)


def test_speech_share_is_of_the_stretch_asked_for() -> None:
    loudness = measure_loudness(np.concatenate([voice(4, 0.5), voice(4, 0.0)]))
    assert loudness.speech_share(0, 4) == pytest.approx(0.5, abs=0.02)
    assert loudness.speech_share(4, 4) == 0.0
    assert loudness.speech_share(2, 4) == pytest.approx(0.25, abs=0.02)


def test_steady_noise_is_no_speech_and_is_not_silent() -> None:
    loudness = measure_loudness(voice(5, 1.0))
    assert loudness.speech_share(0, 5) == 0.0
    assert not loudness.is_silent(0, 5)


def test_silence_and_time_after_the_end_are_silent() -> None:
    loudness = measure_loudness(voice(2, 0.5))
    assert loudness.is_silent(2, 3)
    assert loudness.speech_share(2, 3) == 0.0
    assert measure_loudness(np.zeros(16000, np.float32)).is_silent(0, 1)
    assert measure_loudness(np.zeros(0, np.float32)).is_silent(0, 1)
