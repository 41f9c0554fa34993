"""95 % intervals over clips: what would the number have been with other clips of the same kind?

Clips are drawn, not windows or frames: those of one clip resemble each other, and drawing them one by one would make
every interval too narrow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gesturegen_cli.evaluation.diversity import DiversityTable
from gesturegen_cli.evaluation.frechet import Moments, gaussian_distance

RESAMPLINGS = 1000
FEWEST_CLIPS = 5
"""With fewer clips there is no interval: so few cannot say how much clips differ."""
MOST_FEATURES = 128
"""Above so many features a Frechet distance is resampled less often, as its cost grows with their cube."""
_FEWEST_RESAMPLINGS = 100
_TAILS = (2.5, 97.5)
_BLOCK = 64
"""Resamplings of a Frechet distance at a time, which bounds the memory for their covariances."""
_CLIPS = 32
"""Clips whose scatters are added up at a time."""


@dataclass(frozen=True)
class Interval:
    """Bounds of a 95 % interval, and the number of resamplings it rests on."""

    low: float
    high: float
    resamplings: int


def mean_interval(
    values: Sequence[float] | NDArray[np.float64], *, resamplings: int = RESAMPLINGS, rng_seed: int = 0
) -> Interval | None:
    """Percentile interval (Efron and Tibshirani 1993, chapter 13) of the mean of finite values `n`, one a clip.

    None below FEWEST_CLIPS values.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if len(numbers) < FEWEST_CLIPS:
        return None
    drawn = _draws(len(numbers), resamplings, np.random.default_rng(rng_seed))
    return _percentile((drawn @ numbers) / len(numbers))


def diversity_interval(table: DiversityTable, *, resamplings: int = RESAMPLINGS, rng_seed: int = 0) -> Interval | None:
    """Percentile interval of the diversity of a set, from its table of distances between clips.

    A clip that is drawn twice is not paired with its own copy, whose distance of nearly 0 no other clip would have
    shown. None below FEWEST_CLIPS clips with windows.
    """
    used = np.flatnonzero(table.windows)
    if len(used) < FEWEST_CLIPS:
        return None
    drawn = _draws(len(used), resamplings, np.random.default_rng(rng_seed))
    totals = [_drawn_pairs(drawn, part[np.ix_(used, used)]) for part in (table.sums, table.pairs)]
    kept = totals[1] > 0
    return _percentile(totals[0][kept] / totals[1][kept]) if kept.any() else None


def frechet_interval(
    pairs: Sequence[tuple[Moments, Moments]],
    made: Sequence[Moments] = (),
    real: Sequence[Moments] = (),
    *,
    resamplings: int = RESAMPLINGS,
    rng_seed: int = 0,
) -> Interval | None:
    """Basic interval of the squared Frechet distance of two sets, from the moments of their clips.

    `pairs` are clips with their references, which are drawn together, so that what both share drops out; `made` and
    `real` are clips without partner, drawn each by itself. Sets of the same clips have the interval [0, 0].

    Drawing clips again adds noise, and noise only adds to a distance: resampled distances lie above the true one by
    as much as they spread, as the measured one does, and their percentiles can miss the measured value altogether. The
    basic interval 2 d - q (Davison and Hinkley 1997, section 5.2) turns the deviations of resampled distances from the
    measured d round and so takes that bias away; it may lie below d, and what falls below 0 is cut off.

    None when either set has fewer than FEWEST_CLIPS clips with windows. Above MOST_FEATURES features there are fewer
    resamplings, at least 100; the interval says how many.
    """
    clips = (*(one for pair in pairs for one in pair), *made, *real)
    if not clips:
        return None
    sides = ([pair[0] for pair in pairs], list(made)), ([pair[1] for pair in pairs], list(real))
    if min(sum(one.count > 0 for part in side for one in part) for side in sides) < FEWEST_CLIPS:
        return None
    dims = len(clips[0].mean)
    if dims > MOST_FEATURES:
        resamplings = max(_FEWEST_RESAMPLINGS, int(resamplings * (MOST_FEATURES / dims) ** 3))
    rng = np.random.default_rng(rng_seed)
    together = _draws(len(pairs), resamplings, rng)
    # about one point, so that adding up squares loses no digits to a mean far from 0
    centre = torch.stack([one.mean for one in clips]).mean(dim=0)
    both = [_Side.of([*matched, *alone], centre) for matched, alone in sides]
    draws = [np.concatenate([together, _draws(len(alone), resamplings, rng)], axis=1) for _, alone in sides]
    measured = float(_distances(both, [np.ones((1, draw.shape[1])) for draw in draws])[0])
    blocks = range(0, resamplings, _BLOCK)
    found = torch.cat([_distances(both, [draw[start : start + _BLOCK] for draw in draws]) for start in blocks])
    if len(found) == 0:
        return None
    low, high = 2 * measured - np.percentile(found.numpy(), _TAILS[::-1])
    return Interval(max(0.0, float(low)), max(0.0, float(high)), len(found))


@dataclass(frozen=True, eq=False)
class _Side:
    """One set of n clips: their counts `n`, means `n k` about a common point, and scatters `k k` each."""

    counts: Tensor
    means: Tensor
    scatters: Sequence[Tensor]

    @classmethod
    def of(cls, clips: Sequence[Moments], centre: Tensor) -> _Side:
        counts = torch.tensor([one.count for one in clips], dtype=torch.float64)
        return cls(counts, torch.stack([one.mean for one in clips]) - centre, [one.scatter for one in clips])

    def gaussians(self, draws: NDArray[np.float64]) -> tuple[Tensor, Tensor, Tensor]:
        """Counts `r`, means `r k` and covariances `r k k` of the sets with each clip as often as `draws` `r n` say."""
        drawn = torch.from_numpy(draws)
        weights = drawn * self.counts
        counts = weights.sum(dim=1)
        means = (weights @ self.means) / counts.clamp_min(1)[:, None]
        scatter = (weights[:, :, None] * self.means).mT @ self.means - counts[:, None, None] * (
            means[:, :, None] * means[:, None, :]
        )
        for start in range(0, len(self.scatters), _CLIPS):
            # a few at a time: second copies of all of them would not fit beside the first where features are many
            some = torch.stack(list(self.scatters[start : start + _CLIPS])).flatten(1)
            scatter += (drawn[:, start : start + _CLIPS] @ some).view_as(scatter)
        return counts, means, scatter / (counts - 1).clamp_min(1)[:, None, None]


def _distances(sides: Sequence[_Side], draws: Sequence[NDArray[np.float64]]) -> Tensor:
    """Distances of resampled sets; those in which a set has not two windows are left out."""
    (counts, means, covariances), (others, other_means, other_covariances) = (
        side.gaussians(draw) for side, draw in zip(sides, draws, strict=True)
    )
    kept = (counts >= 2) & (others >= 2)
    return gaussian_distance(means[kept], covariances[kept], other_means[kept], other_covariances[kept])


def _draws(clips: int, resamplings: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """How often each clip is in each resampled set, `resamplings clips`."""
    if clips == 0:
        return np.zeros((resamplings, 0))
    return rng.multinomial(clips, np.full(clips, 1 / clips), size=resamplings).astype(np.float64)


def _drawn_pairs(draws: NDArray[np.float64], table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums over pairs of windows of resampled sets: within each drawn clip, and between different clips."""
    within = np.diag(table)
    between = table - np.diag(within)
    total: NDArray[np.float64] = draws @ within + ((draws @ between) * draws).sum(axis=1) / 2
    return total


def _percentile(resampled: NDArray[np.float64]) -> Interval:
    low, high = np.percentile(resampled, _TAILS)
    return Interval(float(low), float(high), len(resampled))
