"""Pairs of pictures of one scene: a square and a disc in front of a still background, in two places each."""

from __future__ import annotations

import torch
from torch import Tensor


def make_pairs(count: int, draw: torch.Generator, size: int = 64) -> dict[str, Tensor]:
    """A batch of pairs as the core makes them, `count 3 size size` each."""
    coarse = torch.rand(count, 3, 4, 4, generator=draw)
    still = 0.5 * torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic", align_corners=True).clamp(0, 1)
    places = torch.rand(2, 2, count, 2, generator=draw) - 0.5  # frame, shape, pair, axis
    frames = [_draw(still, place) for place in places]
    return {"source": frames[0], "driving": frames[1], "source_input": frames[0], "driving_input": frames[1]}


def _draw(still: Tensor, places: Tensor) -> Tensor:
    size = still.shape[-1]
    axis = torch.linspace(-1, 1, size)
    dx = axis - places[..., 0, None, None]
    dy = axis[:, None] - places[..., 1, None, None]
    square = torch.sigmoid(30 * (0.35 - torch.maximum(dx[0].abs(), dy[0].abs())))[:, None]
    disc = torch.sigmoid(30 * (0.35 - (dx[1].square() + dy[1].square()).sqrt()))[:, None]
    picture = torch.lerp(still, torch.tensor([1.0, 0.8, 0.1])[:, None, None].expand_as(still), square)
    stripes = 0.6 + 0.4 * torch.sin(20 * dx[1])[:, None] * torch.ones_like(disc)
    return torch.lerp(picture, torch.cat([0.1 * stripes, stripes, stripes], 1), disc)
