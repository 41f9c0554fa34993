"""Render the truth of section G of measure.py: the same performances by two people each.

    python cross_identity.py CROSS --assets ASSETS

One npz per pair in CROSS: `source` `h w 3`, a picture of person A in another pose than the driver's first one; `driver`
`t h w 3`, frames of person B; `truth` `t h w 3`, A in the same poses; `shown`, which frames count.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from gesturegen_speakers.assets import Assets, find_assets, load_assets
from gesturegen_speakers.backgrounds import random_background
from gesturegen_speakers.labels import build_labeller, project_joints
from gesturegen_speakers.performance import FPS, perform
from gesturegen_speakers.person import build_person
from gesturegen_speakers.person_spec import sample_person
from gesturegen_speakers.rig import build_rig, pose
from gesturegen_speakers.scene import Scene
from gesturegen_speakers.skeleton import JOINTS
from gesturegen_speakers.speech import speak
from gesturegen_speakers.speech_features import RATE
from gesturegen_speakers.view import Framing, sample_camera, sample_lights

SECONDS = 8
WORKSPACE_EVERY = 3
"""Every third performance visits random places with the hands; the others gesture to speech."""

Frames = NDArray[np.uint8]
BELOW_HIPS = 6.0
"""Decimetres of legs: enough for the widest framing below."""


def render_person(
    assets: Assets, seed: tuple[int, ...], size: int, framing: Framing, camera: int, motion: Any, at: list[int]
) -> tuple[Frames, NDArray[np.float32]]:
    """The frames `at` of a performance by the person of `seed`, `t size size 3`, and their joints `t 25 2`.

    The camera is drawn with a seed of its own, so that people of one framing are seen alike.
    """
    rng = np.random.default_rng(seed)
    person = build_person(assets, sample_person(assets, rng), rng, below_hips=BELOW_HIPS)
    view = sample_camera(person, np.random.default_rng(camera), framing)
    scene = Scene(person, size, view, sample_lights(rng), random_background(rng, size))
    labeller, matrices = build_labeller(person, scene.geometry), pose(build_rig(person), motion)
    frames, joints = [], []
    for frame in at:
        frames.append(scene.draw(matrices[frame]).copy())
        joints.append(project_joints(labeller, scene, matrices[frame]))
    return np.stack(frames), np.stack(joints).astype(np.float32)


def other_pose(joints: NDArray[np.float32], rng: np.random.Generator) -> int:
    """A frame whose wrists are far from where they are first: one of the farther half, at random."""
    wrists = joints[:, [JOINTS.index(f"wrist.{side}") for side in "LR"]]
    distance = np.linalg.norm(wrists - wrists[:1], axis=-1).mean(-1)
    return int(rng.choice(np.argsort(distance)[len(distance) // 2 :]))


def make_pair(assets: Assets, path: Path, seed: int, number: int, size: int, frames: int) -> None:
    """Render one pair of people into `path`."""
    rng = np.random.default_rng([seed, number])
    wave = speak(rng, SECONDS * RATE)
    motion = perform(wave, rng, workspace=number % WORKSPACE_EVERY == WORKSPACE_EVERY - 1).motion
    at = np.linspace(0, SECONDS * FPS - 1, frames).round().astype(int).tolist()
    framing, camera = Framing(zoom=float(rng.uniform(0.92, 1.2))), int(rng.integers(1 << 31))
    driver, _ = render_person(assets, (seed, number, 1), size, framing, camera, motion, at)
    truth, joints = render_person(assets, (seed, number, 2), size, framing, camera, motion, at)
    chosen = other_pose(joints, rng)
    shown = np.array([frame for frame in range(frames) if frame != chosen], np.int64)
    np.savez_compressed(path, source=truth[chosen], driver=driver, truth=truth, shown=shown)


def main(
    out: Annotated[Path, typer.Argument(help="Folder to write the pairs into.")],
    assets: Annotated[Path | None, typer.Option(envvar="CC0_PEOPLE", help="Folder of the CC0 assets.")] = None,
    pairs: Annotated[int, typer.Option(min=1, help="Pairs of people.")] = 12,
    frames: Annotated[int, typer.Option(min=4, help="Frames of each, over 8 s.")] = 16,
    size: Annotated[int, typer.Option(help="Pixels, a multiple of 64.")] = 256,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Render pairs of people in the same poses; those that are there are kept."""
    loaded = load_assets(find_assets(assets))
    out.mkdir(parents=True, exist_ok=True)
    for number in range(pairs):
        path = out / f"pair-{number:02d}.npz"
        if not path.exists():
            make_pair(loaded, path, seed, number, size, frames)
            typer.echo(str(path), err=True)


if __name__ == "__main__":
    typer.run(main)
