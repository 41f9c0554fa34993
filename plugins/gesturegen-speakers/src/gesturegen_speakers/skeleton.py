"""Names and order of the labelled joints and body parts, and which bone belongs to which part.

The `flow` deviation model of gesturegen reads labels in this order; changing it changes the label format.
"""

from __future__ import annotations

SIDES = ("L", "R")


def _joints() -> tuple[str, ...]:
    names = ["head^", "jaw^", "eye.L", "eye.R", "neck01", "spine01", "spine05"]
    names += [f"{bone}.{side}" for bone in ("upperarm01", "lowerarm01", "wrist") for side in SIDES]
    hand = ("finger1-3^", "finger2-1", "finger2-3^", "finger3-3^", "finger5-1", "finger5-3^")
    names += [f"{bone}.{side}" for side in SIDES for bone in hand]
    return tuple(names)


JOINTS = _joints()
"""25 joints. A name is a bone of the rig: its head, or its tail where the name carries '^'."""

PARTS = (
    "bg",
    "head",
    "torso",
    "uarm.L",
    "uarm.R",
    "farm.L",
    "farm.R",
    "palm.L",
    "palm.R",
    "fing.L",
    "fing.R",
    "thumb.L",
    "thumb.R",
)
"""Part labels 0..12; 0 is the background."""

BOXES = ("hand.L", "hand.R", "mouth")

_TORSO = ("spine", "clavicle", "breast", "pelvis", "root", "upperleg", "lowerleg", "foot", "toe", "shoulder")
_LIMBS = (("upperarm", "uarm"), ("lowerarm", "farm"), ("metacarpal", "palm"), ("finger1", "thumb"), ("finger", "fing"))


def part_of_bone(bone: str) -> int:
    """Part label of everything skinned mainly to `bone` (a rig name such as 'finger2-1.L')."""
    name, _, side = bone.partition(".")
    if side in SIDES:
        if name == "wrist":
            return PARTS.index(f"palm.{side}")
        for prefix, part in _LIMBS:
            if name.startswith(prefix):
                return PARTS.index(f"{part}.{side}")
    if name.startswith((*_TORSO, "neck01", "neck02")):
        return PARTS.index("torso")
    return PARTS.index("head")
