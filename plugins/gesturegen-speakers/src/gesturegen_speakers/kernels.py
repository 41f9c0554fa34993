"""Compiled loops of the software renderer: skinning, projection, z-buffer at sub-sample resolution."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from .arrays import Array


@njit(fastmath=True, cache=True, nogil=True)
def skin(pos: Array, nrm: Array, bone: Array, weight: Array, matrices: Array, out: Array, out_nrm: Array) -> None:
    """Linear blend skinning of positions and normals [n, 3] with matrices [bones, 3, 4], into out and out_nrm."""
    m = np.empty((3, 4), np.float32)
    for i in range(pos.shape[0]):
        m[:] = 0
        for k in range(4):
            w = weight[i, k]
            if w > 0:
                b = bone[i, k]
                for r in range(3):
                    for c in range(4):
                        m[r, c] += w * matrices[b, r, c]
        for r in range(3):
            out[i, r] = m[r, 0] * pos[i, 0] + m[r, 1] * pos[i, 1] + m[r, 2] * pos[i, 2] + m[r, 3]
            out_nrm[i, r] = m[r, 0] * nrm[i, 0] + m[r, 1] * nrm[i, 1] + m[r, 2] * nrm[i, 2]


@njit(fastmath=True, cache=True, nogil=True)
def project(points: Array, view: Array, size: int, out: Array) -> None:
    """Project points [n, 3] by view [4, 4] into out [n, 4]: x, y (pixels, y down), depth, 1/w."""
    half = np.float32(0.5)
    for i in range(points.shape[0]):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        iw = 1 / (view[3, 0] * x + view[3, 1] * y + view[3, 2] * z + view[3, 3])
        out[i, 0] = ((view[0, 0] * x + view[0, 1] * y + view[0, 2] * z + view[0, 3]) * iw * half + half) * size
        out[i, 1] = (half - (view[1, 0] * x + view[1, 1] * y + view[1, 2] * z + view[1, 3]) * iw * half) * size
        out[i, 2] = (view[2, 0] * x + view[2, 1] * y + view[2, 2] * z + view[2, 3]) * iw
        out[i, 3] = iw


@njit(fastmath=True, cache=True, nogil=True)
def opaque(u: float, v: float, offset: int, width: int, height: int, texels: Array, threshold: int) -> bool:
    """Whether the texture's alpha at (u, v) is above `threshold` (0..255)."""
    x = min(max(int(u * width), 0), width - 1)
    y = min(max(int((1 - v) * height), 0), height - 1)
    above: bool = texels[offset + (y * width + x) * 4 + 3] > threshold
    return above


@njit(fastmath=True, cache=True, nogil=True, inline="always")
def span(a: float, b: float, c: float, size: int) -> tuple[int, int]:
    """First and last of `size` sample centres between the smallest and the largest of three coordinates."""
    half = np.float32(0.5)
    return max(math.ceil(min(a, b, c) - half), 0), min(math.floor(max(a, b, c) - half), size - 1)


@njit(fastmath=True, cache=True, nogil=True)
def rasterise(
    s: Array,
    tri: Array,
    tri_part: Array,
    part_kind: Array,
    uv: Array,
    offset: Array,
    width: Array,
    height: Array,
    texels: Array,
    depth: Array,
    ids: Array,
    shadow: bool,
) -> None:
    """Fill `depth` and triangle `ids` [h, w] from projected vertices s [n, 4].

    Skin, eyes and teeth are culled from behind. Hair and eyes test alpha against ordered thresholds over the 2x2
    sub-samples of a pixel (alpha to coverage). With `shadow`, eyes and teeth are left out and one threshold is used.
    """
    rows, columns = depth.shape
    depth[:] = 2.0
    ids[:] = -1
    half = np.float32(0.5)
    for t in range(tri.shape[0]):
        i0, i1, i2 = tri[t, 0], tri[t, 1], tri[t, 2]
        x0, y0, x1, y1 = s[i0, 0], s[i0, 1], s[i1, 0], s[i1, 1]
        x2, y2 = s[i2, 0], s[i2, 1]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        part = tri_part[t]
        kind = part_kind[part]
        inner = kind == 2 or kind == 4
        if (shadow and inner) or area == 0 or (area > 0 and (kind == 0 or inner)):  # y is down: front is negative
            continue
        xa, xb = span(x0, x1, x2, columns)
        ya, yb = span(y0, y1, y2, rows)
        if xa > xb or ya > yb:
            continue
        ia = 1 / area
        z0, z1, z2 = s[i0, 2], s[i1, 2], s[i2, 2]
        step1, step2 = (y2 - y0) * ia, -(y1 - y0) * ia
        alpha = kind == 1 or kind == 2
        for y in range(ya, yb + 1):
            py, px = y + half - y0, xa + half - x0
            b1 = (px * (y2 - y0) - py * (x2 - x0)) * ia
            b2 = (py * (x1 - x0) - px * (y1 - y0)) * ia
            for x in range(xa, xb + 1):
                if b1 >= 0 and b2 >= 0 and b1 + b2 <= 1:
                    z = z0 + b1 * (z1 - z0) + b2 * (z2 - z0)
                    if z < depth[y, x]:
                        hit = True
                        if alpha:
                            b0 = 1 - b1 - b2
                            u = b0 * uv[i0, 0] + b1 * uv[i1, 0] + b2 * uv[i2, 0]
                            v = b0 * uv[i0, 1] + b1 * uv[i1, 1] + b2 * uv[i2, 1]
                            threshold = 110 if shadow else 40 + 52 * ((x & 1) * 2 + (y & 1) ^ ((x >> 1) & 1))
                            hit = opaque(u, v, offset[part], width[part], height[part], texels, threshold)
                        if hit:
                            depth[y, x], ids[y, x] = z, t
                b1 += step1
                b2 += step2
