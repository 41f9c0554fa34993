"""Offsets of sounds: the shift that was put in, and a bad number where the sounds are too far apart to tell."""

from __future__ import annotations

import numpy as np
import pytest

from gesturegen_cli.evaluation.hearing import is_silent, sound_offset
from gesturegen_cli.types import AudioClip


def strength(rng_seed, seconds=20):
    """Onset strength at 100 per second: some four irregular onsets a second."""
    values = np.random.default_rng(rng_seed).random(seconds * 100)
    return np.convolve(np.where(values > 0.96, values, 0), [0.3, 1.0, 0.6], mode="same").astype(np.float32)


def moved(values, steps):
    """`values` that come `steps` later."""
    padded = np.concatenate([np.zeros(max(0, steps), np.float32), values])[max(0, -steps) :]
    return padded[: len(values)]


@pytest.mark.parametrize("steps", [0, 7, -12, 50, -50, 60, -80, 300, -499])
def test_the_shift_is_found_both_ways_near_and_far(steps):
    real = strength(0)
    assert sound_offset(moved(real, steps), real) == 10 * steps


def test_a_shift_is_found_beside_noise_and_with_ends_of_another_length():
    real = strength(1)
    noise = 0.1 * np.random.default_rng(2).random(len(real)).astype(np.float32)
    assert sound_offset(moved(real, 120)[:-130] + noise[:-130], real) == 1200


def test_sounds_that_no_shift_makes_alike_get_the_farthest_one():
    assert sound_offset(strength(3), strength(4)) == 5000
    assert sound_offset(moved(strength(0), 800), strength(0)) == 5000


def test_silent_and_short_sounds_have_no_offset():
    real = strength(5, 2)
    assert sound_offset(np.zeros_like(real), real) is None
    assert sound_offset(real, np.zeros_like(real)) is None
    assert sound_offset(real[:199], real) is None
    assert sound_offset(real, real) == 0


def test_silence_is_what_has_no_onsets():
    tone = np.sin(np.arange(1600, dtype=np.float32) / 9)
    assert [is_silent(AudioClip(level * tone)) for level in (0.0, 0.0005, 0.01)] == [True, True, False]
    assert is_silent(AudioClip(np.zeros(0, np.float32)))
