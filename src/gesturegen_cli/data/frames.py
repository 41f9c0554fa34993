"""Decoded frames of clips in the cache: stage 1 visits them in random order, which compressed video is bad at."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from gesturegen_cli.data.cache import cached_array
from gesturegen_cli.data.manifest import Clip
from gesturegen_cli.errors import InputError
from gesturegen_cli.media.video import iter_frames

STRIDE = 5
"""Of clips without labels every 5th frame is kept: neighbours differ too little to learn motion from."""

LABELS = ("frames", "joints", "parts", "source_frames", "flow", "visible")
"""Tensors of a labels file that training reads; m labelled frames (docs/architecture.md)."""

BOXES, FACE, HANDS = "boxes", "face", "hands"
OPTIONAL: dict[str, tuple[int, ...]] = {BOXES: (3, 4), FACE: (8,), HANDS: (2, 8)}
"""Tensors that a labels file may have, and their shapes per frame: boxes of left hand, right hand and mouth, and what
face and hands do."""


@dataclass(frozen=True)
class FrameStore:
    """Frames of one clip on disk: `path` holds `count` pictures `count h w 3` uint8."""

    path: Path
    count: int
    labels: Path | None
    """Labels of exactly these frames, in this order."""


def cache_frames(
    clips: Sequence[Clip], folder: Path, on_clip: Callable[[int, int], None] | None = None
) -> tuple[FrameStore, ...]:
    """Decode every clip once into `folder`; what is there already is not decoded again. InputError names a bad clip."""
    stores = []
    for done, clip in enumerate(clips):
        stores.append(_cache_clip(clip, folder))
        if on_clip is not None:
            on_clip(done + 1, len(clips))
    return tuple(stores)


def _cache_clip(clip: Clip, folder: Path) -> FrameStore:
    numbers = np.arange(0, clip.frames, STRIDE) if clip.labels is None else labelled_frames(clip)
    wanted = hashlib.sha256(numbers.astype("<i4").tobytes()).hexdigest()[:12]
    path = folder / "frames" / f"{clip.sha256['video']}-{clip.size}-{wanted}.npy"
    return FrameStore(cached_array(path, lambda: _decode(clip, numbers)), len(numbers), clip.labels)


def _decode(clip: Clip, numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The frames of a clip with these ascending numbers, `m h w 3`."""
    wanted, kept = set(numbers.tolist()), []
    with closing(iter_frames(clip.video, fps=clip.fps, size=clip.size)) as frames:  # type: ignore[type-var] # a generator
        for number, frame in enumerate(frames):
            if number in wanted:
                kept.append(frame)
            if len(kept) == len(wanted):
                break
    if len(kept) != len(wanted):
        found = f"{len(kept)} of {len(wanted)} frames could be decoded, the last one expected is {int(numbers[-1])}"
        raise InputError(f"clip {clip.id}: {found}", "run gesturegen preprocess again")
    return np.stack(kept)


def labelled_frames(clip: Clip) -> NDArray[np.int64]:
    """Numbers of the labelled frames of a clip, checked: ascending, inside the clip, as many as labels."""
    assert clip.labels is not None  # noqa: S101 - asked for labelled clips only
    tensors = read_labels(clip.labels, None)
    numbers = tensors["frames"].astype(np.int64)
    lengths = {len(tensor) for tensor in tensors.values()}
    ascending = len(numbers) > 1 and bool((np.diff(numbers) > 0).all()) and numbers[0] >= 0
    pointers = tensors["source_frames"]
    inside = ascending and numbers[-1] < clip.frames and pointers.min() >= 0 and pointers.max() < len(numbers)
    if not inside or lengths != {len(numbers)}:
        raise InputError(
            f"{clip.labels}: labels do not fit clip {clip.id} of {clip.frames} frames", "make the labels again"
        )
    for name, shape in OPTIONAL.items():
        if name in tensors and tensors[name].shape[1:] != shape:
            found = f"{name} have the shape {tensors[name].shape}, expected {(len(numbers), *shape)}"
            raise InputError(f"{clip.labels}: {found}", "make the labels again")
    return numbers


def read_labels(path: Path, frame: int | None) -> dict[str, NDArray[np.generic]]:
    """Labels of one labelled frame, or of all of them (None). InputError when the file is damaged."""
    try:
        with safe_open(path, framework="numpy") as file:
            where = slice(None) if frame is None else frame
            there = [*LABELS, *(name for name in OPTIONAL if name in file.keys())]  # noqa: SIM118 - no dict
            return {name: file.get_slice(name)[where] for name in there}
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: labels cannot be read ({error})", "make the labels again") from error
