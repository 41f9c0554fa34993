"""Exact labels from the renderer: joints, parts, coverage, and backward flow with visibility between frames.

Picture units: x and y in [-1, 1], pixel centres at (2 i + 1) / size - 1. Label maps are 64 x 64.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from .arrays import Array
from .articulation import FACE, HAND, face_articulation, hand_articulation
from .motion import Motion
from .performance import FPS
from .person import Person
from .scene import SUB, Geometry, Scene
from .skeleton import BOXES, JOINTS, PARTS, part_of_bone

CELLS = 64
SOURCES = 2  # source frames per labelled frame
EVERY = 5  # every 5th frame is labelled
_DEPTH_SLACK = 0.03  # depth by which a hidden-surface test may miss, in normalised depth
_FACE_PARTS = ("hair", "eyes", "teeth", "eyebrows", "eyelashes")


@dataclass(frozen=True)
class Snapshot:
    """What is kept of one labelled frame until the flow is computed."""

    joints: Array  # [25, 2] picture units
    parts: Array  # [64, 64] uint8
    alpha: Array  # [64, 64] uint8
    corners: Array  # [64, 64, 3] vertices of the triangle seen at every cell
    weights: Array  # [64, 64, 3] barycentric coordinates
    shown: Array  # [64, 64] whether a triangle is seen there
    screen: Array  # [n, 3] all vertices: x, y in picture units, depth
    depth: Array  # [size, size] depth at pixel centres


@dataclass(frozen=True)
class Labeller:
    """Lookup tables of one person."""

    vertex_part: Array  # [n] part label of every vertex
    joint_bone: Array  # [25]
    joint_rest: Array  # [25, 3]


def build_labeller(person: Person, geometry: Geometry) -> Labeller:
    """Part label of every vertex (from its strongest bone) and rest position of every joint."""
    skeleton = person.assets.skeleton
    of_bone = np.array([part_of_bone(bone) for bone in skeleton.bones], np.uint8)
    strongest = np.take_along_axis(geometry.bone, geometry.bone_weight.argmax(1)[:, None], 1)[:, 0]
    part = of_bone[strongest]
    face = [k for k, name in enumerate(geometry.part_names) if name in _FACE_PARTS]
    part[np.isin(geometry.vertex_part, face)] = PARTS.index("head")
    bones = [skeleton.index[name.replace("^", "")] for name in JOINTS]
    rest = [person.tail[b] if "^" in name else person.head[b] for name, b in zip(JOINTS, bones, strict=True)]
    return Labeller(part, np.array(bones), np.array(rest, float))


def snapshot(labeller: Labeller, scene: Scene, matrices: Array) -> Snapshot:
    """Labels of the frame just drawn by `scene` with skinning `matrices` [bones, 3, 4]."""
    step = scene.size * SUB // CELLS
    at = np.arange(CELLS) * step + step // 2
    ids = scene.ids[np.ix_(at, at)]
    shown = ids >= 0
    corners = scene.geometry.triangles[np.maximum(ids, 0)]
    x, y = np.meshgrid(at + 0.5, at + 0.5)
    cells = scene.mask.reshape(CELLS, scene.size // CELLS, CELLS, scene.size // CELLS)
    screen = scene.screen[:, :3].copy()
    screen[:, :2] = screen[:, :2] * (2 / (scene.size * SUB)) - 1
    return Snapshot(
        joints=project_joints(labeller, scene, matrices),
        parts=np.where(shown, labeller.vertex_part[corners[..., 0]], 0).astype(np.uint8),
        alpha=cells.mean((1, 3)).round().astype(np.uint8),
        corners=corners,
        weights=_barycentric(scene.screen[:, :2][corners], np.stack([x, y], -1)),
        shown=shown,
        screen=screen,
        depth=scene.depth[::SUB, ::SUB].copy(),
    )


def project_joints(labeller: Labeller, scene: Scene, matrices: Array) -> Array:
    """Joints [25, 2] in picture units; they may lie outside the picture."""
    chosen = matrices[labeller.joint_bone]
    world = np.einsum("jab,jb->ja", chosen[:, :, :3], labeller.joint_rest) + chosen[:, :, 3]
    clip = np.concatenate([world, np.ones((len(world), 1))], 1) @ scene.view.T
    return np.asarray(clip[:, :2] / clip[:, 3:] * [1, -1], np.float32)


def _barycentric(triangle: Array, point: Array) -> Array:
    """Screen-space barycentric coordinates [..., 3] of `point` [..., 2] in `triangle` [..., 3, 2]."""
    e1, e2, r = (v - triangle[..., 0, :] for v in (triangle[..., 1, :], triangle[..., 2, :], point))
    area = e1[..., 0] * e2[..., 1] - e2[..., 0] * e1[..., 1]
    area = np.where(np.abs(area) < 1e-6, 1e-6, area)
    b1 = (r[..., 0] * e2[..., 1] - r[..., 1] * e2[..., 0]) / area
    b2 = (r[..., 1] * e1[..., 0] - r[..., 0] * e1[..., 1]) / area
    return np.stack([1 - b1 - b2, b1, b2], -1)


def flow_between(here: Snapshot, source: Snapshot) -> tuple[Array, Array]:
    """Flow [64, 64, 2] (point in source = point here + flow) and visibility [64, 64] of the same surface point.

    Background cells have zero flow; they are visible where the source shows background at the same place.
    """
    moved = np.einsum("yxt,yxtc->yxc", here.weights, source.screen[here.corners])
    start = np.einsum("yxt,yxtc->yxc", here.weights, here.screen[here.corners])[..., :2]
    size = len(source.depth)
    pixel = np.floor((moved[..., :2] + 1) * (size / 2)).astype(int)
    inside = ((pixel >= 0) & (pixel < size)).all(-1)
    x, y = np.clip(pixel, 0, size - 1).transpose(2, 0, 1)
    seen = inside & (moved[..., 2] < source.depth[y, x] + _DEPTH_SLACK)
    flow = np.where(here.shown[..., None], moved[..., :2] - start, 0)
    return flow.astype(np.float16), np.where(here.shown, seen, source.alpha < 128).astype(np.uint8)


def boxes_of(joints: Array) -> Array:
    """Boxes [3, 4] (x0, y0, x1, y1) of left hand, right hand and mouth, estimated from joints [25, 2]."""
    place = {name: joints[i] for i, name in enumerate(JOINTS)}
    boxes = []
    for side in "LR":
        wrist = place[f"wrist.{side}"]
        points = np.stack([p for n, p in place.items() if n.startswith("finger") and n.endswith(side)] + [wrist])
        margin = 0.12 * float(np.ptp(points, axis=0).max())
        boxes.append([*(points.min(0) - margin), *(points.max(0) + margin)])
    eyes = (place["eye.L"] + place["eye.R"]) / 2
    half = max(float(np.linalg.norm(place["eye.L"] - place["eye.R"])), 0.02) * 0.55
    mouth = eyes + 0.62 * (place["jaw^"] - eyes)
    size = np.array([half, half * 0.7])
    boxes.append([*(mouth - size), *(mouth + size)])
    return np.array(boxes, np.float32)


def save_labels(path: Path, frames: list[int], shots: list[Snapshot], motion: Motion, rng: np.random.Generator) -> None:
    """Write the labels of the labelled `frames` of a motion, each with two random source frames of the same clip."""
    count = len(shots)
    source = np.stack([rng.permutation(count) for _ in range(SOURCES)], 1).astype(np.int32)
    pairs = [[flow_between(here, shots[k]) for k in row] for here, row in zip(shots, source, strict=True)]
    joints = np.stack([shot.joints for shot in shots]).astype(np.float32)
    tensors = {
        "frames": np.array(frames, np.int32),
        "joints": joints,
        "parts": np.stack([shot.parts for shot in shots]),
        "alpha": np.stack([shot.alpha for shot in shots]),
        "source_frames": source,
        "flow": np.stack([np.stack([flow for flow, _ in row]) for row in pairs]),
        "visible": np.stack([np.stack([visible for _, visible in row]) for row in pairs]),
        "boxes": np.stack([boxes_of(j) for j in joints]),
        "face": face_articulation(motion)[frames],
        "hands": hand_articulation(motion)[frames],
    }
    lists = {"joints": JOINTS, "parts": PARTS, "boxes": BOXES, "face": FACE, "hands": HAND}
    names = {name: json.dumps(values) for name, values in lists.items()}
    metadata = {"format": "gesturegen-labels-1", "fps": str(FPS), **names}
    path.write_bytes(_with_sorted_header(save(tensors, metadata)))


def _with_sorted_header(data: bytes) -> bytes:
    """The same safetensors file with its metadata in a fixed order: safetensors shuffles it, and digests should repeat.

    Layout: 8 bytes little-endian length of the header, the header as JSON padded with spaces to 8 bytes, the tensors.
    """
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + length :]
