"""Beats that were put in are found, and scored as the formula says."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from gesturegen_cli.evaluation.beat import audio_beats, beat_alignment, motion_beats, onset_strength
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
    motion = torch.cos(math.pi * frames / 25)[:, None].repeat(1, 3)
    beats = motion_beats(motion)
    assert np.abs(beats - np.arange(25, 200 - 24, 25)).max() <= 1.0


def test_a_still_or_tiny_motion_has_no_beats():
    assert len(motion_beats(torch.zeros(100, 4))) == 0
    assert len(motion_beats(torch.randn(3, 4))) == 0


def test_aligned_beats_score_one_and_shifted_ones_as_the_formula_says():
    beats = np.array([10.0, 40.0, 70.0])
    assert beat_alignment(beats, beats) == 1.0
    assert beat_alignment(beats, beats + 3.0) == pytest.approx(math.exp(-0.5))
    assert beat_alignment(np.array([10.0, 20.0]), np.array([10.0, 23.0])) == pytest.approx((1 + math.exp(-0.5)) / 2)


def test_no_audio_beats_have_no_score_and_no_motion_beats_score_zero():
    assert beat_alignment(np.zeros(0), np.array([3.0])) is None
    assert beat_alignment(np.array([3.0]), np.zeros(0)) == 0.0
