"""A person ready to be posed and drawn: morphed base mesh, fitted proxies, rest skeleton, textures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .arrays import Array
from .assets import Assets
from .clothes import outfit_texture, randomise_fabric
from .mesh_part import MeshPart, build_part, vertex_normals
from .person_spec import PersonSpec, macro_weights
from .textures import eye_texture, recolour, skin_texture
from .top import build_top

_LASHES = np.array([0.05, 0.04, 0.035])


@dataclass(frozen=True)
class Person:
    """One morphed person in the rest pose; decimetres."""

    assets: Assets
    spec: PersonSpec
    base: Array  # [n, 3] all base vertices
    head: Array  # [bones, 3] bone heads
    tail: Array  # [bones, 3] bone tails
    cut_height: float  # nothing is drawn below
    parts: tuple[MeshPart, ...]


def build_person(assets: Assets, spec: PersonSpec, rng: np.random.Generator, below_hips: float = 0.6) -> Person:
    """Morph, dress and paint the person of `spec`; `rng` may replace fabrics by random textures.

    Nothing is drawn lower than `below_hips` decimetres under the hip joints.
    """
    base = assets.mesh.v.copy()
    for name, weight in [*macro_weights(spec), *((name, w) for names, w in spec.details for name in names)]:
        morph = assets.morph(name)
        base[morph.index] += weight * morph.delta
    skeleton = assets.skeleton
    head = np.stack([base[v].mean(0) for v in skeleton.head_vertices]).astype(np.float32)
    tail = np.stack([base[v].mean(0) for v in skeleton.tail_vertices]).astype(np.float32)
    cut = float(head[skeleton.index["upperleg01.L"], 1]) - below_hips
    hidden = np.zeros(len(base), bool)
    if spec.clothes is None:
        clothes, covered = build_top(assets, base, head, cut, spec.top, spec.cloth_seed)
        hidden |= covered
    else:
        hidden[assets.proxy("clothes", spec.clothes).hidden] = True
        texture = outfit_texture(assets, spec.clothes, spec.cloth_seed)
        clothes = _proxy_part(assets, base, cut, "clothes", spec.clothes, "cloth", texture)
    # the right half of a procedural top's texture belongs to the trousers
    painted = clothes.texture.shape[1] // (2 if spec.clothes is None and rng.random() < 0.7 else 1)
    parts = [randomise_fabric(clothes, rng, painted), *_face_parts(assets, spec, base, cut)]
    if spec.hair is not None:
        hidden[assets.proxy("hair", spec.hair).hidden] = True
        texture = recolour(assets.image(f"hair/{spec.hair}/diffuse.png", "RGBA"), spec.hair_rgb)
        parts.append(_proxy_part(assets, base, cut, "hair", spec.hair, "hair", texture))
    body = _body_part(assets, spec, base, hidden, cut)
    return Person(assets, spec, base, head, tail, cut, (body, *parts))


def _body_part(assets: Assets, spec: PersonSpec, base: Array, hidden: Array, cut: float) -> MeshPart:
    mesh = assets.mesh
    body = mesh.group == "body"
    drawn = body & ~hidden[mesh.fv].all(1) & ~(base[mesh.fv][:, :, 1] < cut).all(1)
    normal = vertex_normals(base, mesh.fv[body])
    texture = skin_texture(assets, spec)
    return build_part("body", "skin", base, normal, mesh.vt, mesh.fv[drawn], mesh.ft[drawn], assets.weights, texture)


def _face_parts(assets: Assets, spec: PersonSpec, base: Array, cut: float) -> list[MeshPart]:
    """Eyes, teeth, brows and lashes. The tongue is left out: at 256 pixels it only hides the teeth."""
    brows = recolour(assets.image(f"eyebrows/{spec.eyebrows}/diffuse.png", "RGBA"), spec.hair_rgb * 0.7)
    lashes = recolour(assets.image(f"eyelashes/{spec.eyelashes}/diffuse.png", "RGBA"), _LASHES)
    eyes = eye_texture(assets.image(f"eyes/textures/{spec.eye}", "RGBA"))
    teeth = assets.image("teeth/teeth_base/diffuse.png", "RGBA")
    return [
        _proxy_part(assets, base, cut, "eyes", "high-poly", "eye", eyes),
        _proxy_part(assets, base, cut, "teeth", "teeth_base", "teeth", teeth),
        _proxy_part(assets, base, cut, "eyebrows", spec.eyebrows, "hair", brows),
        _proxy_part(assets, base, cut, "eyelashes", spec.eyelashes, "hair", lashes),
    ]


def _proxy_part(assets: Assets, base: Array, cut: float, folder: str, name: str, kind: str, texture: Array) -> MeshPart:
    proxy = assets.proxy(folder, name)
    mesh, v = proxy.mesh, proxy.fit(base)
    keep = ~(v[mesh.fv][:, :, 1] < cut).all(1)
    if kind == "teeth":  # the molars can never be seen
        depth = v[mesh.fv].mean(1)[:, 2]
        keep &= depth > depth.max() - 0.42
    normal = vertex_normals(v, mesh.fv)
    weights = proxy.skin_weights(assets.weights)
    return build_part(folder, kind, v, normal, mesh.vt, mesh.fv[keep], mesh.ft[keep], weights, texture)
