"""Fabric: repainted outfits and the patterns they are painted with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import grey_dilation, zoom
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from .arrays import Array
from .assets import Assets
from .mesh_part import MeshPart
from .person_spec import pick
from .textures import shift_hsv

_TSHIRTS = (
    *("female_casualsuit01", "female_casualsuit02", "female_sportsuit01"),
    *("male_casualsuit02", "male_casualsuit04", "male_casualsuit06"),
)
_SUIT_TINTS = (
    *((1, 1, 1), (0.75, 0.85, 1.35), (1.15, 1.0, 0.85)),
    *((1.6, 1.6, 1.65), (1.9, 1.7, 1.5), (0.7, 0.75, 0.9)),
)
_SHIRT_TINTS = ((1, 1, 1), (0.75, 0.87, 1), (1, 0.86, 0.86), (0.95, 0.93, 0.8))


def random_fabric_colour(rng: np.random.Generator) -> Array:
    """A colour [3] in 0..1, muted ones more often."""
    saturation, value = rng.random() ** 1.3 * 0.75, rng.uniform(0.15, 0.95)
    low = value * (1 - saturation)
    return np.asarray(shift_hsv(np.array([[[value, low, low]]]), rng.random(), 1, 1)[0, 0])


def fabric(rng: np.random.Generator, height: int, width: int, colour: Array) -> Array:
    """Fabric [h, w, 3]: plain, stripes, checks or dots, with a little grain."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    image = np.broadcast_to(colour, (height, width, 3)).astype(np.float32).copy()
    kind = rng.integers(6)
    second = np.clip(colour * rng.uniform(0.4, 0.8) + rng.uniform(0, 0.4) * random_fabric_colour(rng), 0, 1)
    period = rng.uniform(8, 26)
    if kind == 1:
        image[(y % period) < period * 0.45] = second
    elif kind == 2:
        image[(x % period) < period * 0.3] = second
    elif kind == 3:
        lines = ((x % period) < period * 0.4).astype(np.float32) + ((y % period) < period * 0.4)
        image += (second - colour) * (lines * 0.5)[..., None]
    elif kind == 4:
        dx, dy = (x % period) - period / 2, (y % period) - period / 2
        image[dx**2 + dy**2 < (period * 0.2) ** 2] = second
    return np.asarray(np.clip(image + rng.normal(0, 0.012, (height, width, 1)), 0, 1))


def outfit_texture(assets: Assets, name: str, seed: int) -> Array:
    """Texture [h, w, 4] of outfit `name` in other colours.

    T-shirts are repainted, which also removes a printed logo that CC0 does not cover as a trade mark; everything else
    gets its hue, saturation and value shifted per body region.
    """
    rng = np.random.default_rng(seed)
    texture = assets.image(f"clothes/{name}/diffuse.png", "RGBA").copy()
    rgb = texture[..., :3]
    height, width = rgb.shape[:2]
    upper = _upper_body(assets, name, height, width)
    lower = ~upper
    if name in _TSHIRTS:
        rgb[upper] = fabric(rng, height, width, random_fabric_colour(rng))[upper]
        shift = (rng.uniform(-0.05, 0.05), rng.uniform(0, 1.1), rng.uniform(0.5, 1.1))
        rgb[lower] = shift_hsv(rgb[lower][None], *shift)[0]
    elif name == "male_elegantsuit01":
        dark = rgb.mean(-1) < 0.45
        rgb[dark] = np.clip(rgb[dark] * np.array(pick(rng, _SUIT_TINTS)) * rng.uniform(0.9, 1.6), 0, 1)
        rgb[~dark] *= np.array(pick(rng, _SHIRT_TINTS))
    else:
        for region in (upper, lower):
            shift = (rng.uniform(), rng.uniform(0.3, 1.3), rng.uniform(0.8, 1.5))
            shifted = shift_hsv(rgb[region][None], *shift)[0]
            rgb[region] = np.clip(shifted * (1 + 0.35 * (random_fabric_colour(rng) - 0.5)), 0, 1)
    occlusion = assets.root / "clothes" / name / "ao.png"
    if occlusion.exists():
        with Image.open(occlusion) as picture:
            grey = np.asarray(picture.convert("L").resize((width, height)), np.float32) / 255
        rgb *= (0.35 + 0.65 * grey)[..., None]
    texture[..., :3] = np.clip(rgb, 0, 1)
    return texture


def _upper_body(assets: Assets, name: str, height: int, width: int) -> Array:
    """Mask [h, w] of the texture islands whose mean height on the body is above the belt."""
    proxy = assets.proxy("clothes", name)
    mesh, v = proxy.mesh, proxy.fit(assets.mesh.v)
    edges = np.concatenate([mesh.ft[:, [0, 1]], mesh.ft[:, [1, 2]], mesh.ft[:, [2, 3]]])
    size = len(mesh.vt)
    graph = coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), (size, size))
    _, island = connected_components(graph, directed=False)
    ids, of_face = np.unique(island[mesh.ft[:, 0]], return_inverse=True)
    mean_height = np.array([v[mesh.fv[of_face == k]].reshape(-1, 3)[:, 1].mean() for k in range(len(ids))])
    picture = Image.new("I", (width, height), 0)
    draw = ImageDraw.Draw(picture)
    for face, k in zip(mesh.ft, of_face, strict=True):
        draw.polygon([(float(x * width), float((1 - y) * height)) for x, y in mesh.vt[face]], fill=int(k) + 1)
    label = np.asarray(picture).copy()
    label = np.where(label == 0, grey_dilation(label, 7), label) - 1
    return np.asarray((label >= 0) & (mean_height[np.maximum(label, 0)] > 2.2))


def randomise_fabric(part: MeshPart, rng: np.random.Generator, width: int) -> MeshPart:
    """With probability 0.5 replace the left `width` texels of a cloth texture by random blocks or blobs of colour."""
    if rng.random() >= 0.5:
        return part
    height = part.texture.shape[0]
    texture = part.texture.copy()
    cells = int(rng.choice([4, 8, 16, 32, 64]))
    order = [int(rng.integers(0, 2)) for _ in range(3)]
    layers = [zoom(rng.random((cells, cells)), (height / cells, width / cells), order=k) for k in order]
    noise = np.stack([layer[:height, :width] for layer in layers], -1)
    if rng.random() < 0.5:
        noise = noise.mean(-1, keepdims=True)
    painted = texture[:, :width, :3]
    luminance = painted.mean(-1, keepdims=True)
    folds = luminance / max(float(luminance.mean()), 0.05) if rng.random() < 0.7 else 1.0
    amount = rng.uniform(0, 0.8) * (rng.random() < 0.7)
    painted[:] = np.clip((rng.random(3) ** 1.5 * (1 - amount) + noise * amount) * folds, 0.01, 1)
    return replace(part, texture=texture)
