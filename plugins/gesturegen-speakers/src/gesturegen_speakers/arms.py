"""Arm inverse kinematics and hand shapes, for whole clips at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .arrays import Array, unit
from .motion import HAND_SHAPES
from .person import Person
from .rotations import about_axis, chain, frame, swing

_FINGERS = ("finger1", "finger2", "finger3", "finger4", "finger5")
# flexion in degrees per finger (knuckle, middle, tip), thumb first, and the spread of the fingers in degrees
_CURLS = {
    "relaxed": (((8, 10, 12), (18, 25, 14), (24, 32, 18), (30, 36, 20), (34, 38, 22)), 2),
    "open": (((0, 2, 4), (2, 6, 4), (2, 6, 4), (4, 8, 5), (5, 9, 6)), 7),
    "flat": (((10, 8, 6), (4, 5, 3), (5, 5, 3), (6, 6, 3), (7, 7, 4)), -1),
    "cup": (((14, 12, 14), (32, 26, 14), (32, 26, 15), (34, 28, 16), (34, 28, 16)), 4),
    "point": (((26, 34, 30), (3, 5, 3), (70, 88, 50), (74, 92, 52), (76, 92, 52)), 0),
    "precision": (((24, 22, 30), (46, 44, 26), (38, 36, 20), (30, 30, 16), (24, 26, 14)), 3),
    "fist": (((24, 40, 36), (72, 92, 52), (76, 94, 54), (78, 94, 54), (78, 92, 52)), -2),
    "claw": (((8, 14, 20), (14, 40, 26), (14, 42, 26), (16, 42, 26), (18, 42, 26)), 9),
}
_CURL = np.array([_CURLS[name][0] for name in HAND_SHAPES], float)  # [8, 5, 3]
_SPREAD = np.array([_CURLS[name][1] for name in HAND_SHAPES], float)  # [8]
_FAN = (0, -1, 0, 1, 2)  # fingers fan out around the middle finger


@dataclass(frozen=True)
class Arm:
    """Rest measures of one arm; unit vectors in rest axes, lengths in decimetres."""

    side: str
    sign: int  # +1 left, -1 right
    upper_length: float
    fore_length: float
    upper: Array  # shoulder -> elbow
    fore: Array  # elbow -> wrist
    hinge: Array  # elbow axis
    finger: Array  # wrist -> middle knuckle
    palm: Array  # normal on the palm side
    bones: dict[str, int]
    curl_axes: dict[int, tuple[int, int, Array]]  # bone -> finger, joint, axis


def build_arm(person: Person, side: str) -> Arm:
    """Measure the arm of `side` ('L' or 'R') on the rest skeleton."""
    index, head, tail = person.assets.skeleton.index, person.head.astype(float), person.tail.astype(float)
    shoulder, elbow, wrist = (head[index[f"{bone}.{side}"]] for bone in ("upperarm01", "lowerarm01", "wrist"))
    upper, fore = unit(elbow - shoulder), unit(wrist - elbow)
    knuckles = [head[index[f"finger{i}-1.{side}"]] for i in (2, 3, 5)]
    finger = unit(knuckles[1] - wrist)
    palm = unit(np.cross(knuckles[0] - wrist, knuckles[2] - wrist)) * (1 if side == "R" else -1)
    palm = unit(palm - finger * (palm @ finger))
    axes = {}
    for f, name in enumerate(_FINGERS):
        for joint in range(3):
            i = index[f"{name}-{joint + 1}.{side}"]
            direction = unit(tail[i] - head[i])
            # the thumb bends towards the base of the ring finger
            goal = unit(head[index[f"finger4-1.{side}"]] + palm * 0.35 - head[i]) if f == 0 else palm
            axes[i] = (f, joint, unit(np.cross(direction, goal)))
    return Arm(
        side=side,
        sign=1 if side == "L" else -1,
        upper_length=float(np.linalg.norm(elbow - shoulder)),
        fore_length=float(np.linalg.norm(wrist - elbow)),
        upper=upper,
        fore=fore,
        hinge=unit(np.cross(upper, fore)),
        finger=finger,
        palm=palm,
        bones={b: index[f"{b}.{side}"] for b in ("clavicle", "shoulder01", "upperarm01")},
        curl_axes=axes,
    )


def solve_arm(arm: Arm, chest: Array, target: Array, hand: Array, breath: Array, head: Array) -> dict[str, Array]:
    """Local rotations [t, 3, 3] of the arm bones that bring the wrist to `target`.

    chest [t, 3, 4]: matrix of the upper spine; target [t, 3] in rest axes, moving with the chest; hand [t, 13], see
    motion.Motion; breath [t]; head [bones, 3]. Targets out of reach are pulled in.
    """
    goal = np.einsum("tij,tj->ti", chest[..., :3], target) + chest[..., 3]
    girdle = _girdle(arm, hand, breath)
    matrix = chain(chest, head[arm.bones["clavicle"]], girdle)
    matrix = chain(matrix, head[arm.bones["shoulder01"]], np.broadcast_to(np.eye(3), girdle.shape))
    parent = matrix[..., :3]
    shoulder = parent @ head[arm.bones["upperarm01"]] + matrix[..., 3]
    pole = chest[..., :3] @ np.array([arm.sign * 0.38, -1.0, -0.38])
    upper, fore = _two_bones(arm, shoulder, goal, pole)
    hinge = np.cross(upper, fore)
    straight = np.linalg.norm(hinge, axis=-1, keepdims=True) < 1e-4
    hinge = np.where(straight, parent @ arm.hinge, unit(hinge))
    upper_turn = frame(upper, hinge) @ frame(arm.upper, arm.hinge).T
    fore_turn = frame(fore, hinge) @ frame(arm.fore, arm.hinge).T
    first = _half_twist(arm, parent, upper, upper_turn)
    twist = _forearm_twist(arm, fore, hinge, fore_turn, hand[:, 3])
    rolled = [about_axis(fore, share * twist) @ fore_turn for share in (0.35, 0.8, 1.0)]
    flexion_axis = unit(np.cross(arm.finger, arm.palm))
    return {
        "clavicle": girdle,
        "upperarm01": _undo(parent) @ first,
        "upperarm02": _undo(first) @ upper_turn,
        "lowerarm01": _undo(upper_turn) @ rolled[0],
        "lowerarm02": _undo(rolled[0]) @ rolled[1],
        "wrist": _undo(rolled[1]) @ rolled[2] @ about_axis(flexion_axis, np.radians(hand[:, 4])),
    }


def _undo(rotation: Array) -> Array:
    return np.swapaxes(rotation, -1, -2)


def _girdle(arm: Arm, hand: Array, breath: Array) -> Array:
    """The shoulder rises and comes forward a little with the hand, and with the breath."""
    rise = np.clip((hand[:, 1] + 0.35) * 0.35, -0.05, 0.3) + 0.02 * breath
    forward = np.clip((hand[:, 2] - 0.3) * 0.35, -0.05, 0.25)
    up, ahead = np.array([0.0, 0.0, 1.0]), np.array([0.0, 1.0, 0.0])
    return about_axis(up, arm.sign * rise) @ about_axis(ahead, -arm.sign * forward)


def _two_bones(arm: Arm, shoulder: Array, goal: Array, pole: Array) -> tuple[Array, Array]:
    """Directions [t, 3] of upper arm and forearm by the law of cosines, elbow towards `pole`."""
    a, b = arm.upper_length, arm.fore_length
    reach = goal - shoulder
    distance = np.clip(np.linalg.norm(reach, axis=-1, keepdims=True), abs(a - b) + 0.3, (a + b) * 0.985)
    ahead = unit(reach)
    side = unit(pole - ahead * (pole * ahead).sum(-1, keepdims=True))
    cosine = np.clip((a * a + distance**2 - b * b) / (2 * a * distance), -1, 1)
    elbow = a * (cosine * ahead + np.sqrt(1 - cosine**2) * side)
    return unit(elbow), unit(distance * ahead - elbow)


def _half_twist(arm: Arm, parent: Array, upper: Array, upper_turn: Array) -> Array:
    """Orientation of the first upper-arm bone: it takes 45 percent of the twist about the arm."""
    swung = swing(parent @ arm.upper, upper) @ parent
    rest = upper_turn @ _undo(swung)
    skew = np.stack([rest[:, 2, 1] - rest[:, 1, 2], rest[:, 0, 2] - rest[:, 2, 0], rest[:, 1, 0] - rest[:, 0, 1]], -1)
    angle = np.arctan2((skew * upper).sum(-1) / 2, (np.trace(rest, axis1=1, axis2=2) - 1) / 2)
    return np.asarray(about_axis(upper, 0.45 * np.unwrap(angle)) @ swung)


def _forearm_twist(arm: Arm, fore: Array, hinge: Array, fore_turn: Array, roll: Array) -> Array:
    """Twist [t] in radians that gives the forearm the wished roll (degrees, 0 palm up)."""
    supine = unit(np.cross(hinge, fore))
    medial = np.cross(fore, supine)
    palm = fore_turn @ arm.palm
    now = np.arctan2((palm * medial).sum(-1), (palm * supine).sum(-1))
    twist = arm.sign * np.radians(np.clip(roll, -5, 165)) - now
    return np.asarray(np.unwrap((twist + np.pi) % (2 * np.pi) - np.pi))


def finger_rotations(arm: Arm, shape_weights: Array) -> dict[int, Array]:
    """Local rotations [t, 3, 3] of the finger bones for mixed hand shapes; shape_weights [t, 8]."""
    weights = _shares(shape_weights)
    curl = np.radians(np.einsum("ts,sfj->tfj", weights, _CURL))
    spread = np.radians(weights @ _SPREAD)
    out = {}
    for bone, (finger, joint, axis) in arm.curl_axes.items():
        turn = about_axis(axis, curl[:, finger, joint])
        if joint == 0 and finger > 0:
            turn = turn @ about_axis(arm.palm, spread * _FAN[finger] * -arm.sign)
        out[bone] = turn
    return out


def mean_curls(shape_weights: Array) -> Array:
    """Mean bend of the five fingers, thumb first, in radians [t, 5], for mixed hand shapes [t, 8]."""
    return np.asarray(np.radians(_shares(shape_weights) @ _CURL.mean(2)))


def _shares(shape_weights: Array) -> Array:
    weights = np.maximum(shape_weights, 1e-6)
    return np.asarray(weights / weights.sum(1, keepdims=True))
