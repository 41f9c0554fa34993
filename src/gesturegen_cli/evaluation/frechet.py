"""Frechet distance of two sets of features, seen as two Gaussians, from moments that add up over clips."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gesturegen_cli.errors import InputError


@dataclass(frozen=True, eq=False)
class Moments:
    """Count, mean `k` and scatter `k k` (sum of outer products about the mean) of a set of features, in float64.

    `a + b` are the moments of both sets together, so those of a large set come from its clips.
    """

    count: int
    mean: Tensor
    scatter: Tensor

    def __add__(self, other: Moments) -> Moments:
        """Of both sets together (Chan, Golub and LeVeque 1983, the pairwise update)."""
        count = self.count + other.count
        if count == 0:
            return self
        shift = other.mean - self.mean
        between = torch.outer(shift, shift) * (self.count * other.count / count)
        return Moments(count, self.mean + shift * (other.count / count), self.scatter + other.scatter + between)

    @property
    def covariance(self) -> Tensor:
        """Unbiased covariance `k k`; all zeros for fewer than two members."""
        return self.scatter / max(self.count - 1, 1)


def moments(features: Tensor) -> Moments:
    """Moments of features `n k`; n may be 0 (count, mean and scatter are zero then).

    Raises InputError when a feature is not finite.
    """
    features = features.detach().cpu().double()
    if not torch.isfinite(features).all():
        raise InputError("features that are not finite, expected numbers", "is one of the videos damaged?")
    mean = features.mean(dim=0) if len(features) else features.new_zeros(features.shape[1])
    centred = features - mean
    return Moments(len(features), mean, centred.T @ centred)


def frechet_distance(made: Moments, real: Moments) -> float:
    """Squared Frechet distance of the Gaussians with these moments (Dowson and Landau 1982), in float64.

    |m1 - m2|^2 + Tr(S1 + S2 - 2 (S1 S2)^(1/2)); finite and at least 0, also where a covariance is singular: of
    constant sets, and of fewer members than features. Small sets are far apart even when they are drawn from the same
    distribution, so compare distances of sets of equal size.

    Raises InputError for a set of fewer than two members.
    """
    for name, one in (("generated", made), ("reference", real)):
        if one.count < 2:
            raise InputError(f"{one.count} {name} windows, expected at least 2", "give more or longer videos")
    return float(gaussian_distance(made.mean, made.covariance, real.mean, real.covariance))


def gaussian_distance(mean: Tensor, covariance: Tensor, other_mean: Tensor, other_covariance: Tensor) -> Tensor:
    """Squared Frechet distance of Gaussians: means `... k` and covariances `... k k`, float64, -> `...`.

    The eigenvalues of S1 S2 are those of S1^(1/2) S2 S1^(1/2), whose roots are the singular values of
    S1^(1/2) S2^(1/2). Taking these from the factors loses no digits to a square, which would turn rounding errors of
    1e-16 into 1e-8 wherever a covariance is singular.
    """
    factor, other_factor = _factor(covariance), _factor(other_covariance)
    cross = torch.linalg.svdvals(factor.mT @ other_factor).sum(dim=-1)
    spread = _trace(covariance) + _trace(other_covariance) - 2 * cross
    distance: Tensor = ((mean - other_mean).square().sum(dim=-1) + spread).clamp_min(0)
    return distance


def _factor(covariance: Tensor) -> Tensor:
    """F `... k k` with F F^T = covariance; directions whose variance is but rounding error are left out."""
    values, vectors = torch.linalg.eigh(covariance)
    rounding = values.shape[-1] * torch.finfo(values.dtype).eps * values[..., -1:].clamp_min(0)
    kept = torch.where(values > rounding, values, torch.zeros_like(values))
    factor: Tensor = vectors * kept.sqrt().unsqueeze(-2)
    return factor


def _trace(matrices: Tensor) -> Tensor:
    return matrices.diagonal(dim1=-2, dim2=-1).sum(dim=-1)
