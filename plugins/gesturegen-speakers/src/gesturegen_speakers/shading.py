"""Compiled deferred shading: one colour per pixel and part, blended over the background by coverage."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from .arrays import Array

# shading tables per kind: skin, hair, eye, cloth, teeth
SPECULAR_POWER = np.array([18, 24, 90, 24, 24], np.float32)
SPECULAR_GAIN = np.array([0.07, 0.10, 0.7, 0.025, 0.2], np.float32)
RIM_GAIN = np.array([0.10, 0.05, 0.05, 0.05, 0.05], np.float32)
# wrapped diffuse and light leaking into shadow, per kind and channel: a cheap look of light under the skin
WRAP = np.array([[0.35, 0.18, 0.12], [0.3] * 3, [0.08] * 3, [0.08] * 3, [0.08] * 3], np.float32)
LEAK = np.array([[0.35, 0.08, 0.02], [0.0] * 3, [0.0] * 3, [0.0] * 3, [0.0] * 3], np.float32)
# rows of the light table
KEY_DIR, KEY_RGB, FILL_DIR, SKY_RGB, GROUND_RGB, FILL_RGB, SHADE, GAIN = range(8)


@njit(fastmath=True, cache=True, nogil=True, inline="always")
def fetch(texels: Array, offset: int, width: int, height: int, u: float, v: float, out: Array) -> None:
    """Bilinear texture colour [3] in 0..1 at (u, v)."""
    one, zero = np.float32(1), np.float32(0)
    x = min(max(u * width - np.float32(0.5), zero), np.float32(width - 1.001))
    y = min(max((one - v) * height - np.float32(0.5), zero), np.float32(height - 1.001))
    xi, yi = int(x), int(y)
    fx, fy = np.float32(x - xi), np.float32(y - yi)
    a = offset + (yi * width + xi) * 4
    b = a + width * 4
    for c in range(3):
        top = texels[a + c] * (one - fx) + texels[a + 4 + c] * fx
        bottom = texels[b + c] * (one - fx) + texels[b + 4 + c] * fx
        out[c] = (top * (one - fy) + bottom * fy) * np.float32(1 / 255.0)


@njit(fastmath=True, cache=True, nogil=True, inline="always")
def lit_share(view: Array, depth: Array, x: float, y: float, z: float) -> np.floating[Any]:
    """Share 0..1 of key light at world point (x, y, z) from the shadow map `depth`, bilinear over four texels."""
    size = depth.shape[0]
    half, one, zero = np.float32(0.5), np.float32(1), np.float32(0)
    sx = ((view[0, 0] * x + view[0, 1] * y + view[0, 2] * z + view[0, 3]) * half + half) * size - half
    sy = (half - (view[1, 0] * x + view[1, 1] * y + view[1, 2] * z + view[1, 3]) * half) * size - half
    sz = view[2, 0] * x + view[2, 1] * y + view[2, 2] * z + view[2, 3] - np.float32(0.010)
    xi, yi = math.floor(sx), math.floor(sy)
    if xi < 0 or yi < 0 or xi >= size - 1 or yi >= size - 1:
        return one
    fx, fy = np.float32(sx - xi), np.float32(sy - yi)
    a = one if depth[yi, xi] > sz else zero
    b = one if depth[yi, xi + 1] > sz else zero
    c = one if depth[yi + 1, xi] > sz else zero
    d = one if depth[yi + 1, xi + 1] > sz else zero
    return (a * (one - fx) + b * fx) * (one - fy) + (c * (one - fx) + d * fx) * fy


@njit(fastmath=True, cache=True, nogil=True, inline="always")
def shade_point(
    kind: int,
    q: Array,
    n: Array,
    occlusion: float,
    tex: Array,
    lights: Array,
    eye: Array,
    lit: np.floating[Any],
    out: Array,
) -> None:
    """Display colour [3] of a surface point q with unit normal n and texture colour tex, all [3]."""
    zero, one = np.float32(0), np.float32(1)
    vx, vy, vz = eye[0] - q[0], eye[1] - q[1], eye[2] - q[2]
    r = one / math.sqrt(vx * vx + vy * vy + vz * vz)
    vx, vy, vz = vx * r, vy * r, vz * r
    nx, ny, nz = n[0], n[1], n[2]
    facing = nx * vx + ny * vy + nz * vz
    if facing < 0 and (kind == 1 or kind == 3):  # hair and cloth have two sides
        nx, ny, nz, facing = -nx, -ny, -nz, -facing
    lx, ly, lz = lights[KEY_DIR, 0], lights[KEY_DIR, 1], lights[KEY_DIR, 2]
    diffuse = nx * lx + ny * ly + nz * lz
    fill = nx * lights[FILL_DIR, 0] + ny * lights[FILL_DIR, 1] + nz * lights[FILL_DIR, 2]
    fill = max((fill + np.float32(0.2)) * np.float32(0.8333), zero)
    up = ny * np.float32(0.5) + np.float32(0.5)
    hx, hy, hz = lx + vx, ly + vy, lz + vz
    r = one / math.sqrt(hx * hx + hy * hy + hz * hz + np.float32(1e-12))
    half_angle = max((nx * hx + ny * hy + nz * hz) * r, zero)
    specular = half_angle ** SPECULAR_POWER[kind] * SPECULAR_GAIN[kind]
    rim = one - max(facing, zero)
    rim = rim * rim
    rim = rim * rim * RIM_GAIN[kind]
    lit = one - lights[SHADE, 0] * (one - lit)
    root = math.sqrt(lit)
    for c in range(3):
        wrap, leak = WRAP[kind, c], LEAK[kind, c]
        key = min(max((diffuse + wrap) / (one + wrap), zero), one) * (lit * (one - leak) + root * leak)
        ambient = (lights[GROUND_RGB, c] + (lights[SKY_RGB, c] - lights[GROUND_RGB, c]) * up) * occlusion
        direct = lights[KEY_RGB, c] * key * (np.float32(0.4) + np.float32(0.6) * occlusion)
        light = tex[c] * tex[c] * (direct + ambient + lights[FILL_RGB, c] * fill * occlusion)
        light += lights[KEY_RGB, c] * lit * specular + rim * lights[SKY_RGB, c] * occlusion
        light *= lights[GAIN, c]
        light = light / (one + np.float32(0.18) * light) * np.float32(1.1)
        out[c] = math.sqrt(min(light, one))


@njit(fastmath=True, cache=True, nogil=True, inline="always")
def shade_sample(
    t: int,
    sx: float,
    sy: float,
    sub: int,
    s: Array,
    world: Array,
    normal: Array,
    uv: Array,
    ao: Array,
    tri: Array,
    part: int,
    kind: int,
    offset: Array,
    width: Array,
    height: Array,
    texels: Array,
    lights: Array,
    eye: Array,
    light_view: Array,
    light_depth: Array,
    q: Array,
    n: Array,
    tex: Array,
    out: Array,
) -> None:
    """Display colour, into out [3], of triangle t seen at the sub-sample (sx, sy); q, n, tex [3] are scratch."""
    i0, i1, i2 = tri[t, 0], tri[t, 1], tri[t, 2]
    x0, y0 = s[i0, 0], s[i0, 1]
    ax, ay = s[i1, 0] - x0, s[i1, 1] - y0
    bx, by = s[i2, 0] - x0, s[i2, 1] - y0
    ia = 1 / (ax * by - bx * ay)
    px, py = sx - x0, sy - y0
    b1, b2 = (px * by - py * bx) * ia, (py * ax - px * ay) * ia
    c0, c1, c2 = (1 - b1 - b2) * s[i0, 3], b1 * s[i1, 3], b2 * s[i2, 3]
    iw = 1 / (c0 + c1 + c2)
    c0, c1, c2 = c0 * iw, c1 * iw, c2 * iw
    u = c0 * uv[i0, 0] + c1 * uv[i1, 0] + c2 * uv[i2, 0]
    v = c0 * uv[i0, 1] + c1 * uv[i1, 1] + c2 * uv[i2, 1]
    w, h, o = width[part], height[part], offset[part]
    du1, dv1, du2, dv2 = uv[i1, 0] - uv[i0, 0], uv[i1, 1] - uv[i0, 1], uv[i2, 0] - uv[i0, 0], uv[i2, 1] - uv[i0, 1]
    ratio = abs(du1 * dv2 - du2 * dv1) * w * h * abs(ia) * (sub * sub)  # texels per pixel choose the mip level
    level = 0
    while ratio > 2.5 and level < 4:
        o += w * h * 4
        w >>= 1
        h >>= 1
        ratio *= np.float32(0.25)
        level += 1
    fetch(texels, o, w, h, u, v, tex)
    for c in range(3):
        q[c] = c0 * world[i0, c] + c1 * world[i1, c] + c2 * world[i2, c]
        n[c] = c0 * normal[i0, c] + c1 * normal[i1, c] + c2 * normal[i2, c]
    r = np.float32(1 / math.sqrt(n[0] * n[0] + n[1] * n[1] + n[2] * n[2] + np.float32(1e-12)))
    for c in range(3):
        n[c] *= r
    occlusion = c0 * ao[i0] + c1 * ao[i1] + c2 * ao[i2]
    lit = lit_share(light_view, light_depth, q[0], q[1], q[2])
    shade_point(kind, q, n, occlusion, tex, lights, eye, lit, out)


@njit(fastmath=True, cache=True, nogil=True, inline="always")
def parts_of_pixel(ids: Array, x: int, y: int, sub: int, tri_part: Array, seen: Array, count: Array, at: Array) -> int:
    """Number of parts seen by the sub-samples of pixel (x, y).

    For each part: the first triangle into `seen`, its sub-sample position into `at`, the number of samples in `count`.
    """
    found = 0
    for j in range(sub):
        for i in range(sub):
            t = ids[y * sub + j, x * sub + i]
            if t < 0:
                continue
            slot = -1
            for k in range(found):
                if tri_part[seen[k]] == tri_part[t]:
                    slot = k
            if slot < 0:
                seen[found], count[found] = t, 1
                at[found, 0], at[found, 1] = x * sub + i + 0.5, y * sub + j + 0.5
                found += 1
            else:
                count[slot] += 1
    return found


@njit(fastmath=True, cache=True, nogil=True)
def shade(
    sub: int,
    ids: Array,
    s: Array,
    world: Array,
    normal: Array,
    uv: Array,
    ao: Array,
    tri: Array,
    tri_part: Array,
    part_kind: Array,
    offset: Array,
    width: Array,
    height: Array,
    texels: Array,
    lights: Array,
    eye: Array,
    light_view: Array,
    light_depth: Array,
    background: Array,
    rgb: Array,
    mask: Array,
) -> None:
    """Shade triangle ids [h*sub, w*sub] into rgb [h, w, 3] and coverage mask [h, w], both uint8.

    A pixel is shaded once per part that it sees, weighted by how many of its sub-samples show that part.
    """
    rows, columns = mask.shape
    q, n, tex = np.zeros(3, np.float32), np.zeros(3, np.float32), np.zeros(3, np.float32)
    colour, total = np.zeros(3, np.float32), np.zeros(3, np.float32)
    seen, count = np.empty(4, np.int32), np.empty(4, np.int32)
    at = np.empty((4, 2), np.float32)
    samples = np.float32(sub * sub)
    for y in range(rows):
        for x in range(columns):
            found = parts_of_pixel(ids, x, y, sub, tri_part, seen, count, at)
            total[:] = 0
            covered = 0
            for k in range(found):
                t = seen[k]
                part = tri_part[t]
                # fmt: off
                shade_sample(
                    t, at[k, 0], at[k, 1], sub, s, world, normal, uv, ao, tri, part, part_kind[part],
                    offset, width, height, texels, lights, eye, light_view, light_depth, q, n, tex, colour,
                )
                # fmt: on
                covered += count[k]
                for c in range(3):
                    total[c] += count[k] * colour[c]
            share = np.float32(covered) / samples
            mask[y, x] = np.uint8(share * 255)
            for c in range(3):
                value = total[c] / samples * np.float32(255) + (1 - share) * background[y, x, c] + np.float32(0.5)
                rgb[y, x, c] = np.uint8(min(max(value, np.float32(0)), np.float32(255)))
