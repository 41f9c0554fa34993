"""One draw call: vertices split at texture seams, with normals and four skin weights each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .arrays import Array

KINDS = {"skin": 0, "hair": 1, "eye": 2, "cloth": 3, "teeth": 4}


@dataclass(frozen=True)
class MeshPart:
    """Geometry [n] and texture of one part. `kind` chooses the shading, see KINDS."""

    name: str
    kind: str
    position: Array  # [n, 3]
    normal: Array  # [n, 3]
    uv: Array  # [n, 2]
    bone: Array  # [n, 4] bone indices
    bone_weight: Array  # [n, 4], sum 1
    triangles: Array  # [t, 3]
    texture: Array  # [h, w, 3 or 4] in 0..1


def vertex_normals(v: Array, faces: Array) -> Array:
    """Unit normals [n, 3] of a quad mesh, area weighted; a triangle repeats its last corner."""
    a, b, c, d = (v[faces[:, k]] for k in range(4))
    normal = np.cross(c - a, d - b)
    triangle = faces[:, 2] == faces[:, 3]
    normal[triangle] = np.cross(b[triangle] - a[triangle], c[triangle] - a[triangle])
    out = np.zeros_like(v)
    for k in range(4):
        np.add.at(out, faces[:, k], normal)
    return np.asarray(out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-9))


def build_part(
    name: str, kind: str, v: Array, normal: Array, vt: Array, fv: Array, ft: Array, weights: Array, texture: Array
) -> MeshPart:
    """Split vertices where texture coordinates differ, keep the four strongest bones, cut quads into triangles.

    v, normal [n, 3]; vt [m, 2]; fv, ft [f, 4]; weights [n, bones].
    """
    key = fv.astype(np.int64) * (len(vt) + 1) + ft
    unique, corner = np.unique(key.ravel(), return_inverse=True)
    corner = corner.reshape(fv.shape)
    position_of, texture_of = unique // (len(vt) + 1), unique % (len(vt) + 1)
    strongest = np.argsort(-weights[position_of], axis=1)[:, :4]
    kept = np.take_along_axis(weights[position_of], strongest, 1)
    quads = corner[corner[:, 2] != corner[:, 3]]
    return MeshPart(
        name=name,
        kind=kind,
        position=v[position_of].astype(np.float32),
        normal=normal[position_of].astype(np.float32),
        uv=vt[texture_of].astype(np.float32),
        bone=strongest.astype(np.int32),
        bone_weight=(kept / np.maximum(kept.sum(1, keepdims=True), 1e-9)).astype(np.float32),
        triangles=np.concatenate([corner[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int32),
        texture=texture,
    )
