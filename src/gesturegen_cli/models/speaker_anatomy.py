"""The joints, layers and bones that the `flow` model knows. Left and right are the speaker's own.

A layer is a part of the picture that moves with one bone: layer 0 is the background, layer i + 1 moves with bone i.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

SIDES = ("left", "right")

_HAND = ("thumb_tip", "index_knuckle", "index_tip", "middle_tip", "little_knuckle", "little_tip")

JOINTS: tuple[str, ...] = (
    *("head_top", "chin", "left_eye", "right_eye", "neck", "chest", "waist"),
    *(f"{side}_{joint}" for joint in ("shoulder", "elbow", "wrist") for side in SIDES),
    *(f"{side}_{joint}" for side in SIDES for joint in _HAND),
)
"""Names of the 25 joints, in the order of the joint axis."""

LAYERS: tuple[str, ...] = (
    *("background", "head", "torso"),
    *(f"{side}_{part}" for part in ("upper_arm", "forearm", "palm", "fingers", "thumb") for side in SIDES),
)
"""Names of the 13 layers, in the order of the layer axis."""

SHEETS: tuple[str, ...] = ("background", "body", *(f"{side}_arm" for side in SIDES))
"""Names of the sheets: groups of layers with one flow each. Where two of them meet is an edge."""


def _sheet_of(layer: str) -> str:
    side, _, part = layer.partition("_")
    return f"{side}_arm" if part else "background" if layer == "background" else "body"


LAYER_SHEETS: tuple[int, ...] = tuple(SHEETS.index(_sheet_of(layer)) for layer in LAYERS)
"""The sheet of each layer."""

SHEET_LAYERS: tuple[tuple[int, ...], ...] = tuple(
    tuple(layer for layer, own in enumerate(LAYER_SHEETS) if own == sheet) for sheet in range(len(SHEETS))
)
"""The layers of each sheet."""

CODES: tuple[str, ...] = ("face", "left_hand", "right_hand")
"""Names of the latent codes, in the order of the code axis."""


@dataclass(frozen=True)
class Bone:
    """One bone from the mean of some joints to the mean of others; `width` is the sigma of its Gaussian capsule."""

    start: tuple[str, ...]
    end: tuple[str, ...]
    width: float


def _both(start: tuple[str, ...], end: tuple[str, ...], width: float) -> tuple[Bone, ...]:
    return tuple(Bone(tuple(f"{side}_{j}" for j in start), tuple(f"{side}_{j}" for j in end), width) for side in SIDES)


BONES: tuple[Bone, ...] = (
    Bone(("chin",), ("head_top",), 0.12),
    Bone(("waist",), ("neck",), 0.20),
    *_both(("shoulder",), ("elbow",), 0.08),
    *_both(("elbow",), ("wrist",), 0.07),
    *_both(("wrist",), ("index_knuckle", "little_knuckle"), 0.05),
    *_both(("index_knuckle", "little_knuckle"), ("index_tip", "middle_tip", "little_tip"), 0.045),
    *_both(("wrist",), ("thumb_tip",), 0.035),
)
"""The 12 bones; widths in units of half a picture, as tuned in the study of this model."""

CODE_JOINTS: tuple[tuple[str, ...], ...] = (
    ("chin", "left_eye", "right_eye"),
    *(tuple(f"{side}_{j}" for j in ("wrist", "index_knuckle", "middle_tip", "little_knuckle")) for side in SIDES),
)
"""The joints whose mean is the centre of each code's Gaussian window."""

CODE_WIDTHS: tuple[float, ...] = (0.13, 0.11, 0.11)
"""Sigma of each code's window, in units of half a picture."""


UPRIGHT_JOINTS: tuple[int, ...] = tuple(
    JOINTS.index(name)
    for name in ("head_top", "chin", "left_eye", "right_eye", "neck", "left_shoulder", "right_shoulder")
)
"""Places of the joints that every picture of a speaker shows."""


SMALLEST_BODY = 0.1
"""Least body scale: below it (a fifth of a usual one) the joints were not found, and dividing by it would explode."""


def joint_index(name: str) -> int:
    """Place of a joint on the joint axis."""
    return JOINTS.index(name)


def body_scale(joints: Tensor) -> Tensor:
    """Size of a body, (shoulder width + 1.5 head to neck) / 2, from joints `b 25 2` -> `b`, at least SMALLEST_BODY."""

    def distance(one: str, other: str) -> Tensor:
        bone = joints[:, joint_index(one)] - joints[:, joint_index(other)]
        length: Tensor = torch.linalg.vector_norm(bone, dim=-1)
        return length

    scale = (distance("left_shoulder", "right_shoulder") + 1.5 * distance("head_top", "neck")) / 2
    return scale.clamp_min(SMALLEST_BODY)


def arm_joints(side: str) -> list[int]:
    """Places of elbow, wrist and hand joints of one side: those that hang from the shoulder."""
    names = ("elbow", "wrist", *_HAND)
    return [joint_index(f"{side}_{name}") for name in names]


def _mirrored(names: tuple[str, ...]) -> tuple[int, ...]:
    other = {"left": "right", "right": "left"}

    def swap(name: str) -> str:
        side, _, rest = name.partition("_")
        return f"{other[side]}_{rest}" if side in other else name

    return tuple(names.index(swap(name)) for name in names)


MIRRORED_JOINTS: tuple[int, ...] = _mirrored(JOINTS)
"""Joint i of a mirrored picture is joint MIRRORED_JOINTS[i] of the original (with x negated)."""

MIRRORED_LAYERS: tuple[int, ...] = _mirrored(LAYERS)
"""Layer i of a mirrored picture is layer MIRRORED_LAYERS[i] of the original."""


def averaging_weights(groups: tuple[tuple[str, ...], ...]) -> Tensor:
    """Weights `k 25` that average the joints of each group."""
    weights = torch.zeros(len(groups), len(JOINTS))
    for row, names in enumerate(groups):
        for name in names:
            weights[row, joint_index(name)] = 1 / len(names)
    return weights


def average_joints(weights: Tensor, joints: Tensor) -> Tensor:
    """Weights `k 25` and joints `b 25 2` -> points `b k 2`; a sum, never a TF32 matrix product."""
    return (weights[None, :, :, None] * joints[:, None]).sum(2)
