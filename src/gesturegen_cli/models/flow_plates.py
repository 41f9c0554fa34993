"""What the `flow` model shows where an arm uncovers something: the background, and the torso, completed beforehand.

A plate is the source picture with everything that is not of one layer replaced by colours from around it. It has no
parameters. Hidden places of the output take it in so far as the flow says that this layer is seen there.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from gesturegen_cli.models.speaker_anatomy import LAYERS
from gesturegen_cli.nn.conv import double_linear

BEHIND: tuple[int, ...] = (LAYERS.index("background"), LAYERS.index("torso"))
"""The layers that have a plate: those that arms and heads uncover."""
DOUBTFUL, SURE = 0.7, 0.9
"""Probabilities of a layer up to which a place does not belong to it, and from which it does."""
MARGIN = 3 / 256
"""How far from other layers, in shares of the picture's side: outlines mix the colours of two layers."""


def layer_plates(pictures: Tensor, layer_logits: Tensor) -> Tensor:
    """Sources `b 3 s s` and their layers `b 13 g g` -> plates `b 2 3 s s`, of the layers in BEHIND; no gradients."""
    with torch.no_grad():
        size = pictures.shape[-1]
        shares = F.interpolate(layer_logits.float().softmax(1)[:, list(BEHIND)], (size, size), mode="bilinear")
        reach = 2 * max(1, round(MARGIN * size)) + 1
        others = ((SURE - shares) / (SURE - DOUBTFUL)).clamp(0, 1)
        own = 1 - F.max_pool2d(others, reach, 1, reach // 2)
        return torch.stack([fill_around(pictures.float(), own[:, [i]]) for i in range(len(BEHIND))], 1)


def fill_around(pictures: Tensor, known: Tensor) -> Tensor:
    """Pictures `b c s s` with places that are not `known` `b 1 s s` (0 to 1) filled from around them, smoothly.

    Means of what is known at half the size, a quarter and so on fill the next larger size (the pull and push of
    Gortler et al., The Lumigraph, 1996); the mean of all fills the smallest. Where nothing is known, all is black.
    """
    if pictures.shape[-1] % 2:
        mean = (pictures * known).sum((2, 3), keepdim=True) / known.sum((2, 3), keepdim=True).clamp_min(1e-6)
        return torch.lerp(mean.expand_as(pictures), pictures, known)
    weight = F.avg_pool2d(known, 2)
    half = F.avg_pool2d(pictures * known, 2) / weight.clamp_min(1e-6)
    filled = double_linear(fill_around(half, (4 * weight).clamp_max(1)))
    return torch.lerp(filled, pictures, known)


def hidden_shares(layer_logits: Tensor, visibility_logits: Tensor) -> Tensor:
    """Layers `b 13 g g` and visibility `b 1 g g` of a flow -> how much of each place is a plate's, `b 2 g g`."""
    return layer_logits.softmax(1)[:, list(BEHIND)] * torch.sigmoid(-visibility_logits)
