"""Which videos an evaluation is about: a dataset, a folder of videos, or one video."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from gesturegen_cli.data.manifest import HEADER, Clip, read_dataset
from gesturegen_cli.errors import ConfigError, InputError
from gesturegen_cli.media.files import shown

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v")
PAIR_SIGN = "__"
"""`generate` names the video of a speech and a picture SPEECH__PICTURE.mp4; the part before pairs it. Either may hold
the sign itself."""


@dataclass(frozen=True)
class Item:
    """One video with its speech: a file of its own, or None for the video's own sound track."""

    id: str
    video: Path
    audio: Path | None = None
    clip: Clip | None = field(default=None, compare=False)
    """Where the video is one of a dataset."""


def find_items(path: Path, split: str = "all") -> list[Item]:
    """The videos of a dataset folder (its clips of `split`, or of all splits), of a folder, or the one video `path`.

    Raises InputError when there is none, ConfigError for a split of what is no dataset.
    """
    check_there(path)
    if (path / HEADER).is_file():
        dataset = read_dataset(path)
        clips = dataset.clips if split == "all" else dataset.split(split)
        if not clips:
            raise InputError(f"dataset {shown(path)!r} has no clips in split '{split}'", "choose another --split")
        return [Item(clip.id, clip.video, clip.audio, clip) for clip in clips]
    if split != "all":
        raise ConfigError(
            f"--split {split}, but {shown(path)!r} is no dataset and has no splits",
            "leave --split out, or name a dataset",
        )
    if not path.is_dir():
        return [Item(path.stem, path)]
    files = sorted(p for p in path.iterdir() if p.suffix.lower() in VIDEO_SUFFIXES and not p.name.startswith("."))
    if not files:
        raise InputError(
            f"folder {shown(path)!r} holds no dataset and no videos ({', '.join(VIDEO_SUFFIXES)})",
            "name a dataset, a folder of videos or a video",
        )
    double = {p.stem for p in files if sum(q.stem == p.stem for q in files) > 1}
    return [Item(p.name if p.stem in double else p.stem, p) for p in files]


def check_there(path: Path) -> None:
    """Raise InputError when there is nothing at `path`."""
    if not path.exists():
        raise InputError(f"{shown(path)!r} does not exist", "name a dataset, a folder of videos or a video")


def draw_items(items: list[Item], count: int, rng_seed: int) -> list[Item]:
    """`count` items drawn without replacement, in their order; all of them where `count` is 0 or no fewer are there."""
    if not count or count >= len(items):
        return items
    chosen = np.random.default_rng(rng_seed).choice(len(items), count, replace=False)
    return [items[index] for index in sorted(chosen)]


def partner_of(item: Item, references: dict[str, Item]) -> Item | None:
    """The reference of the same id, or of the longest part before a `__`; None without. `references`: id -> item."""
    starts = [item.id[:at] for at in reversed(range(len(item.id))) if item.id.startswith(PAIR_SIGN, at)]
    return next((references[name] for name in (item.id, *starts) if name in references), None)
