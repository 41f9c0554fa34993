"""Frechet distance against closed forms and against the root of a matrix that is found another way."""

from __future__ import annotations

from functools import reduce
from operator import add

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from gesturegen_cli.errors import InputError
from gesturegen_cli.evaluation.frechet import Moments, frechet_distance, gaussian_distance, moments


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(count: int, dims: int, seed: int) -> Tensor:
    return torch.randn(count, dims, generator=generator(seed), dtype=torch.float64)


def gaussian(mean: Tensor, covariance: Tensor, count: int = 100) -> Moments:
    return Moments(count, mean, covariance * (count - 1))


def rotation(dims: int, seed: int) -> Tensor:
    return torch.linalg.qr(drawn(dims, dims, seed)).Q


def root_by_iteration(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Square root of a matrix by the iteration of Denman and Beavers (1976)."""
    root, inverse = matrix, np.eye(len(matrix))
    for _ in range(60):
        root, inverse = (root + np.linalg.inv(inverse)) / 2, (inverse + np.linalg.inv(root)) / 2
    assert np.allclose(root @ root, matrix, rtol=1e-10, atol=1e-12)
    return root


@pytest.mark.parametrize("dims", [1, 5, 32, 128])
def test_diagonal_covariances_have_the_closed_form(dims: int):
    one, other = drawn(2, dims, 0).exp()
    means = drawn(2, dims, 1)
    expected = float((means[0] - means[1]).square().sum() + (one - other).square().sum())
    found = frechet_distance(gaussian(means[0], torch.diag(one**2)), gaussian(means[1], torch.diag(other**2)))
    assert found == pytest.approx(expected, rel=1e-12)


def test_covariances_that_commute_have_the_closed_form_over_twelve_orders_of_magnitude():
    turn = rotation(24, 2)
    one, other = torch.logspace(-6, 0, 24, dtype=torch.float64), torch.logspace(0, -6, 24, dtype=torch.float64)
    found = frechet_distance(
        gaussian(torch.zeros(24).double(), turn @ torch.diag(one**2) @ turn.T),
        gaussian(torch.ones(24).double(), turn @ torch.diag(other**2) @ turn.T),
    )
    assert found == pytest.approx(24.0 + float((one - other).square().sum()), rel=1e-9)


@pytest.mark.parametrize("dims", [2, 8, 32])
def test_general_covariances_agree_with_the_root_found_by_iteration(dims: int):
    made, real = drawn(3 * dims, dims, 3), drawn(4 * dims, dims, 4) @ drawn(dims, dims, 5) + 0.5
    s1, s2 = (np.cov(part.numpy().T) for part in (made, real))
    shift = (made.mean(dim=0) - real.mean(dim=0)).numpy()
    expected = shift @ shift + np.trace(s1) + np.trace(s2) - 2 * np.trace(root_by_iteration(s1 @ s2))
    assert frechet_distance(moments(made), moments(real)) == pytest.approx(expected, rel=1e-9)


def test_a_general_pair_agrees_with_the_eigenvalues_of_the_product():
    s1, s2 = (np.cov(drawn(50, 12, seed).numpy().T) for seed in (6, 7))
    roots = np.sqrt(np.linalg.eigvals(s1 @ s2).real)
    expected = np.trace(s1) + np.trace(s2) - 2 * roots.sum()
    zero = torch.zeros(12).double()
    found = float(gaussian_distance(zero, torch.from_numpy(s1), zero, torch.from_numpy(s2)))
    assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("count", "dims"), [(2, 32), (20, 32), (500, 32), (500, 1)])
def test_a_set_has_no_distance_from_itself(count: int, dims: int):
    found = frechet_distance(moments(10 * drawn(count, dims, 8)), moments(10 * drawn(count, dims, 8)))
    assert 0 <= found < 1e-9


def test_constant_sets_are_as_far_apart_as_their_points():
    found = frechet_distance(moments(torch.full((4, 3), 2.0)), moments(torch.full((9, 3), 4.0)))
    assert found == pytest.approx(12.0, rel=1e-12)


def test_a_constant_set_is_its_spread_away_from_a_varied_one():
    real = drawn(30, 4, 9)
    found = frechet_distance(moments(real.mean(dim=0).repeat(5, 1)), moments(real))
    assert found == pytest.approx(float(torch.cov(real.T).trace()), rel=1e-12)


def test_a_singular_covariance_with_a_known_root():
    # ranks 1 and 2 in four dimensions: the cross term is |u| |S2^(1/2) u / |u|| with u along the first axis
    zero = torch.zeros(4).double()
    one, other = torch.diag(torch.tensor([4.0, 0, 0, 0])).double(), torch.diag(torch.tensor([9.0, 1, 0, 0])).double()
    assert frechet_distance(gaussian(zero, one), gaussian(zero, other)) == pytest.approx(4 + 10 - 2 * 6, rel=1e-12)


@given(st.integers(2, 6), st.integers(2, 6), st.integers(1, 12), st.integers(0, 99), st.sampled_from([1e-8, 1.0, 1e6]))
def test_small_sets_have_a_finite_symmetric_distance(count: int, other: int, dims: int, seed: int, scale: float):
    made, real = moments(scale * drawn(count, dims, seed)), moments(scale * drawn(other, dims, seed + 1))
    found = frechet_distance(made, real)
    assert np.isfinite(found)
    assert found >= 0
    assert found == pytest.approx(frechet_distance(real, made), rel=1e-9)


@given(st.lists(st.integers(0, 7), min_size=1, max_size=6), st.integers(0, 99))
def test_moments_of_clips_add_up_to_those_of_the_set(lengths: list[int], seed: int):
    features = 1e3 + drawn(sum(lengths), 3, seed)
    added = reduce(add, (moments(part) for part in features.split(lengths)))
    whole = moments(features)
    assert added.count == whole.count
    assert torch.allclose(added.mean, whole.mean, rtol=1e-12)
    assert torch.allclose(added.scatter, whole.scatter, rtol=1e-9, atol=1e-8)


def test_fewer_than_two_windows_are_refused():
    with pytest.raises(InputError, match="1 generated windows, expected at least 2"):
        frechet_distance(moments(torch.zeros(1, 3)), moments(torch.zeros(5, 3)))
    with pytest.raises(InputError, match="0 reference windows"):
        frechet_distance(moments(torch.zeros(5, 3)), moments(torch.zeros(0, 3)))


def test_features_that_are_no_numbers_are_refused():
    with pytest.raises(InputError, match="not finite"):
        moments(torch.tensor([[0.0, float("nan")]]))
