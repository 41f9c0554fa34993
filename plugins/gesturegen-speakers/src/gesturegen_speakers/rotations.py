"""Rotations as 3x3 matrices, for whole clips at once: every function broadcasts over leading axes."""

from __future__ import annotations

import numpy as np

from .arrays import Array, unit


def about_axis(axis: Array, angle: Array | float) -> Array:
    """Rotations [..., 3, 3] by `angle` [...] radians about unit vectors `axis` [..., 3] (Rodrigues' formula)."""
    axis, angle = np.asarray(axis, float), np.asarray(angle, float)
    shape = np.broadcast_shapes(axis.shape[:-1], angle.shape)
    cross = np.zeros((*axis.shape[:-1], 3, 3))
    x, y, z = axis[..., 0], axis[..., 1], axis[..., 2]
    cross[..., 0, 1], cross[..., 0, 2], cross[..., 1, 2] = -z, y, -x
    cross[..., 1, 0], cross[..., 2, 0], cross[..., 2, 1] = z, -y, x
    sine, cosine = np.sin(angle)[..., None, None], np.cos(angle)[..., None, None]
    return np.broadcast_to(np.eye(3) + sine * cross + (1 - cosine) * (cross @ cross), (*shape, 3, 3))


def from_vector(vector: Array) -> Array:
    """Rotations [..., 3, 3] of rotation vectors [..., 3] (axis times angle in radians)."""
    vector = np.asarray(vector, float)
    return about_axis(unit(vector), np.linalg.norm(vector, axis=-1))


def swing(a: Array, b: Array) -> Array:
    """Smallest rotations [..., 3, 3] that take unit vectors `a` to unit vectors `b`."""
    axis = np.cross(a, b)
    sine = np.linalg.norm(axis, axis=-1)
    return about_axis(axis / np.maximum(sine, 1e-9)[..., None], np.arctan2(sine, (a * b).sum(-1)))


def frame(x: Array, y: Array) -> Array:
    """Frames [..., 3, 3] with the columns x, y, x cross y."""
    return np.stack([x, y, np.cross(x, y)], -1)


def chain(parent: Array, pivot: Array, local: Array) -> Array:
    """Affine matrices [..., 3, 4]: rotate by `local` [..., 3, 3] about `pivot` [3], then apply `parent` [..., 3, 4]."""
    turn = parent[..., :3]
    shift = np.einsum("...ij,...j->...i", turn, pivot - local @ pivot) + parent[..., 3]
    return np.concatenate([turn @ local, shift[..., None]], -1)
