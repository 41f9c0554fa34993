"""One still picture of a person who is ready to speak."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image

from gesturegen_cli.errors import EnvironmentFault

from .arrays import Array
from .assets import load_assets
from .backgrounds import calm_background
from .clip import random_scene
from .motion import Motion, hand_key
from .rig import build_rig, pose
from .view import Framing


def ready_motion(rng: np.random.Generator) -> Motion:
    """One frame: upright, mouth closed, a light smile, both hands open in front of the belly and apart."""
    hands = {}
    for side in "LR":
        place = np.array([0.30, -0.50, 0.46]) + rng.normal(0, 0.015, 3)
        hands[side] = hand_key(place, rng.uniform(70, 95), "relaxed")[None]
    smile = np.array([rng.uniform(0.1, 0.3)])
    brow = np.array([0.25])
    face = {
        "MouthLeftPullUp": smile,
        "MouthRightPullUp": smile,
        "LeftOuterBrowUp": brow,
        "RightOuterBrowUp": brow,
        "LeftInnerBrowUp": 0.45 * brow,
        "RightInnerBrowUp": 0.45 * brow,
    }
    return Motion(np.zeros((1, 3)), np.zeros((1, 3)), np.zeros((1, 2)), np.zeros(1), face, hands)


def render_picture(root: Path, seed: int, size: int) -> Array:
    """Picture [size, size, 3] uint8 of person `seed`, drawn at twice the size and averaged."""
    rng = np.random.default_rng(seed)
    person, scene = random_scene(load_assets(root), rng, size * 2, Framing(), calm_background)
    large = scene.draw(pose(build_rig(person), ready_motion(rng))[0])
    return np.asarray(Image.fromarray(large).resize((size, size), Image.Resampling.BOX))


def save_picture(root: Path, out: Path, seed: int, size: int) -> None:
    """Render and write a png; raises EnvironmentFault when it cannot be written."""
    picture = Image.fromarray(render_picture(root, seed, size))
    partial = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        picture.save(partial, format="PNG", optimize=True)
        os.replace(partial, out)
    except OSError as error:
        raise EnvironmentFault(f"cannot write {out}: {error}", hint="choose a folder that you may write to") from error
