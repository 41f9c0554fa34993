"""What face and hands do in a frame, as numbers that no joint tells: labels of the latent codes."""

from __future__ import annotations

import numpy as np

from .arms import mean_curls
from .arrays import Array
from .motion import Motion
from .skeleton import SIDES

FACE = ("jaw", "kiss", "wide", "smile", "lids", "brows", "gaze_x", "gaze_y")
"""Opening of the jaw, pursed and pulled lips, raised corners, closed lids, raised brows: weights of face units, usually
in [0, 1]. Gaze in radians against the head: to the person's left, up."""

HAND = ("thumb", "index", "middle", "ring", "little", "palm_up", "palm_in", "flexion")
"""Mean bend of every finger and of the wrist in radians; cosine and sine of the forearm's roll (1, 0: palm up)."""


def face_articulation(motion: Motion) -> Array:
    """The numbers of FACE, [t, 8] float32."""
    face = motion.face
    columns = (
        face["JawDrop"],
        face["LipsKiss"],
        face["MouthLeftPullSide"],
        face["MouthLeftPullUp"],
        face["LeftUpperLidClosed"],
        face["LeftOuterBrowUp"],
    )
    return np.column_stack([*columns, motion.gaze]).astype(np.float32)


def hand_articulation(motion: Motion) -> Array:
    """The numbers of HAND for the left and the right hand, [t, 2, 8] float32."""
    sides = []
    for side in SIDES:
        row = motion.hands[side]
        roll, flexion = np.radians(row[:, 3]), np.radians(row[:, 4:5])
        turn = np.stack([np.cos(roll), np.sin(roll)], 1)
        sides.append(np.concatenate([mean_curls(row[:, 5:]), turn, flexion], 1))
    return np.stack(sides, 1).astype(np.float32)
