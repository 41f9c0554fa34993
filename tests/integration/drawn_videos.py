"""Small videos drawn for the tests of preprocess."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gesturegen_cli.media.video import write_video
from gesturegen_cli.types import AudioClip

WIDTH, HEIGHT = 160, 96


def pictures(count: int, cut: int | None = None, height: int = HEIGHT) -> Iterator[np.ndarray]:
    """A bright square that moves before a coarse pattern; from frame `cut` on before another one."""
    rng = np.random.default_rng(5)
    scenes = [np.kron(rng.integers(0, 200, (6, 10, 3)), np.ones((16, 16, 1))).astype(np.uint8) for _ in range(2)]
    for index in range(count):
        frame = scenes[cut is not None and index >= cut][:height].copy()
        x = 100 + index % 20
        frame[30:60, x : x + 20] = 255
        yield frame


def beeps(seconds: float) -> AudioClip:
    """A tone in the first half of each second."""
    now = np.arange(round(seconds * 16000)) / 16000
    return AudioClip((0.3 * np.sin(2 * np.pi * 440 * now) * (now % 1 < 0.5)).astype(np.float32))


def draw(
    path: Path,
    seconds: float = 2.4,
    cut: int | None = None,
    audio: AudioClip | None = None,
    height: int = HEIGHT,
) -> None:
    """Write a video of `pictures`, 160 pixels wide, under any name that the disk takes."""
    frames = round(seconds * 25)
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = path.parent / "drawing.mp4"
    moving = pictures(frames, cut, height)
    write_video(plain, moving, fps=25, size=(WIDTH, height), audio=audio, frame_count=frames, comment="")
    plain.rename(path)
