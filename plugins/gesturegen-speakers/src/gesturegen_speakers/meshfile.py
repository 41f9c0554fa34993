"""Readers for the text formats of the CC0 assets: .obj meshes, .target morphs and .mhclo proxies.

Units are decimetres, y up, the person looks along +z, the person's left is +x.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gesturegen_cli.errors import InputError

from .arrays import Array


@dataclass(frozen=True)
class Mesh:
    """Quads with separate position and texture indices; a triangle repeats its last corner."""

    v: Array  # [n, 3] positions
    vt: Array  # [m, 2] texture coordinates, v axis up
    fv: Array  # [f, 4] corner -> position
    ft: Array  # [f, 4] corner -> texture coordinate
    group: Array  # [f] group name


@dataclass(frozen=True)
class Morph:
    """Sparse offsets: base[index] += weight * delta."""

    index: Array  # [k]
    delta: Array  # [k, 3]


@dataclass(frozen=True)
class Proxy:
    """A mesh bound to the base mesh: clothes, hair, eyes, teeth, brows, lashes."""

    mesh: Mesh
    index: Array  # [n, 3] base vertices of every proxy vertex
    weight: Array  # [n, 3]
    offset: Array  # [n, 3]
    scale: dict[int, tuple[int, int, float]]  # axis -> base vertices whose distance scales the offsets
    hidden: Array  # base vertices that the proxy covers

    def fit(self, base: Array) -> Array:
        """Positions [n, 3] of the proxy on the morphed base mesh [b, 3]."""
        scale = np.ones(3, np.float32)
        for axis, (a, b, distance) in self.scale.items():
            scale[axis] = abs(base[a, axis] - base[b, axis]) / distance
        return np.asarray((base[self.index] * self.weight[:, :, None]).sum(1) + self.offset * scale)

    def skin_weights(self, base_weights: Array) -> Array:
        """Skin weights [n, bones] as the same mix of the base weights [b, bones]."""
        mix = np.clip(self.weight, 0, None)
        mix = mix / np.maximum(mix.sum(1, keepdims=True), 1e-6)
        return np.asarray(sum(mix[:, k : k + 1] * base_weights[self.index[:, k]] for k in range(3)))


def load_obj(path: Path) -> Mesh:
    """Read the vertices, texture coordinates, groups and faces (3 or 4 corners) of an .obj file."""
    v: list[list[float]] = []
    vt: list[list[float]] = []
    fv: list[list[int]] = []
    ft: list[list[int]] = []
    groups: list[str] = []
    group = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        words = line.split()
        if not words:
            continue
        if words[0] == "v":
            v.append([float(x) for x in words[1:4]])
        elif words[0] == "vt":
            vt.append([float(x) for x in words[1:3]])
        elif words[0] == "g":
            group = words[1] if len(words) > 1 else ""
        elif words[0] == "f":
            corners = [corner.split("/") for corner in words[1:5]]
            corners += corners[-1:] * (4 - len(corners))
            fv.append([int(c[0]) - 1 for c in corners])
            ft.append([int(c[1]) - 1 if len(c) > 1 and c[1] else 0 for c in corners])
            groups.append(group)
    texture = np.array(vt, np.float32).reshape(-1, 2)
    return Mesh(np.array(v, np.float32), texture, np.array(fv, np.int32), np.array(ft, np.int32), np.array(groups))


def load_morph(path: Path) -> Morph:
    """Read a .target file: lines 'index dx dy dz', '#' starts a comment."""
    rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    rows = [row for row in rows if len(row) == 4]
    index = np.array([int(row[0]) for row in rows], np.int32)
    return Morph(index, np.array([row[1:] for row in rows], np.float32).reshape(-1, 3))


def load_proxy(path: Path) -> Proxy:
    """Read a .mhclo file and the mesh it names.

    Raises InputError when the mesh and the binding disagree.
    """
    index: list[list[int]] = []
    weight: list[list[float]] = []
    offset: list[list[float]] = []
    hidden: list[int] = []
    scale: dict[int, tuple[int, int, float]] = {}
    section, mesh_name = "", ""
    for line in path.read_text(encoding="utf-8").splitlines():
        words = line.split("#")[0].split()
        if not words:
            continue
        key = words[0]
        if key in ("verts", "delete_verts"):
            section = key
        elif key == "obj_file":
            mesh_name = words[1]
        elif key in ("x_scale", "y_scale", "z_scale"):
            scale["xyz".index(key[0])] = (int(words[1]), int(words[2]), float(words[3]))
        elif key[0].isalpha():  # other keys; some files put one between "verts" and its rows
            section = "" if section == "delete_verts" else section
        elif section == "verts":
            glued = len(words) == 1
            index.append([int(key)] * 3 if glued else [int(x) for x in words[:3]])
            weight.append([1.0, 0.0, 0.0] if glued else [float(x) for x in words[3:6]])
            offset.append([float(x) for x in words[6:9]] if len(words) >= 9 else [0.0, 0.0, 0.0])
        elif section == "delete_verts":
            for a, b in re.findall(r"(\d+)(?:\s*-\s*(\d+))?", " ".join(words)):
                hidden.extend(range(int(a), int(b or a) + 1))
    mesh = load_obj(path.parent / mesh_name)
    if len(mesh.v) != len(index):
        raise InputError(
            f"{path.name}: {len(index)} bound vertices, but {mesh_name} has {len(mesh.v)}",
            hint="the asset folder is damaged; copy it again",
        )
    arrays = (np.array(index, np.int32), np.array(weight, np.float32), np.array(offset, np.float32))
    return Proxy(mesh, *arrays, scale, np.array(hidden, np.int32))
