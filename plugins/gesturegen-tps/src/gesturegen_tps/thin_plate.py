"""Thin-plate splines: maps of the plane that carry control points to given places and bend as little as they can.

T(p) = A (x, y, 1) + sum_i w_i U(|p - c_i|^2) with U(s) = s log(s + 1e-9) (Bookstein 1989; regularised as by Zhao &
Zhang 2022). Points are x, y in [-1, 1] with -1 and 1 at the centres of the corner pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

REGULARIZER = 0.01
"""Added to the whole diagonal of the system: control points are met nearly, and coincident ones do no harm."""
SIGMA_AFFINE, SIGMA_BENDING = 0.05, 0.005
"""Standard deviations of random transforms."""
RANDOM_SIDE = 5
"""Random transforms have this many control points in a row and in a column."""


@dataclass(frozen=True)
class ThinPlates:
    """Any number of thin-plate transforms; the leading axes of all tensors are the same."""

    centres: Tensor
    """Control points `... n 2`."""
    bending: Tensor
    """Weights w `... n 2`."""
    affine: Tensor
    """Rows for x, y and 1: `... 3 2`."""

    def __call__(self, points: Tensor) -> Tensor:
        """Points `... m 2` (or `m 2` for all transforms) -> where they go, `... m 2`."""
        # Sums and not matrix products, which may run in TF32 (an error of pixels).
        x, y = points[..., 0], points[..., 1]
        cx, cy = self.centres[..., 0, None], self.centres[..., 1, None]
        bend = kernel((x[..., None, :] - cx).square() + (y[..., None, :] - cy).square())
        moved = []
        for axis in (0, 1):
            a, b, c = self.affine[..., axis, None].unbind(-2)
            moved.append(a * x + b * y + c + (bend * self.bending[..., axis, None]).sum(-2))
        return torch.stack(moved, -1)


def kernel(squared: Tensor) -> Tensor:
    """U of squared distances."""
    return squared * (squared + 1e-9).log()


def fit_thin_plates(points: Tensor, values: Tensor, regularizer: float = REGULARIZER) -> ThinPlates:
    """The transforms that carry `points` `... n 2` to `values` `... n 2`, as far as the regulariser lets them.

    Solves (L + r I) W = (values, 0) with L = [[U, P], [P', 0]] and the rows (x, y, 1) of the points in P. Float32.
    """
    points, values = points.float(), values.float()
    squared = (points[..., :, None, :] - points[..., None, :, :]).square().sum(-1)
    rows = torch.cat([points, torch.ones_like(points[..., :1])], -1)
    corner = rows.new_zeros(*rows.shape[:-2], 3, 3)
    system = torch.cat([torch.cat([kernel(squared), rows], -1), torch.cat([rows.mT, corner], -1)], -2)
    system = system + regularizer * torch.eye(system.shape[-1], device=system.device)
    wanted = torch.cat([values, values.new_zeros(*values.shape[:-2], 3, 2)], -2)
    # Without a look at the errors, which would make a GPU wait; a singular system gives values that are not finite.
    solved = torch.linalg.solve_ex(system, wanted).result
    return ThinPlates(points, solved[..., :-3, :], solved[..., -3:, :])


def random_thin_plates(count: int, generator: torch.Generator, device: torch.device) -> ThinPlates:
    """`count` transforms near the identity, their control points in a regular grid; drawn from a CPU generator."""
    affine = torch.eye(3, 2) + SIGMA_AFFINE * torch.randn(count, 3, 2, generator=generator)
    bending = SIGMA_BENDING * torch.randn(count, RANDOM_SIDE**2, 2, generator=generator)
    centres = corner_grid(RANDOM_SIDE, device).reshape(1, -1, 2).expand(count, -1, -1)
    return ThinPlates(centres, bending.to(device), affine.to(device))


def corner_grid(size: int, device: torch.device) -> Tensor:
    """Centres of the pixels of a square picture, `size size 2` (x, y), the outer ones at -1 and 1."""
    places = torch.linspace(-1, 1, size, device=device)
    return torch.stack(torch.meshgrid(places, places, indexing="xy"), -1)
