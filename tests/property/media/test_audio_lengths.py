"""Resampling by blocks: exact lengths and no seams, whatever the rate and the blocks."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import torch
import torchaudio
from hypothesis import given, settings
from hypothesis import strategies as st

from gesturegen_cli.media.resample import direct, iter_resampled, polyphase, resampled_length

RATES = st.sampled_from([4000, 8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000, 96000, 192000, 12345])


def by_blocks(samples: np.ndarray, rate: int, cuts: list[int]) -> np.ndarray:
    edges = sorted({0, len(samples), *(cut % (len(samples) + 1) for cut in cuts)})
    blocks = (samples[first:last] for first, last in pairwise(edges))
    return np.concatenate([np.zeros(0, np.float32), *iter_resampled(blocks, rate)])


@settings(max_examples=25, deadline=None)
@given(
    rate=RATES, count=st.integers(1, 30_000), cuts=st.lists(st.integers(0, 10**6), max_size=6), seed=st.integers(0, 99)
)
def test_blocks_equal_the_whole(rate, count, cuts, seed):
    samples = np.random.default_rng(seed).uniform(-1, 1, count).astype(np.float32)
    ratio = Fraction(rate, 16000)
    whole = torchaudio.functional.resample(torch.from_numpy(samples).double(), *ratio.as_integer_ratio()).numpy()
    found = by_blocks(samples, rate, cuts)
    shared = min(len(whole), len(found))
    assert abs(shared - resampled_length(count, rate)) <= 2
    np.testing.assert_allclose(found[:shared], whole[:shared], atol=2e-6)


def test_blocks_larger_than_the_buffer_leave_no_seam():
    samples = np.random.default_rng(0).uniform(-1, 1, 700_001).astype(np.float32)
    whole = torchaudio.functional.resample(torch.from_numpy(samples).double(), 44100, 16000).numpy()
    found = by_blocks(samples, 44100, list(range(0, 700_000, 65_536)))
    np.testing.assert_allclose(found[: len(whole)], whole, atol=2e-6)
    assert abs(len(found) - len(whole)) <= 160


@pytest.mark.parametrize("rate", [8000, 11025, 44100, 48000])
def test_direct_evaluation_equals_torchaudio(rate):
    samples = np.random.default_rng(0).uniform(-1, 1, 5000).astype(np.float32)
    ratio = Fraction(rate, 16000)
    found = direct(ratio, 40)(samples)
    np.testing.assert_allclose(found, polyphase(ratio)(samples)[: len(found)], atol=2e-6)


@pytest.mark.parametrize("rate", [15997, 44101, 96_001])
def test_rates_without_a_small_fraction_keep_time_and_pitch(rate):
    count = rate // 2
    samples = np.sin(2 * np.pi * 440 * np.arange(count) / rate).astype(np.float32)
    found = by_blocks(samples, rate, list(range(0, count, 10_000)))[: resampled_length(count, rate)]
    assert len(found) == resampled_length(count, rate)
    expected = np.sin(2 * np.pi * 440 * np.arange(len(found)) / 16000)
    assert np.abs(found - expected)[50:-50].max() < 2e-3


@given(st.integers(0, 10**9), st.integers(4000, 768_000))
def test_length_is_within_half_a_sample(samples, rate):
    assert abs(resampled_length(samples, rate) - samples * 16000 / rate) <= 0.5 + 1e-6
