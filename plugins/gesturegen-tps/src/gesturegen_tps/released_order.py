"""In which order published weights expect what is concatenated. Shapes do not tell; the weights themselves do."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

SILENT = 0.01
"""A channel with weights this much smaller than usual is one that training never saw anything in."""
MARGIN = 0.2
"""Correlations have to differ by this much to mean something."""


def heatmaps_first(weight: Tensor, transforms: int) -> bool:
    """Whether dense motion was trained with heat maps before moved copies, by its first weights `c 8k+4 3 3`.

    The background's heat map is zero everywhere, so that nothing but weight decay ever acted on its weights: they have
    shrunk to nothing. True when neither place shows it.
    """
    if weight.ndim != 4:
        return True  # misshapen, which the core will say
    size = weight.float().abs().mean((0, 2, 3))
    silent = size < SILENT * size.median()
    return bool(silent[0]) or not bool(silent[3 * (transforms + 1)])


def skips_first(tensors: Mapping[str, Tensor]) -> bool:
    """Whether the refinement was trained with levels of its way down before those of its way up.

    Both come from batch norms, whose parameters tell their means after ReLU; those times the weights have to agree with
    the mean that the next batch norm recorded. False when neither order agrees clearly better.
    """
    try:
        better = _agreement(tensors)
    except (KeyError, IndexError, RuntimeError):
        return False  # missing or misshapen tensors, which the core will list
    return bool(better) and sum(better) / len(better) > MARGIN


def _agreement(tensors: Mapping[str, Tensor]) -> list[float]:
    """How much better "down, up" agrees than "up, down", by step on the way up."""
    steps = 0
    while any(f"model{steps + 1}.{layer}.weight" in tensors for layer in (0, 1)):
        steps += 1
    middle = (steps + 1) // 2
    better = []
    for step in range(middle + 1, steps):
        up = _mean_after_relu(tensors, f"model{step - 1}.{4 if step - 1 == middle else 2}")
        down = _mean_after_relu(tensors, f"model{2 * middle - step}.2")
        weight = tensors[f"model{step}.1.weight"].float().sum((2, 3))
        recorded = tensors[f"model{step}.2.running_mean"].float()
        orders = [torch.cat(order) @ weight for order in ((down, up), (up, down))]
        better.append(_correlation(orders[0], recorded) - _correlation(orders[1], recorded))
    return better


def _mean_after_relu(tensors: Mapping[str, Tensor], norm: str) -> Tensor:
    """E max(x, 0) of x normal with a batch norm's shift as mean and its scale as standard deviation."""
    mean, deviation = tensors[f"{norm}.bias"].float(), tensors[f"{norm}.weight"].float().abs().clamp_min(1e-6)
    score = mean / deviation
    density = torch.exp(-score.square() / 2) / (2 * torch.pi) ** 0.5
    result: Tensor = deviation * density + mean * torch.special.ndtr(score)
    return result


def _correlation(one: Tensor, other: Tensor) -> float:
    a, b = one - one.mean(), other - other.mean()
    return float((a * b).sum() / (a.norm() * b.norm()).clamp_min(1e-12))
