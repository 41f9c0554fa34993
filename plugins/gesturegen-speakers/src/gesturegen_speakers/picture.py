"""Still pictures: a person who is ready to speak, and a sheet of frames of a dataset before it is made."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image

from gesturegen_cli.errors import EnvironmentFault

from .arrays import Array
from .assets import load_assets
from .backgrounds import calm_background
from .clip import ClipSettings, random_scene, rehearse
from .motion import Motion, hand_key
from .rig import build_rig, pose
from .view import Framing

PER_ROW = 4
"""Clips in a row of a sheet."""
SHOWN = (0.3, 0.7)
"""Which moments of a clip a sheet shows, as shares of its length."""


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


def render_sheet(root: Path, settings: ClipSettings, clips: int) -> Array:
    """Two frames of each of the first clips of a dataset, side by side: [rows * size, 2 * PER_ROW * size, 3] uint8."""
    assets, size = load_assets(root), settings.size
    rows = -(-clips // PER_ROW)
    sheet = np.full((rows * size, 2 * PER_ROW * size, 3), 255, np.uint8)
    for number in range(clips):
        take = rehearse(assets, number, settings)
        row, column = divmod(number, PER_ROW)
        for late, share in enumerate(SHOWN):
            left = (2 * column + late) * size
            frame = take.scene.draw(take.matrices[int(share * settings.frames)])
            sheet[row * size : (row + 1) * size, left : left + size] = frame
    return sheet


def save_picture(pixels: Array, out: Path) -> None:
    """Write pixels [h, w, 3] uint8 as a png; raises EnvironmentFault when it cannot be written."""
    picture = Image.fromarray(pixels)
    partial = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        picture.save(partial, format="PNG", optimize=True)
        os.replace(partial, out)
    except OSError as error:
        raise EnvironmentFault(f"cannot write {out}: {error}", hint="choose a folder that you may write to") from error
