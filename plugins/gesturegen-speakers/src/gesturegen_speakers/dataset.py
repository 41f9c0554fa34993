"""The dataset folder: manifest, summary, splits, and finding out what is already done."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gesturegen_cli.errors import ConfigError, InputError

from .clip import ClipSettings, clip_id, clip_paths
from .performance import FPS
from .speech import LONGEST_PAUSE
from .speech_features import RATE

_STALE_SECONDS = 3600
_SPLITS = (("test", 0.05), ("val", 0.10), ("train", 1.0))  # upper ends of the hash range


@dataclass(frozen=True)
class Entry:
    """One clip of the manifest."""

    number: int
    split: str
    sha256: dict[str, str]


def split_of(name: str) -> str:
    """Split of a clip by the hash of its id: about 90 train, 5 val, 5 test of 100. Every clip has its own person."""
    position = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") / 2**32
    return next(split for split, end in _SPLITS if position < end)


def open_dataset(folder: Path, settings: ClipSettings) -> dict[int, Entry]:
    """Create the folder or check that it was made with the same settings; returns the clips that are complete.

    Raises InputError when the folder holds something else, ConfigError when the settings differ.
    """
    summary = folder / "dataset.json"
    if summary.exists():
        try:
            found = json.loads(summary.read_text(encoding="utf-8"))["settings"]
            found = {"longest_pause": LONGEST_PAUSE, **found}  # older folders do not name it
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{summary} is not a dataset summary", hint="choose an empty folder") from error
        wanted = describe(settings)
        wrong = [
            f"{key}: {found.get(key)!r} there, {wanted[key]!r} asked" for key in wanted if found.get(key) != wanted[key]
        ]
        if wrong:
            raise ConfigError(
                f"{folder} was made with other settings ({'; '.join(wrong)})",
                hint="repeat the command with the settings of the folder, or choose another folder",
            )
    elif folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder} is not empty and not a dataset", hint="choose an empty folder")
    (folder / "clips").mkdir(parents=True, exist_ok=True)
    (folder / "dropped.jsonl").touch()
    _sweep(folder / "clips")
    known = _read_manifest(folder / "manifest.jsonl")
    numbers = (int(path.name[8:14]) for path in sorted((folder / "clips").glob("speaker-*.labels.safetensors")))
    done = {n: known.get(n) or entry_of(folder, n) for n in numbers if is_complete(folder, n)}
    write_dataset(folder, settings, done.values())
    return done


def _sweep(clips: Path) -> None:
    """Remove unfinished files that a killed run left; young ones may belong to a run that is still going."""
    for path in clips.glob(".*.part"):
        if time.time() - path.stat().st_mtime > _STALE_SECONDS:
            path.unlink(missing_ok=True)


def is_complete(folder: Path, number: int) -> bool:
    """Whether all files of a clip are there."""
    return all(path.is_file() for path in clip_paths(folder, number).values())


def entry_of(folder: Path, number: int) -> Entry:
    """Manifest entry of a complete clip, with the digests of its files."""
    digests = {}
    for kind, path in clip_paths(folder, number).items():
        with path.open("rb") as file:
            digests[kind] = hashlib.file_digest(file, "sha256").hexdigest()
    return Entry(number, split_of(clip_id(number)), digests)


def describe(settings: ClipSettings) -> dict[str, Any]:
    """The settings that decide the content of the clips, as written to dataset.json."""
    speech = "recordings" if settings.recordings else "espeak-ng"
    seconds = settings.frames / FPS
    content = {"seed": settings.seed, "size": settings.size, "clip_seconds": seconds, "speech": speech}
    return {**content, "longest_pause": settings.longest_pause}


def write_dataset(folder: Path, settings: ClipSettings, entries: Iterable[Entry]) -> None:
    """Write manifest.jsonl, then dataset.json, each replaced in one step, so both can be read at any time."""
    entries = sorted(entries, key=lambda entry: entry.number)
    seconds = settings.frames / FPS
    _replace(folder / "manifest.jsonl", "".join(json.dumps(_line(entry, settings)) + "\n" for entry in entries))
    splits = {split: sum(entry.split == split for entry in entries) for split in ("train", "val", "test")}
    summary = {
        "format": 1,
        "kind": "gesturegen-dataset",
        "fps": FPS,
        "size": settings.size,
        "sample_rate": RATE,
        "clips": len(entries),
        "seconds": len(entries) * seconds,
        "source": "digital speakers (rendered, CC0 assets)",
        "splits": splits,
        "labels": True,
        "settings": describe(settings),
    }
    _replace(folder / "dataset.json", json.dumps(summary, indent=2) + "\n")


def _line(entry: Entry, settings: ClipSettings) -> dict[str, Any]:
    name = clip_id(entry.number)
    paths = {kind: f"clips/{path.name}" for kind, path in clip_paths(Path(), entry.number).items()}
    return {
        "id": name,
        **paths,
        "split": entry.split,
        "source": f"digital-speaker {entry.number:06d}",
        "start": 0.0,
        "frames": settings.frames,
        "seconds": settings.frames / FPS,
        "fps": FPS,
        "size": settings.size,
        "sha256": entry.sha256,
    }


def _replace(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def _read_manifest(path: Path) -> dict[int, Entry]:
    """Entries already listed; lines that cannot be read are made again from the files."""
    if not path.exists():
        return {}
    entries = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
            entry = Entry(int(row["id"][8:]), row["split"], row["sha256"])
        except (ValueError, KeyError, TypeError):
            continue
        entries[entry.number] = entry
    return entries
