"""One clip: a new person with own clothes, light, camera, background, style and speech, rendered with labels."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .arrays import Array
from .assets import Assets
from .backgrounds import random_background
from .labels import EVERY, Snapshot, build_labeller, save_labels, snapshot
from .motion import Motion
from .performance import FPS, perform
from .person import Person, build_person
from .person_spec import sample_person
from .rig import build_rig, pose
from .scene import Scene
from .speech import LONGEST_PAUSE, cut_recording, save_wave, speak
from .speech_features import RATE
from .video import write_video
from .view import Framing, sample_camera, sample_framing, sample_lights

WORKSPACE_SHARE = 0.25
SUFFIXES = {"video": ".mp4", "audio": ".wav", "labels": ".labels.safetensors"}


class Stopped(Exception):
    """The run was interrupted; the clip in work is dropped."""


@dataclass(frozen=True)
class ClipSettings:
    """Everything that, with the clip's number, decides what a clip looks like."""

    seed: int
    size: int
    frames: int
    recordings: tuple[Path, ...]  # empty: espeak-ng speaks
    longest_pause: float = LONGEST_PAUSE  # seconds between its sentences


def clip_id(number: int) -> str:
    """Name of clip `number`."""
    return f"speaker-{number:06d}"


def clip_paths(folder: Path, number: int) -> dict[str, Path]:
    """Paths of a clip's video, audio and labels below the dataset `folder`."""
    return {kind: folder / "clips" / f"{clip_id(number)}{suffix}" for kind, suffix in SUFFIXES.items()}


def random_scene(
    assets: Assets,
    rng: np.random.Generator,
    size: int,
    framing: Framing,
    background: Callable[[np.random.Generator, int], Array] = random_background,
) -> tuple[Person, Scene]:
    """A random person in random clothes and light, before a random background, seen by a camera so framed."""
    legs = 0.6 + 9.5 * max(0.0, framing.zoom - 0.95)  # as far down as a wide picture looks
    person = build_person(assets, sample_person(assets, rng), rng, below_hips=legs)
    camera, lights = sample_camera(person, rng, framing), sample_lights(rng)
    return person, Scene(person, size, camera, lights, background(rng, size))


@dataclass(frozen=True)
class Take:
    """Everything of a clip that is decided before its first frame is drawn."""

    rng: np.random.Generator
    wave: Array  # [n] speech at 16 kHz
    motion: Motion
    person: Person
    scene: Scene
    matrices: Array  # [frames, bones, 3, 4] skinning matrices


def rehearse(assets: Assets, number: int, settings: ClipSettings) -> Take:
    """Speech, person, scene and poses of clip `number`; the same settings and number give the same."""
    rng = np.random.default_rng([settings.seed, number])
    samples = settings.frames * RATE // FPS
    own = bool(settings.recordings)
    wave = cut_recording(settings.recordings, rng, samples) if own else speak(rng, samples, settings.longest_pause)
    performance = perform(wave, rng, workspace=rng.random() < WORKSPACE_SHARE)
    person, scene = random_scene(assets, rng, settings.size, sample_framing(rng))
    return Take(rng, wave, performance.motion, person, scene, pose(build_rig(person), performance.motion))


def make_clip(
    assets: Assets, folder: Path, number: int, settings: ClipSettings, stopped: Callable[[], bool] = lambda: False
) -> None:
    """Render clip `number` into `folder`/clips; the same settings and number give the same clip.

    Files get their names only when complete, the labels last. Raises Stopped when `stopped` says so.
    """
    take = rehearse(assets, number, settings)
    scene, matrices = take.scene, take.matrices
    labeller = build_labeller(take.person, scene.geometry)
    shots: list[Snapshot] = []
    labelled = list(range(0, settings.frames, EVERY))

    def frames() -> Iterator[Array]:
        for k in range(settings.frames):
            if stopped():
                raise Stopped
            picture = scene.draw(matrices[k])
            if k % EVERY == 0:
                shots.append(snapshot(labeller, scene, matrices[k]))
            yield picture

    final = clip_paths(folder, number)
    partial = {kind: path.with_name(f".{path.name}.{os.getpid()}.part") for kind, path in final.items()}
    try:
        save_wave(partial["audio"], take.wave)
        write_video(partial["video"], frames(), settings.size, FPS)
        save_labels(partial["labels"], labelled, shots, take.motion, take.rng)
        for kind in ("video", "audio", "labels"):
            os.replace(partial[kind], final[kind])
    finally:
        for path in partial.values():
            path.unlink(missing_ok=True)
