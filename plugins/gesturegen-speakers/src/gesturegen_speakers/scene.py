"""A person loaded for drawing: buffers, baked ambient occlusion, and one draw call per frame.

Skinning -> projection -> shadow map -> z-buffer at 2x2 samples per pixel -> deferred shading. Vertex positions on the
screen, triangle ids and depth of the last frame stay readable: the labels are made from them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .arrays import Array, unit
from .kernels import project, rasterise, skin
from .mesh_part import KINDS, MeshPart
from .person import Person
from .shading import shade
from .view import Camera, Lights, look, orthographic

SUB = 2  # samples per pixel along each axis
_SHADOW_SIZE = 256
_OCCLUSION_DIRECTIONS = 20
_OCCLUSION_SIZE = 160
_MIP_LEVELS = 5


@dataclass(frozen=True)
class Geometry:
    """All parts of a person in one set of arrays, with a texture atlas of mip maps."""

    position: Array
    normal: Array
    uv: Array
    bone: Array
    bone_weight: Array
    triangles: Array
    triangle_part: Array
    vertex_part: Array
    part_kind: Array
    part_names: tuple[str, ...]
    offset: Array
    width: Array
    height: Array
    texels: Array


def gather(parts: tuple[MeshPart, ...]) -> Geometry:
    """Concatenate the parts; textures get an alpha channel and four smaller copies each."""
    start = np.cumsum([0] + [len(p.position) for p in parts])
    texels: list[Array] = []
    offset, width, height, size = [], [], [], 0
    for part in parts:
        image = part.texture
        if image.shape[2] == 3:
            image = np.concatenate([image, np.ones_like(image[..., :1])], -1)
        offset.append(size)
        height.append(image.shape[0])
        width.append(image.shape[1])
        for level in _mip_levels(image):
            texels.append(level)
            size += level.size
    return Geometry(
        position=np.concatenate([p.position for p in parts]),
        normal=np.concatenate([p.normal for p in parts]),
        uv=np.concatenate([p.uv for p in parts]),
        bone=np.concatenate([p.bone for p in parts]),
        bone_weight=np.concatenate([p.bone_weight for p in parts]),
        triangles=np.concatenate([p.triangles + o for p, o in zip(parts, start, strict=False)]).astype(np.int32),
        triangle_part=np.concatenate([np.full(len(p.triangles), k, np.int32) for k, p in enumerate(parts)]),
        vertex_part=np.concatenate([np.full(len(p.position), k, np.int32) for k, p in enumerate(parts)]),
        part_kind=np.array([KINDS[p.kind] for p in parts], np.int32),
        part_names=tuple(p.name for p in parts),
        offset=np.array(offset, np.int64),
        width=np.array(width, np.int32),
        height=np.array(height, np.int32),
        texels=np.concatenate(texels),
    )


def _mip_levels(rgba: Array) -> list[Array]:
    """The picture and its halvings as flat uint8; colours are averaged by their alpha."""
    levels = []
    for _ in range(_MIP_LEVELS):
        levels.append((np.clip(rgba, 0, 1) * 255 + 0.5).astype(np.uint8).ravel())
        alpha = rgba[..., 3:] + 1e-4
        colour, alpha = _halve(rgba[..., :3] * alpha), _halve(alpha)
        rgba = np.concatenate([colour / alpha, alpha], -1)
    return levels


def _halve(image: Array) -> Array:
    return (image[0::2, 0::2] + image[1::2, 0::2] + image[0::2, 1::2] + image[1::2, 1::2]) / 4


class Scene:
    """Draws one person; `draw` fills `rgb` [size, size, 3] and `mask` [size, size] and leaves its buffers readable."""

    def __init__(self, person: Person, size: int, camera: Camera, lights: Lights, background: Array) -> None:
        """Load `person` for pictures of size x size pixels over `background` [size, size, 3] uint8."""
        self.geometry = gather(person.parts)
        self.size = size
        self.background = background
        self.view = np.ascontiguousarray(camera.matrix, np.float32)
        self._eye = camera.eye.astype(np.float32)
        self._lights = _light_table(lights)
        centre = np.array([0, 5.2, 0.8])
        light_view = orthographic(5.6, 8, 32) @ look(centre + lights.key * 20, centre)
        self._light_view = light_view.astype(np.float32)
        count = len(self.geometry.position)
        self._world = np.empty((count, 3), np.float32)
        self._normal = np.empty((count, 3), np.float32)
        self._light_screen = np.empty((count, 4), np.float32)
        self.screen = np.empty((count, 4), np.float32)  # x, y in sub-samples, depth, 1/w
        side = size * SUB
        self.depth, self.ids = np.empty((side, side), np.float32), np.empty((side, side), np.int32)
        shadow = (_SHADOW_SIZE, _SHADOW_SIZE)
        self._light_depth, self._light_ids = np.empty(shadow, np.float32), np.empty(shadow, np.int32)
        self.rgb, self.mask = np.empty((size, size, 3), np.uint8), np.empty((size, size), np.uint8)
        self._occlusion = bake_occlusion(self.geometry)

    def draw(self, matrices: Array) -> Array:
        """Draw the pose of skinning matrices [bones, 3, 4]; returns the rgb buffer (copy it to keep it)."""
        g = self.geometry
        skin(g.position, g.normal, g.bone, g.bone_weight, matrices, self._world, self._normal)
        side = self.size * SUB
        project(self._world, self.view, side, self.screen)
        project(self._world, self._light_view, _SHADOW_SIZE, self._light_screen)
        surface = (g.triangles, g.triangle_part, g.part_kind, g.uv, g.offset, g.width, g.height, g.texels)
        rasterise(self._light_screen, *surface, self._light_depth, self._light_ids, True)
        rasterise(self.screen, *surface, self.depth, self.ids, False)
        shade(
            *(SUB, self.ids, self.screen, self._world, self._normal, g.uv, self._occlusion),
            *(g.triangles, g.triangle_part, g.part_kind, g.offset, g.width, g.height, g.texels),
            *(self._lights, self._eye, self._light_view, self._light_depth, self.background, self.rgb, self.mask),
        )
        return self.rgb


def _light_table(lights: Lights) -> Array:
    """Rows in the order of shading.KEY_DIR ... shading.GAIN."""
    rows = (lights.key, lights.key_rgb, lights.fill, lights.sky_rgb, lights.ground_rgb, lights.fill_rgb)
    return np.array([*rows, np.full(3, lights.shade), lights.gain], np.float32)


def bake_occlusion(g: Geometry) -> Array:
    """Share of open sky per vertex [n] in the rest pose, from depth maps of random directions (mostly above)."""
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(_OCCLUSION_DIRECTIONS, 3))
    directions[:, 1] = directions[:, 1] * 0.9 + 0.35
    directions = unit(directions)
    blockers = [k for k, name in enumerate(g.part_names) if name in ("body", "clothes", "hair")]
    blocks = np.isin(g.triangle_part, blockers)
    surface = (g.triangles[blocks], g.triangle_part[blocks], g.part_kind, g.uv, g.offset, g.width, g.height, g.texels)
    vertex_kind = g.part_kind[g.vertex_part]
    raised = g.position + g.normal * np.float32(0.06)
    screen, own = np.empty((len(raised), 4), np.float32), np.empty((len(raised), 4), np.float32)
    depth = np.empty((_OCCLUSION_SIZE, _OCCLUSION_SIZE), np.float32)
    ids = np.empty(depth.shape, np.int32)
    open_sky, weight = np.zeros(len(raised)), np.full(len(raised), 1e-6)
    centre = np.array([0, 5.0, 0.5])
    for direction in directions:
        eye = centre + direction * 20
        view = (orthographic(6.5, 8, 32) @ look(eye, centre, (0.01, 1, 0.02))).astype(np.float32)
        project(g.position, view, _OCCLUSION_SIZE, screen)
        rasterise(screen, *surface, depth, ids, True)
        project(raised, view, _OCCLUSION_SIZE, own)
        x, y = np.clip(own[:, :2].astype(int), 0, _OCCLUSION_SIZE - 1).T
        facing = np.clip(g.normal @ direction, 0, 1)
        facing[vertex_kind == KINDS["hair"]] = 0.5
        open_sky += facing * (own[:, 2] <= depth[y, x] + 0.01)
        weight += facing
    occlusion = np.clip(0.12 + 0.95 * open_sky / weight, 0, 1)
    occlusion[vertex_kind == KINDS["eye"]] = 0.85
    occlusion[vertex_kind == KINDS["teeth"]] = 0.55
    return np.asarray(occlusion, np.float32)
