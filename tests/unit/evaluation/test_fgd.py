"""Frechet distance against closed forms."""

from __future__ import annotations

import pytest
import torch

from gesturegen_cli.errors import InputError
from gesturegen_cli.evaluation.fgd import fit_feature_space, frechet_distance, window_features


def whitened(count: int, dims: int, seed: int) -> torch.Tensor:
    """Samples whose mean is exactly 0 and whose covariance is exactly the identity."""
    values = torch.randn(count, dims, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    values = values - values.mean(dim=0)
    factor = torch.linalg.cholesky(values.T @ values / (count - 1))
    return torch.linalg.solve_triangular(factor, values.T, upper=False).T


def test_equal_sets_have_distance_zero():
    features = whitened(50, 6, 0)
    assert frechet_distance(features, features) == pytest.approx(0.0, abs=1e-9)


def test_two_gaussians_that_do_not_commute_have_the_distance_of_the_closed_form():
    samples = whitened(200, 2, 1)
    turn = torch.tensor([[0.6, -0.8], [0.8, 0.6]], dtype=torch.float64)
    first, second = (
        torch.diag(torch.tensor([2.0, 1.0], dtype=torch.float64)),
        torch.diag(torch.tensor([1.0, 3.0], dtype=torch.float64)),
    )
    made = samples @ first
    real = samples @ second @ turn.T + torch.tensor([1.0, 2.0], dtype=torch.float64)
    s1, s2 = first @ first, turn @ second @ second @ turn.T
    # for 2 x 2 matrices: Tr(root(P))^2 = Tr(P) + 2 root(det(P))
    product = s1 @ s2
    trace_root = (product.trace() + 2 * torch.linalg.det(product).sqrt()).sqrt()
    expected = 5.0 + float(s1.trace() + s2.trace() - 2 * trace_root)
    assert frechet_distance(made, real) == pytest.approx(expected, rel=1e-9)


def test_distance_is_symmetric_and_grows_with_the_shift():
    one, other = whitened(80, 4, 2), whitened(90, 4, 3) + 1.0
    assert frechet_distance(one, other) == pytest.approx(frechet_distance(other, one), rel=1e-9)
    assert frechet_distance(one, other) == pytest.approx(4.0, abs=1e-6)


def test_one_feature_is_a_distance_too():
    one = whitened(40, 1, 4)
    assert frechet_distance(3 * one, one) == pytest.approx(4.0, rel=1e-9)


def test_too_few_windows_are_refused_with_the_number_needed():
    with pytest.raises(InputError, match=r"5 generated windows for 5 features, expected at least 6"):
        frechet_distance(torch.zeros(5, 5), torch.zeros(9, 5))


def test_feature_space_is_fitted_on_the_reference_and_keeps_distances():
    windows = torch.randn(12, 6, 3, generator=torch.Generator().manual_seed(5)) * torch.tensor([1.0, 10.0, 0.1])
    space = fit_feature_space(windows, dims=32)
    features = window_features(space, windows)
    assert space.dims == 11  # twelve windows span eleven directions
    assert torch.allclose(features.mean(dim=0), torch.zeros(11, dtype=torch.float64), atol=1e-9)
    standardised = ((windows.double() - space.mean) / space.scale).flatten(1)
    assert torch.allclose(torch.pdist(features), torch.pdist(standardised), rtol=1e-8)


def test_a_motion_number_that_never_changes_does_no_harm():
    windows = torch.randn(8, 5, 2, generator=torch.Generator().manual_seed(6))
    windows[..., 1] = 7.0
    features = window_features(fit_feature_space(windows, dims=4), windows)
    assert features.shape == (8, 4)
    assert torch.isfinite(features).all()


def test_one_window_gives_no_feature_space():
    with pytest.raises(InputError, match="1 reference windows"):
        fit_feature_space(torch.zeros(1, 4, 2), dims=2)
