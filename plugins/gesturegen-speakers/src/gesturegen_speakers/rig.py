"""Forward kinematics of a whole clip: motion -> one skinning matrix per frame and bone.

Every bone carries a rotation in the global rest axes, applied about the rest head of the bone:
    M_b = M_parent T(head_b) R_b T(-head_b),  x' = sum_k w_k M_k x
so no bone roll or rest orientation is needed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .arms import Arm, build_arm, finger_rotations, solve_arm
from .arrays import Array
from .motion import Motion
from .person import Person
from .rotations import chain, from_vector

_SPINE = (("spine05", 0.2), ("spine04", 0.2), ("spine03", 0.2), ("spine02", 0.2), ("spine01", 0.2))
_NECK = (("neck01", 0.2), ("neck02", 0.2), ("neck03", 0.2), ("head", 0.4))


@dataclass(frozen=True)
class Rig:
    """Rest skeleton of one person with what the arm solver needs."""

    person: Person
    arms: dict[str, Arm]
    arm_length: float
    shoulders: Array  # [3] middle of the shoulders
    front_height: Array  # heights at which the depth of the chest was measured
    front_depth: Array


def build_rig(person: Person) -> Rig:
    """Measure the arms and the front of the torso of `person`."""
    index = person.assets.skeleton.index
    arms = {side: build_arm(person, side) for side in "LR"}
    shoulders = (person.head[index["upperarm01.L"]] + person.head[index["upperarm01.R"]]) / 2
    mesh, base = person.assets.mesh, person.base
    body = np.zeros(len(base), bool)
    body[np.unique(mesh.fv[mesh.group == "body"])] = True
    torso = base[body & (np.abs(base[:, 0]) < 1.5)]
    height = np.arange(-1.0, 7.0, 0.25)
    depth = np.array([torso[np.abs(torso[:, 1] - y) < 0.3, 2].max(initial=0.8) for y in height])
    length = arms["L"].upper_length + arms["L"].fore_length
    return Rig(person, arms, length, shoulders.astype(float), height, depth)


def pose(rig: Rig, motion: Motion) -> Array:
    """Skinning matrices [t, bones, 3, 4] float32 of every frame."""
    skeleton = rig.person.assets.skeleton
    index, head = skeleton.index, rig.person.head.astype(float)
    frames = len(motion.torso)
    local = np.tile(np.eye(3), (frames, len(skeleton.bones), 1, 1))
    for name, share in _SPINE:
        local[:, index[name]] = from_vector(motion.torso * share)
    for name, share in _NECK:
        local[:, index[name]] = from_vector(motion.neck * share)
    _pose_face(rig, motion, local)
    chest = _solve_one(rig, local, index["spine01"])
    for side, arm in rig.arms.items():
        row = motion.hands[side]
        target = _wrist_target(rig, arm, row[:, :3])
        for bone, rotation in solve_arm(arm, chest, target, row, motion.breath, head).items():
            local[:, index[f"{bone}.{side}"]] = rotation
        for bone_index, rotation in finger_rotations(arm, row[:, 5:]).items():
            local[:, bone_index] = rotation
    out = np.empty((frames, len(skeleton.bones), 3, 4))
    world = np.tile(np.eye(3, 4), (frames, 1, 1))
    for i, parent in enumerate(skeleton.parent):
        out[:, i] = chain(world if parent < 0 else out[:, parent], head[i], local[:, i])
    return out.astype(np.float32)


def _pose_face(rig: Rig, motion: Motion, local: Array) -> None:
    """Add the face units' rotation vectors per bone, and turn the eyes."""
    assets = rig.person.assets
    vectors = np.zeros((*local.shape[:2], 3))
    for unit_name, weight in motion.face.items():
        turn = assets.face_units[unit_name]
        moved = np.flatnonzero(np.abs(turn).max(1))
        vectors[:, moved] += weight[:, None, None] * turn[moved]
    for side in "LR":
        eye = assets.skeleton.index[f"eye.{side}"]
        vectors[:, eye, 0] -= motion.gaze[:, 1]
        vectors[:, eye, 1] += motion.gaze[:, 0]
    moved = np.flatnonzero(np.abs(vectors).max((0, 2)))
    local[:, moved] = from_vector(vectors[:, moved])


def _solve_one(rig: Rig, local: Array, bone: int) -> Array:
    """Matrix [t, 3, 4] of one bone."""
    parent = rig.person.assets.skeleton.parent
    path = [bone]
    while parent[path[-1]] >= 0:
        path.append(int(parent[path[-1]]))
    matrix = np.tile(np.eye(3, 4), (len(local), 1, 1))
    for i in reversed(path):
        matrix = chain(matrix, rig.person.head[i].astype(float), local[:, i])
    return matrix


def _wrist_target(rig: Rig, arm: Arm, position: Array, clearance: float = 0.55) -> Array:
    """Wrist targets [t, 3] in rest axes, kept in front of the chest (fading out beside the body, so nothing jumps)."""
    target = rig.shoulders + rig.arm_length * position * np.array([arm.sign, 1, 1])
    nearest = np.interp(target[:, 1], rig.front_height, rig.front_depth) + clearance
    inward = np.clip((2.8 - np.abs(target[:, 0])) / 0.8, 0, 1)
    target[:, 2] += np.maximum(nearest - target[:, 2], 0) * inward
    return np.asarray(target)
