"""Intervals over clips: where they lie, how wide they are, and that they are the same for the same seed."""

from __future__ import annotations

from functools import reduce
from operator import add

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gesturegen_cli.evaluation import bootstrap
from gesturegen_cli.evaluation.bootstrap import Interval, diversity_interval, frechet_interval, mean_interval
from gesturegen_cli.evaluation.diversity import diversity_table
from gesturegen_cli.evaluation.frechet import Moments, frechet_distance, moments


def clips(count: int, seed: int, dims: int = 4, windows: int = 10, shift: float = 0.0) -> list[Tensor]:
    """Windows of clips that differ among themselves as much as their windows do."""
    generator = torch.Generator().manual_seed(seed)
    own = torch.randn(count, 1, dims, generator=generator, dtype=torch.float64)
    return list(shift + own + torch.randn(count, windows, dims, generator=generator, dtype=torch.float64))


def sums(parts: list[Tensor]) -> list[Moments]:
    return [moments(part) for part in parts]


def width(interval: Interval | None) -> float:
    assert interval is not None
    return interval.high - interval.low


@given(st.lists(st.floats(-1e6, 1e6), min_size=5, max_size=60), st.integers(0, 9))
@settings(max_examples=50)
def test_the_interval_of_a_mean_lies_among_the_values_and_is_the_same_for_a_seed(values: list[float], seed: int):
    found = mean_interval(values, resamplings=200, rng_seed=seed)
    assert found is not None
    assert found == mean_interval(values, resamplings=200, rng_seed=seed)
    slack = 1e-9 * max(map(abs, values))
    assert min(values) - slack <= found.low <= found.high <= max(values) + slack


@given(st.integers(5, 80), st.integers(0, 999))
@settings(max_examples=60)
def test_the_interval_of_a_mean_holds_the_mean(count: int, seed: int):
    values = np.random.default_rng(seed).normal(3.0, 1.0, count)
    found = mean_interval(values, rng_seed=seed)
    assert found is not None
    assert found.low <= values.mean() <= found.high


def test_the_interval_of_a_mean_is_as_wide_as_the_normal_theory_says():
    values = np.random.default_rng(0).normal(0.0, 1.0, 400)
    found = mean_interval(values)
    assert width(found) == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)


def test_the_interval_of_a_mean_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(1)
    found = [mean_interval(rng.normal(2.0, 1.0, 40), resamplings=300, rng_seed=trial) for trial in range(200)]
    covered = np.mean([one is not None and one.low <= 2.0 <= one.high for one in found])
    assert 0.89 <= covered <= 0.99


def test_four_clips_have_no_interval():
    few = sums(clips(4, 0))
    assert mean_interval([1.0, 2.0, 3.0, 4.0]) is None
    assert frechet_interval(list(zip(few, few, strict=True))) is None
    assert frechet_interval([]) is None
    assert diversity_interval(diversity_table([*clips(4, 0), torch.zeros(0, 4)])) is None


def test_a_resampled_set_has_the_moments_of_its_clips_put_together():
    parts = sums(clips(6, 2, shift=50.0))
    draw = np.array([[2.0, 0, 1, 0, 3, 0], [1, 1, 1, 1, 1, 1]])
    counts, means, covariances = bootstrap._Side.of(parts, torch.full((4,), 47.0).double()).gaussians(draw)
    for row, times in enumerate(draw):
        whole = reduce(add, (one for one, n in zip(parts, times, strict=True) for _ in range(int(n))))
        assert counts[row] == whole.count
        assert torch.allclose(means[row] + 47.0, whole.mean, rtol=1e-12)
        assert torch.allclose(covariances[row], whole.covariance, rtol=1e-9)


def test_equal_sets_have_an_interval_of_zero():
    same = sums(clips(12, 3))
    together = frechet_interval(list(zip(same, same, strict=True)))
    assert together is not None
    assert together.low == 0.0
    assert together.high < 1e-9
    apart = frechet_interval([], same, same)
    assert apart is not None
    assert apart.low == 0.0


def test_sets_that_differ_have_an_interval_about_their_true_distance():
    hits = []
    for seed in range(20):
        made, real = sums(clips(60, seed, shift=1.0)), sums(clips(60, seed + 100))
        found = frechet_interval([], made, real, resamplings=200, rng_seed=seed)
        assert found is not None
        hits.append(found.low <= 4.0 <= found.high)  # four features, each shifted by 1
    assert np.mean(hits) >= 0.8


def test_the_basic_interval_takes_the_bias_away():
    # drawn from one distribution: the measured distance is above 0, the true one is 0
    hits = []
    for seed in range(20):
        made, real = sums(clips(30, seed)), sums(clips(30, seed + 100))
        assert frechet_distance(reduce(add, made), reduce(add, real)) > 0.02
        found = frechet_interval([], made, real, resamplings=200)
        assert found is not None
        hits.append(found.low <= 0.02)
    assert np.mean(hits) >= 0.8


def test_clips_that_belong_together_are_drawn_together():
    real = clips(40, 5)
    made = [part + 0.5 for part in real]
    pairs = list(zip(sums(made), sums(real), strict=True))
    matched, apart = frechet_interval(pairs), frechet_interval([], *(list(side) for side in zip(*pairs, strict=True)))
    # the shift is the same in every clip, so drawing clips together tells nothing new
    assert matched is not None
    assert (matched.low, matched.high) == pytest.approx((1.0, 1.0), rel=1e-6)
    assert width(apart) > 0.3


def test_more_clips_make_intervals_narrower():
    few, many = clips(8, 6), clips(128, 6)
    other, others = sums(clips(8, 7, shift=1.0)), sums(clips(128, 7, shift=1.0))
    assert width(frechet_interval([], sums(many), others)) < width(frechet_interval([], sums(few), other)) / 2
    assert width(diversity_interval(diversity_table(many))) < width(diversity_interval(diversity_table(few))) / 2
    values = np.random.default_rng(3).normal(size=400)
    assert width(mean_interval(values)) < width(mean_interval(values[:20])) / 2


def test_many_features_are_resampled_less_often_and_say_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bootstrap, "MOST_FEATURES", 2)
    found = frechet_interval([], sums(clips(6, 8)), sums(clips(6, 9)))
    assert found is not None
    assert found.resamplings == 125


@given(st.integers(6, 20), st.integers(0, 99))
@settings(max_examples=25)
def test_the_interval_of_diversity_holds_the_diversity_and_ignores_clips_without_windows(count: int, seed: int):
    parts = clips(count, seed)
    table = diversity_table([torch.zeros(0, 4), *parts])
    found = diversity_interval(table, rng_seed=seed)
    assert found is not None
    assert found.low <= table.diversity <= found.high
    assert found == diversity_interval(diversity_table(parts), rng_seed=seed)
