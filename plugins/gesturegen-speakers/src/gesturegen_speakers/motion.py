"""What a body does over a clip, independent of who it is: the input of the rig."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .arrays import Array

HAND_SHAPES = ("relaxed", "open", "flat", "cup", "point", "precision", "fist", "claw")


@dataclass(frozen=True)
class Motion:
    """Body motion over t frames.

    Each hand is a row [13]: wrist position (sideways, up, forward; arm lengths from the middle of the shoulders, moving
    with the torso), forearm roll in degrees (0 palm up, 90 thumb up, 165 palm down), wrist flexion in degrees, weights
    of HAND_SHAPES. `face` maps face units to weights [t].
    """

    torso: Array  # [t, 3] rotation vectors, radians
    neck: Array  # [t, 3]
    gaze: Array  # [t, 2] yaw, pitch in radians
    breath: Array  # [t]
    face: dict[str, Array]
    hands: dict[str, Array]  # 'L', 'R' -> [t, 13]


def hand_key(position: tuple[float, float, float] | Array, roll: float, shape: str, flexion: float = 0.0) -> Array:
    """One hand row [13] with a single hand shape."""
    weights = [float(name == shape) for name in HAND_SHAPES]
    return np.concatenate([np.asarray(position, float), [roll, flexion], weights])
