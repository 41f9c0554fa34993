"""Loss functions on joints, heat maps, flows and pictures. Pure; float32; coordinates as in `nn/warp.py`."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def joint_loss(joints: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Smooth L1 (linear beyond 0.02) of joints `b k 2`, mean under `weight` `b k`.

    Targets far outside the picture are clamped to 1.4: how far a joint is away there cannot be seen.
    """
    distance = F.smooth_l1_loss(joints, target.clamp(-1.4, 1.4), beta=0.02, reduction="none").sum(-1)
    return (distance * weight).mean()


def heatmap_loss(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Cross entropy of heat maps `b k g g` with joints `b k 2`, each split bilinearly over its four nearest cells."""
    side = logits.shape[-1]
    log_probabilities = logits.flatten(2).log_softmax(-1)
    position = (target + 1) * (side / 2) - 0.5
    cell = position.floor()
    part = position - cell
    loss = torch.zeros_like(part[..., 0])
    for dx in (0, 1):
        for dy in (0, 1):
            share = (part[..., 0] if dx else 1 - part[..., 0]) * (part[..., 1] if dy else 1 - part[..., 1])
            x = (cell[..., 0] + dx).long().clamp(0, side - 1)
            y = (cell[..., 1] + dy).long().clamp(0, side - 1)
            loss = loss - share * log_probabilities.gather(2, (y * side + x)[..., None])[..., 0]
    return weighted_mean(loss, weight)


def flow_loss(grid: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """L1 between flows `b g g 2`, in cells of the g x g grid and at most 12, mean under `weight` `b g g`."""
    cells = (grid - target).abs().sum(-1) * (grid.shape[1] / 2)
    return weighted_mean(cells.clamp_max(12), weight)


def gradient_loss(image: Tensor, target: Tensor, scales: int = 3) -> Tensor:
    """L1 between the x and y differences of pictures `b c h w`, summed over scales (each half the one before)."""
    loss = image.new_zeros(())
    for scale in range(scales):
        if scale:
            image, target = F.avg_pool2d(image, 2), F.avg_pool2d(target, 2)
        for axis in (2, 3):
            loss = loss + (image.diff(dim=axis) - target.diff(dim=axis)).abs().mean()
    return loss


def texture_loss(image: Tensor, target: Tensor, weight: Tensor | None = None, side: int = 5) -> Tensor:
    """L1 between the standard deviations of pictures `b c h w` in squares of `side` pixels, times `weight` as below.

    Where colours cannot be known, L1 on them is least for a blur; this one is least for as much contrast as there is.
    """

    def contrast(pictures: Tensor) -> Tensor:
        mean, square = (F.avg_pool2d(x, side, 1, side // 2, count_include_pad=False) for x in (pictures, pictures**2))
        return ((square - mean**2).clamp_min(0) + 1e-4).sqrt()

    return image_loss(contrast(image), contrast(target), weight)


def image_loss(image: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """L1 between pictures `b c h w`, times `weight` `b 1 h w` where given (not divided by it)."""
    difference = (image - target).abs()
    return (difference if weight is None else difference * weight).mean()


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Mean of `values` under `weight` of the same shape; 0 where all weights are 0."""
    return (values * weight).sum() / weight.sum().clamp_min(1e-6)
