"""Motion of the `flow` model into a person-free space and back: the "anchored" transfer, in two halves.

Head and torso are what they are relative to the person's typical pose; elbows, wrists and hands are taken from the
shoulder of the same frame, so no common start pose is needed; both in units of the body's size. The face code is
relative to the person's own, hand codes are absolute.
"""

from __future__ import annotations

from torch import Tensor

from gesturegen_cli.models.flow_extractor import pack_motion, unpack_motion
from gesturegen_cli.models.speaker_anatomy import SIDES, arm_joints, body_scale, joint_index


def neutralize_motion(motion: Tensor, own: Tensor) -> Tensor:
    """Motion `t d` of the person whose typical motion is `own` `d` -> person-free motion `t d`."""
    joints, codes = unpack_motion(motion)
    own_joints, own_codes = unpack_motion(own[None])
    scale = body_scale(own_joints)[:, None, None]
    neutral = (joints - own_joints) / scale
    for side in SIDES:
        shoulder = joint_index(f"{side}_shoulder")
        neutral[:, arm_joints(side)] = (joints[:, arm_joints(side)] - joints[:, [shoulder]]) / scale
    codes = codes.clone()
    codes[:, 0] -= own_codes[:, 0]
    return pack_motion(neutral, codes)


def retarget_motion(motion: Tensor, own: Tensor) -> Tensor:
    """Person-free motion `t d` -> motion `t d` of the person whose typical motion is `own` `d`; the exact inverse."""
    neutral, codes = unpack_motion(motion)
    own_joints, own_codes = unpack_motion(own[None])
    scale = body_scale(own_joints)[:, None, None]
    joints = own_joints + scale * neutral
    for side in SIDES:
        shoulder = joint_index(f"{side}_shoulder")
        joints[:, arm_joints(side)] = joints[:, [shoulder]] + scale * neutral[:, arm_joints(side)]
    codes = codes.clone()
    codes[:, 0] += own_codes[:, 0]
    return pack_motion(joints, codes)
