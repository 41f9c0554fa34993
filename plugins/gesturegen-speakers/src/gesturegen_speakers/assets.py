"""The CC0 asset folder: base mesh, rig, face units, morphs, proxies and textures, loaded once per process."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.spatial.transform import Rotation

from gesturegen_cli.errors import InputError

from .arrays import Array
from .meshfile import Mesh, Morph, Proxy, load_morph, load_obj, load_proxy

ENV = "CC0_PEOPLE"
_REQUIRED = (
    "base/base.obj",
    "rig/default.mhskel",
    "rig/default_weights.mhw",
    "face/face-poseunits.bvh",
    "face/face-poseunits.json",
    "targets/macro",
    "clothes",
    "hair",
    "eyebrows",
    "eyelashes",
    "eyes/textures",
    "skins",
    "teeth/teeth_base",
)
_DETAILS = ("nose", "mouth", "chin", "cheek", "eyes", "eyebrows", "forehead", "head", "ears", "neck")


@dataclass(frozen=True)
class Skeleton:
    """Bones, parents first. A joint is the mean of a few base vertices, so it follows every morph."""

    bones: tuple[str, ...]
    parent: Array  # [bones], -1 for the root
    head_vertices: tuple[Array, ...]
    tail_vertices: tuple[Array, ...]
    index: dict[str, int]


@dataclass(frozen=True)
class Assets:
    """Everything read from the folder; morphs, proxies and images are cached as they are asked for."""

    root: Path
    mesh: Mesh
    skeleton: Skeleton
    weights: Array  # [base vertices, bones]
    face_units: dict[str, Array]  # unit -> rotation vector per bone [bones, 3]
    _cache: dict[tuple[str, ...], Any] = field(default_factory=dict, repr=False, compare=False)

    def morph(self, name: str) -> Morph:
        """Morph by its path below targets/, without the suffix."""
        key = ("morph", name)
        if key not in self._cache:
            self._cache[key] = load_morph(self.root / "targets" / f"{name}.target")
        morph: Morph = self._cache[key]
        return morph

    def proxy(self, kind: str, name: str) -> Proxy:
        """Proxy `name` of a folder such as 'clothes' or 'hair'."""
        key = ("proxy", kind, name)
        if key not in self._cache:
            self._cache[key] = load_proxy(self.root / kind / name / f"{name}.mhclo")
        proxy: Proxy = self._cache[key]
        return proxy

    def image(self, relative: str, mode: str = "RGB") -> Array:
        """Image as float [h, w, channels] in 0..1 (a fresh copy)."""
        with Image.open(self.root / relative) as picture:
            return np.asarray(picture.convert(mode), np.float32) / 255

    def names(self, kind: str) -> list[str]:
        """Sorted names of the assets of one folder."""
        return sorted(p.name for p in (self.root / kind).iterdir())

    def details(self) -> dict[str, list[str]]:
        """Morphs of the face and head, left/right pairs merged: key -> morph names."""
        out: dict[str, list[str]] = {}
        for folder in _DETAILS:
            for path in sorted((self.root / "targets" / folder).glob("*.target")):
                stem = path.stem
                key = f"{folder}/{stem[2:] if stem[:2] in ('l-', 'r-') else stem}"
                out.setdefault(key, []).append(f"{folder}/{stem}")
        return out


def find_assets(given: Path | None) -> Path:
    """The asset folder from the option or the environment variable CC0_PEOPLE, checked for its main files.

    Raises InputError when it is not named, does not exist or is incomplete.
    """
    value = given if given is not None else os.environ.get(ENV)
    hint = f"point --assets (or {ENV}) to the folder that holds base/, rig/, clothes/, skins/ ...; see the README"
    if value is None:
        raise InputError("no asset folder given", hint=hint)
    root = Path(value)
    if not root.is_dir():
        raise InputError(f"asset folder not found: {root}", hint=hint)
    missing = [name for name in _REQUIRED if not (root / name).exists()]
    if missing:
        raise InputError(f"asset folder {root} lacks {', '.join(missing)}", hint=hint)
    return root.resolve()


def load_assets(root: Path) -> Assets:
    """Read the base mesh, rig, skin weights and face units below `root`."""
    mesh = load_obj(root / "base/base.obj")
    skeleton = _load_skeleton(root / "rig/default.mhskel")
    weights = _load_weights(root / "rig/default_weights.mhw", len(mesh.v), skeleton)
    units = _load_face_units(root / "face/face-poseunits.bvh", root / "face/face-poseunits.json", skeleton.index)
    return Assets(root, mesh, skeleton, weights, units)


def _load_skeleton(path: Path) -> Skeleton:
    data = json.loads(path.read_text(encoding="utf-8"))
    bones, joints = data["bones"], data["joints"]
    order: list[str] = []
    left = dict(bones)
    while left:  # the file does not list parents before children
        ready = [name for name, bone in left.items() if not bone["parent"] or bone["parent"] in order]
        order += ready
        for name in ready:
            del left[name]
    index = {name: i for i, name in enumerate(order)}
    parent = np.array([index[bones[n]["parent"]] if bones[n]["parent"] else -1 for n in order])
    heads = tuple(np.array(joints[bones[n]["head"]]) for n in order)
    tails = tuple(np.array(joints[bones[n]["tail"]]) for n in order)
    return Skeleton(tuple(order), parent, heads, tails, index)


def _load_weights(path: Path, vertices: int, skeleton: Skeleton) -> Array:
    weights = np.zeros((vertices, len(skeleton.bones)), np.float32)
    for bone, rows in json.loads(path.read_text(encoding="utf-8"))["weights"].items():
        if rows:
            table = np.array(rows)
            weights[table[:, 0].astype(int), skeleton.index[bone]] = table[:, 1]
    weights[weights.sum(1) == 0, 0] = 1
    return np.asarray(weights / np.maximum(weights.sum(1, keepdims=True), 1e-6))


def _load_face_units(bvh: Path, names: Path, index: dict[str, int]) -> dict[str, Array]:
    """Frame k of the motion file is the k-th unit of the name list; rotations become rotation vectors, y up."""
    joints: list[str] = []
    channels: list[list[str]] = []
    head, _, motion = bvh.read_text(encoding="utf-8").partition("MOTION")
    for line in head.splitlines():
        words = line.split()
        if words and words[0] in ("ROOT", "JOINT"):
            joints.append(words[1])
        elif words and words[0] == "CHANNELS":
            channels.append(words[2:])
    rows = [np.array(line.split(), float) for line in motion.splitlines()[3:] if line.strip()]
    units: dict[str, Array] = {}
    for name, row in zip(json.loads(names.read_text(encoding="utf-8"))["framemapping"], rows, strict=False):
        turn = np.zeros((len(index), 3), np.float32)
        start = 0
        for joint, channel in zip(joints, channels, strict=True):
            values = row[start : start + len(channel)]
            start += len(channel)
            rotations = [(c[0], value) for c, value in zip(channel, values, strict=True) if c.endswith("rotation")]
            angles = np.array([value for _, value in rotations])
            if joint in index and np.abs(angles).max() > 0.01:
                axes = "".join(axis for axis, _ in rotations)
                x, y, z = Rotation.from_euler(axes, angles, degrees=True).as_rotvec()
                turn[index[joint]] = (x, z, -y)  # the file is z-up
        units[name] = turn
    return units
