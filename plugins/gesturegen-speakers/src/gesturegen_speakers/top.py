"""Procedural shirts and jumpers, grown from the body suit ('helper-tights') of the base mesh."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from .arrays import Array, unit
from .assets import Assets
from .clothes import fabric, random_fabric_colour
from .mesh_part import MeshPart, build_part, vertex_normals

Fields = dict[str, Array]

_ARM = ("upperarm", "lowerarm", "wrist", "metacarpal", "finger")
_HEAD = (
    *("head", "neck", "jaw", "oris", "special", "temporalis", "levator"),
    *("risorius", "oculi", "orbicularis", "tongue", "eye"),
)


@dataclass(frozen=True)
class _Cut:
    """Where the top ends: sleeve limit (0 shoulder, 1 elbow, 2 wrist), neck line and hip height per base vertex."""

    sleeve: float
    neck: Array
    hip: float
    turtle: bool


def build_top(assets: Assets, base: Array, head: Array, lowest: float, kind: str, seed: int) -> tuple[MeshPart, Array]:
    """A top of `kind` (long, short, threequarter, turtle) on the morphed base mesh.

    base [n, 3], head: bone heads [bones, 3]; nothing is made below the height `lowest`. Returns the part and the mask
    [n] of base vertices that it hides.
    """
    rng = np.random.default_rng(seed)
    index = assets.skeleton.index
    arm_weight = _weight_of(assets, _ARM)
    on_arm = arm_weight > 0.5
    along, around = _arm_coordinates(base, head, index)
    cut = _sample_cut(rng, base, head, index, kind)
    suit = assets.mesh.group == "helper-tights"
    faces = assets.mesh.fv[suit]
    faces = faces[~(base[faces][:, :, 1] < lowest).all(1)]
    triangles = np.concatenate([faces[:, [0, 1, 2]], faces[:, [0, 2, 3]]])
    normal = vertex_normals(base, assets.mesh.fv)
    fields = {
        "v": _inflate(base, normal, head, index, cut.hip, arm_weight, rng.uniform(0.03, 0.15)),
        "n": normal,
        "w": assets.weights,
        "uv": _texture_coordinates(base, on_arm, along, around),
        # signed fields, positive = covered: triangles are clipped exactly where they cross zero
        "sleeve": np.where(on_arm, (cut.sleeve - along) * 2.6, 9.0),
        "neck": np.where(on_arm & (along > 0.15), 9.0, cut.neck - base[:, 1]),
        "hip": np.where(on_arm, 9.0, base[:, 1] - cut.hip),
    }
    fields, triangles = clip_triangles(fields, triangles, "sleeve")
    fields, triangles = clip_triangles(fields, triangles, "neck")
    part = _assemble(fields, triangles, _top_texture(rng))
    margin = np.where(on_arm, along < cut.sleeve - 0.12, base[:, 1] < cut.neck - 0.22)
    hidden = margin & ((_weight_of(assets, _HEAD) < 0.97) | cut.turtle)
    hidden &= ~np.isin(np.arange(len(base)), np.unique(assets.mesh.fv[suit]))
    return part, hidden


def _weight_of(assets: Assets, prefixes: tuple[str, ...]) -> Array:
    columns = [i for bone, i in assets.skeleton.index.items() if bone.startswith(prefixes)]
    return np.asarray(assets.weights[:, columns].sum(1))


def _arm_coordinates(base: Array, head: Array, index: dict[str, int]) -> tuple[Array, Array]:
    """Position along the arm (0 shoulder, 1 elbow, 2 wrist) and signed distance from its bending plane."""
    along, around = np.zeros(len(base)), np.zeros(len(base))
    for side, sign in (("L", 1), ("R", -1)):
        shoulder, elbow, wrist = (head[index[f"{bone}.{side}"]] for bone in ("upperarm01", "lowerarm01", "wrist"))
        upper, fore = elbow - shoulder, wrist - elbow
        t_upper, t_fore = (base - shoulder) @ upper / (upper @ upper), (base - elbow) @ fore / (fore @ fore)
        t = np.where(t_fore > 0, 1 + np.clip(t_fore, 0, 2), np.clip(t_upper, -1, 1))
        mine = base[:, 0] * sign > 0
        along[mine] = t[mine]
        around[mine] = ((base - shoulder) @ unit(np.cross(upper, fore)))[mine]
    return along, around


def _sample_cut(rng: np.random.Generator, base: Array, head: Array, index: dict[str, int], kind: str) -> _Cut:
    sleeves = {
        "long": 1.93,
        "turtle": 1.93,
        "short": rng.uniform(0.45, 0.8),
        "threequarter": rng.uniform(1.2, 1.5),
    }
    turtle = kind == "turtle"
    neck = head[index["neck01"]]
    collar = 0.55 if turtle else rng.uniform(-0.12, 0.12)
    depth = rng.uniform(0, 1.1) if not turtle and rng.random() < 0.5 else 0.0
    front = np.clip(base[:, 2] - neck[2], 0, 1)
    v_shape = depth * front * np.clip(1 - np.abs(base[:, 0]) / 0.75, 0, 1)
    line = neck[1] + collar - front * (0.25 if turtle else 0.55) - v_shape
    return _Cut(sleeves[kind], line, head[index["upperleg01.L"], 1] + rng.uniform(-0.2, 0.35), turtle)


def _inflate(
    base: Array, normal: Array, head: Array, index: dict[str, int], hip: float, arm_weight: Array, loose: float
) -> Array:
    """Push the suit outwards: looser at the belly, tight at the shoulders, thin below the hem."""
    neck_height = head[index["neck01"], 1]
    thick = loose * (1 + 0.6 * np.clip((neck_height - 0.6 - base[:, 1]) / 5, 0, 1))
    thick = thick * (1 - 0.25 * np.clip(arm_weight, 0, 1))
    joints = [head[index[f"upperarm01.{side}"]] for side in "LR"]
    near = np.minimum(*[np.linalg.norm(base - joint, axis=1) for joint in joints])
    thick = thick * np.clip(0.35 + 0.65 * (near - 0.6) / 1.4, 0.35, 1)
    return np.asarray(base + normal * np.where((base[:, 1] > hip) | (arm_weight > 0.5), thick, 0.03)[:, None])


def _texture_coordinates(base: Array, on_arm: Array, along: Array, around: Array) -> Array:
    """Cylinder around the trunk or along the sleeve, in the left half of the texture."""
    angle = np.arctan2(base[:, 0], base[:, 2] + 0.3) / np.pi
    u = np.where(on_arm, 0.25 + around * 0.04, 0.25 + 0.24 * angle)
    v = np.where(on_arm, 0.97 - along * 0.2, np.clip((base[:, 1] + 1) / 8.5, 0, 1))
    return np.stack([u, v], 1)


def _assemble(fields: Fields, triangles: Array, texture: Array) -> MeshPart:
    """Top above the hip line with a hem lying over the trousers, which use the right half of the texture."""
    upper, upper_triangles = clip_triangles(fields, triangles, "hip")
    lower, lower_triangles = clip_triangles({**fields, "hip": -fields["hip"]}, triangles, "hip")
    upper["v"] = upper["v"] + upper["n"] * 0.03 * (upper["hip"] < 0.3)[:, None]
    lower["uv"] = lower["uv"] * np.array([0.9, 1]) + np.array([0.52, 0])
    both = {key: np.concatenate([upper[key], lower[key]]) for key in ("v", "n", "w", "uv")}
    triangles = np.concatenate([upper_triangles, lower_triangles + len(upper["v"])])
    used, inverse = np.unique(triangles, return_inverse=True)
    faces = inverse.reshape(triangles.shape)
    faces = np.concatenate([faces, faces[:, 2:]], 1)
    v, n, w, uv = (both[key][used] for key in ("v", "n", "w", "uv"))
    return build_part("clothes", "cloth", v, n, uv, faces, faces, w, texture)


def _top_texture(rng: np.random.Generator, size: int = 512) -> Array:
    """Left half: the top's fabric; right half: darker trousers; soft folds over both."""
    half = size // 2
    image = np.empty((size, size, 3), np.float32)
    image[:, :half] = fabric(rng, size, half, random_fabric_colour(rng))
    image[:, half:] = np.clip(random_fabric_colour(rng) * 0.5 + rng.normal(0, 0.012, (size, half, 1)), 0, 1)
    folds = np.zeros((size, size))
    for sigma in ((14, 5), (4, 11)):
        layer = gaussian_filter(rng.normal(size=(size, size)), sigma)
        folds += layer / layer.std()
    return np.clip(image * (1 + rng.uniform(0.02, 0.07) * folds)[..., None], 0, 1).astype(np.float32)


def clip_triangles(fields: Fields, triangles: Array, key: str) -> tuple[Fields, Array]:
    """Keep the part of the triangles [t, 3] where the vertex field `key` is positive.

    New vertices on cut edges get all `fields` interpolated; cut polygons are fanned into triangles.
    """
    value = fields[key]
    positive = value > 0
    corners = positive[triangles].sum(1)
    new: dict[tuple[int, int], int] = {}
    cut: list[tuple[int, int, int]] = []
    for triangle in triangles[(corners == 1) | (corners == 2)].tolist():
        polygon: list[int] = []
        for a, b in zip(triangle, triangle[1:] + triangle[:1], strict=True):
            if positive[a]:
                polygon.append(a)
            if positive[a] != positive[b]:
                edge = (min(a, b), max(a, b))
                polygon.append(new.setdefault(edge, len(value) + len(new)))
        cut += [(polygon[0], polygon[i], polygon[i + 1]) for i in range(1, len(polygon) - 1)]
    whole = triangles[corners == 3]
    if not cut:
        return fields, whole
    a, b = np.array(list(new)).T
    t = value[a] / (value[a] - value[b])
    grown = {}
    for name, x in fields.items():
        s = t.reshape(-1, *[1] * (x.ndim - 1))
        grown[name] = np.concatenate([x, x[a] * (1 - s) + x[b] * s])
    return grown, np.concatenate([whole, np.array(cut, triangles.dtype)])
