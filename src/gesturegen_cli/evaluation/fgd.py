"""Frechet gesture distance: how far two sets of motion windows are apart, seen as two Gaussians."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gesturegen_cli.errors import InputError


@dataclass(frozen=True)
class FeatureSpace:
    """Window features relative to a reference: standardise each motion number, then project. All in float64."""

    mean: Tensor
    """Mean of each motion number over the reference, `d`."""
    scale: Tensor
    """Standard deviation of each motion number over the reference, `d`."""
    centre: Tensor
    """Mean standardised window, `w` with w = window length x d."""
    axes: Tensor
    """Principal directions of the reference's windows, `w k`, orthonormal."""

    @property
    def dims(self) -> int:
        """Number of features of a window, k."""
        return self.axes.shape[1]


def fit_feature_space(windows: Tensor, dims: int) -> FeatureSpace:
    """Fit a space of `dims` features (fewer where the reference varies in fewer) on reference windows `n t d`.

    Raises InputError when there are fewer than two windows.
    """
    if len(windows) < 2:
        raise InputError(f"{len(windows)} reference windows, expected at least 2", "give more or longer videos")
    flat = windows.double().reshape(-1, windows.shape[-1])
    spread = flat.std(dim=0)
    # A number that never changes in the reference carries no statistics; dividing by it would only add noise.
    scale = torch.where(spread > 1e-6, spread, torch.ones_like(spread))
    rows = ((windows.double() - flat.mean(dim=0)) / scale).flatten(1)
    centre = rows.mean(dim=0)
    _, values, directions = torch.linalg.svd(rows - centre, full_matrices=False)
    kept = min(dims, int((values > 1e-9 * values[0].clamp_min(1e-30)).sum()))
    return FeatureSpace(flat.mean(dim=0), scale, centre, directions[: max(kept, 1)].T)


def window_features(space: FeatureSpace, windows: Tensor) -> Tensor:
    """Windows `n t d` -> features `n k`, float64."""
    rows = ((windows.double() - space.mean) / space.scale).flatten(1)
    return (rows - space.centre) @ space.axes


def frechet_distance(made: Tensor, real: Tensor) -> float:
    """Squared Frechet distance of the Gaussians fitted to features `n k` and `m k`, in float64; 0 for equal sets.

    |m1 - m2|^2 + Tr(S1 + S2 - 2 (S1 S2)^(1/2)). The trace of the root is that of (S1^(1/2) S2 S1^(1/2))^(1/2), which
    is symmetric, so that two symmetric eigen decompositions do. Raises InputError when a set has fewer than k + 1
    members, as its covariance would be singular.
    """
    for name, features in (("generated", made), ("reference", real)):
        if len(features) < features.shape[1] + 1:
            found = f"{len(features)} {name} windows for {features.shape[1]} features"
            raise InputError(f"{found}, expected at least {features.shape[1] + 1}", "give more or longer videos")
    made, real = made.double(), real.double()
    made_covariance, real_covariance = _covariance(made), _covariance(real)
    values, vectors = torch.linalg.eigh(made_covariance)
    root = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
    cross = torch.linalg.eigvalsh(root @ real_covariance @ root).clamp_min(0).sqrt().sum()
    spread = made_covariance.trace() + real_covariance.trace() - 2 * cross
    return max(0.0, float((made.mean(dim=0) - real.mean(dim=0)).square().sum() + spread))


def _covariance(features: Tensor) -> Tensor:
    """Unbiased covariance `k k` of features `n k`, a matrix for one feature too (torch.cov gives a number)."""
    centred = features - features.mean(dim=0)
    return centred.T @ centred / (len(features) - 1)
