from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from gesturegen_cli.data.frames import labelled_frames
from gesturegen_cli.data.manifest import Clip
from gesturegen_cli.errors import InputError


def labels(count=3) -> dict[str, np.ndarray]:
    return {
        "frames": np.arange(0, 5 * count, 5, dtype=np.int32),
        "joints": np.zeros((count, 25, 2), np.float32),
        "parts": np.zeros((count, 8, 8), np.uint8),
        "source_frames": np.zeros((count, 2), np.int32),
        "flow": np.zeros((count, 2, 8, 8, 2), np.float16),
        "visible": np.ones((count, 2, 8, 8), np.uint8),
    }


def clip_with(tensors: dict[str, np.ndarray], folder: Path, frames: int = 20) -> Clip:
    save_file(tensors, folder / "c.labels.safetensors")
    return Clip(
        id="c",
        video=folder / "c.mp4",
        audio=folder / "c.wav",
        labels=folder / "c.labels.safetensors",
        split="train",
        source="drawn",
        start=0.0,
        frames=frames,
        seconds=frames / 25,
        fps=25.0,
        size=64,
        sha256={"video": "0", "audio": "0"},
    )


@pytest.mark.parametrize(
    "more", [{}, {"boxes": np.zeros((3, 3, 4), np.float32)}, {"face": np.zeros((3, 8)), "hands": np.zeros((3, 2, 8))}]
)
def test_labelled_frames_are_those_of_the_labels(tmp_path, more):
    assert labelled_frames(clip_with(labels() | more, tmp_path)).tolist() == [0, 5, 10]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frames": np.int32([0, 5, 30])}, "labels do not fit clip c of 20 frames"),
        ({"frames": np.int32([0, 5, 5])}, "labels do not fit clip c"),
        ({"source_frames": np.full((3, 2), 3, np.int32)}, "labels do not fit clip c"),
        ({"boxes": np.zeros((2, 3, 4), np.float32)}, "labels do not fit clip c"),
        ({"boxes": np.zeros((3, 2, 4), np.float32)}, r"boxes have the shape \(3, 2, 4\), expected \(3, 3, 4\)"),
        ({"hands": np.zeros((3, 8), np.float32)}, r"hands have the shape \(3, 8\), expected \(3, 2, 8\)"),
        ({"face": np.zeros((3, 9), np.float32)}, r"face have the shape \(3, 9\), expected \(3, 8\)"),
        ({"boxes": np.zeros((3, 12), np.float32)}, r"boxes have the shape \(3, 12\), expected \(3, 3, 4\)"),
    ],
)
def test_labels_that_do_not_fit_are_refused(tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        labelled_frames(clip_with(labels() | change, tmp_path))


def test_a_label_that_is_missing_is_named(tmp_path):
    tensors = labels()
    del tensors["flow"]
    with pytest.raises(InputError, match=r"labels cannot be read .*flow"):
        labelled_frames(clip_with(tensors, tmp_path))
