"""Small datasets of the drawn speaker, with or without invented labels."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from safetensors.numpy import save_file

from gesturegen_cli.data.manifest import Clip, Dataset, write_dataset
from gesturegen_cli.media.audio import write_wav
from gesturegen_cli.media.video import write_video


def draw_figure(phase: float, shade: int) -> np.ndarray:
    """A half-body figure `64 64 3` whose arms swing with `phase` (radians)."""
    image = Image.new("RGB", (64, 64), (205 - shade, 215, 225 - shade))
    draw = ImageDraw.Draw(image)
    draw.ellipse([26, 8, 38, 22], fill=(214, 170, 140))
    draw.rectangle([22, 22, 42, 63], fill=(60, 80 + shade, 130))
    for side in (-1, 1):
        x, y = 32 + side * (17 + 9 * np.cos(phase)), 37 - 9 * np.sin(phase)
        draw.line([32 + side * 10, 26, 32 + side * 17, 37, x, y], fill=(60, 80 + shade, 130), width=4)
        draw.ellipse([x - 3, y - 3, x + 3, y + 3], fill=(214, 170, 140))
    return np.asarray(image)


def tones(seconds: float, pitch: float) -> np.ndarray:
    time = np.arange(round(seconds * 16_000)) / 16_000
    return (0.3 * np.sin(2 * np.pi * pitch * time) * ((time % 0.5) < 0.3)).astype(np.float32)


def write_clip(root: Path, name: str, split: str, seconds: float, labels: bool) -> Clip:
    count, shade = round(seconds * 25), 10 * int(name[-1])
    video, audio = root / "clips" / f"{name}.mp4", root / "clips" / f"{name}.wav"
    video.parent.mkdir(parents=True, exist_ok=True)
    frames = (draw_figure(2 * np.pi * i / 12.5, shade) for i in range(count))
    write_video(video, frames, fps=25, size=(64, 64), frame_count=count)
    write_wav(audio, tones(seconds, 160.0 + shade))
    files = {"video": video, "audio": audio}
    if labels:
        files["labels"] = root / "clips" / f"{name}.labels.safetensors"
        save_file(invented_labels(count, int(name[-1])), files["labels"])
    digests = {key: hashlib.sha256(path.read_bytes()).hexdigest() for key, path in files.items()}
    return Clip(name, video, audio, files.get("labels"), split, name, 0.0, count, seconds, 25.0, 64, digests)


def invented_labels(count: int, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    m = len(range(0, count, 5))
    return {
        "frames": np.arange(0, count, 5, dtype=np.int32),
        "joints": rng.uniform(-0.8, 0.8, (m, 25, 2)).astype(np.float32),
        "parts": rng.integers(0, 13, (m, 64, 64)).astype(np.uint8),
        "source_frames": rng.integers(0, m, (m, 2)).astype(np.int32),
        "flow": rng.normal(0, 0.1, (m, 2, 64, 64, 2)).astype(np.float16),
        "visible": rng.integers(0, 2, (m, 2, 64, 64)).astype(np.uint8),
        "boxes": np.sort(rng.uniform(-1, 1, (m, 3, 2, 2)), axis=2).reshape(m, 3, 4).astype(np.float32),
        "alpha": rng.integers(0, 256, (m, 64, 64)).astype(np.uint8),
    }


def make_dataset(root: Path, train: int = 2, val: int = 1, seconds: float = 4.0, labels: bool = False) -> Dataset:
    splits = ["train"] * train + ["val"] * val
    clips = [write_clip(root, f"clip-{i}", split, seconds, labels) for i, split in enumerate(splits)]
    return write_dataset(root, clips, fps=25.0, size=64, source="drawn")
