"""Datasets on disk: `dataset.json`, `manifest.jsonl` with one clip per line, `clips/ID.mp4` and `clips/ID.wav`.

A manifest may come from anybody: reading checks every line before any clip is opened. Paths are relative, stay inside
the folder (links included) and name regular files; ids are short plain names, so that they can be used in file names.
`dataset.json` is written last, and says how many lines the manifest has: a half-written dataset does not read.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gesturegen_cli.data.strict_json import HINT, Inside, Line, parse_object, shown_value
from gesturegen_cli.errors import InputError
from gesturegen_cli.media.files import replacing
from gesturegen_cli.types import SAMPLE_RATE

FORMAT = 1
KIND = "gesturegen-dataset"
HEADER = "dataset.json"
MANIFEST = "manifest.jsonl"
DROPPED = "dropped.jsonl"
CLIPS = "clips"
SPLITS = ("train", "val", "test")
_ID = re.compile(r"[A-Za-z0-9_.-]{1,120}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MAX_LINE = 100_000
_MAX_HEADER = 10_000_000


@dataclass(frozen=True)
class Clip:
    """A stretch of speaker video and its sound. Paths are absolute; `start` is in seconds of the source video."""

    id: str
    video: Path
    audio: Path
    labels: Path | None
    split: str
    source: str
    """Name of the video it was cut from. Clips of one source stand in one split, unless a list said otherwise."""
    start: float
    frames: int
    seconds: float
    """frames / fps."""
    fps: float
    size: int
    """Side of the square picture, pixels."""
    sha256: dict[str, str]
    """Digest of each file: `video`, `audio`, and `labels` where there are labels."""
    crop: tuple[int, int, int] | None = None
    """Left, top and side, in pixels of the upright source picture, of the square that was cut out."""
    speaker: str = ""
    consent: str = ""
    """What the list of videos said about the speaker's consent."""


@dataclass(frozen=True)
class Dropped:
    """A stretch of a source that did not become a clip, in seconds, and why."""

    source: str
    start: float | None
    end: float | None
    reason: str
    """One of a few short phrases, for counting."""
    detail: str = ""


@dataclass(frozen=True)
class Dataset:
    """All clips of a dataset folder."""

    root: Path
    fps: float
    size: int
    clips: tuple[Clip, ...]
    labels: bool
    """Whether every clip has labels."""
    source: str
    """Where the videos came from, in words."""
    settings: dict[str, Any] = field(default_factory=dict)

    def split(self, name: str) -> tuple[Clip, ...]:
        """The clips of split `train`, `val` or `test`, in manifest order; may be empty."""
        if name not in SPLITS:
            raise InputError(f"unknown split '{name}', expected one of {', '.join(SPLITS)}", "")
        return tuple(clip for clip in self.clips if clip.split == name)

    @property
    def seconds(self) -> float:
        """Length of all clips together."""
        return sum(clip.seconds for clip in self.clips)


def read_dataset(root: str | Path) -> Dataset:
    """Read and check a dataset folder. No media file is opened, each must be there.

    Raises InputError naming the line of the manifest for anything that does not fit.
    """
    folder = Path(os.path.abspath(root))
    if not folder.is_dir():
        raise InputError(f"dataset '{root}' is not a folder", HINT)
    header = _read_header(folder)
    inside = Inside(folder)
    clips: list[Clip] = []
    ids: dict[str, int] = {}
    for number, text in _lines(folder / MANIFEST):
        line = Line(f"{MANIFEST}, line {number}", parse_object(text, f"{MANIFEST}, line {number}"))
        clip = _read_clip(line, header, inside)
        if clip.id in ids:
            line.fail(f"id {clip.id!r} stands in line {ids[clip.id]} already")
        ids[clip.id] = number
        clips.append(clip)
    expected = header.whole("clips", 0)
    if len(clips) != expected:
        header.fail(f"says {expected} clips, {MANIFEST} has {len(clips)}; it was not finished or was changed")
    settings = header.values.get("settings", {})
    return Dataset(
        folder,
        header.number("fps", 1),
        header.whole("size", 1),
        tuple(clips),
        header.flag("labels"),
        header.text("source", ""),
        settings if isinstance(settings, dict) else {},
    )


def write_dataset(
    root: Path,
    clips: Iterable[Clip],
    *,
    fps: float,
    size: int,
    source: str,
    settings: Mapping[str, Any] | None = None,
    dropped: Iterable[Dropped] = (),
) -> Dataset:
    """Write `manifest.jsonl`, `dropped.jsonl` and, last, `dataset.json`; then read it all back, checked.

    The clips' files lie inside `root` already. Each file appears complete or not at all. EnvironmentFault when the
    folder cannot be written.
    """
    root = Path(os.path.abspath(root))
    kept = sorted(clips, key=lambda clip: clip.id)
    header = {
        "format": FORMAT,
        "kind": KIND,
        "fps": fps,
        "size": size,
        "sample_rate": SAMPLE_RATE,
        "clips": len(kept),
        "seconds": round(sum(clip.seconds for clip in kept), 3),
        "source": source,
        "splits": {name: sum(clip.split == name for clip in kept) for name in SPLITS},
        "labels": bool(kept) and all(clip.labels is not None for clip in kept),
        "settings": dict(settings or {}),
    }
    write_text(root / MANIFEST, "".join(_dump(_as_line(clip, root)) + "\n" for clip in kept))
    write_text(root / DROPPED, "".join(_dump(asdict(item)) + "\n" for item in dropped))
    write_text(root / HEADER, json.dumps(header, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    return read_dataset(root)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file that appears complete or not at all."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


def _dump(values: Mapping[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False, allow_nan=False)


def _as_line(clip: Clip, root: Path) -> dict[str, Any]:
    line: dict[str, Any] = asdict(clip)
    for key in ("video", "audio", "labels"):
        path = getattr(clip, key)
        line[key] = None if path is None else Path(os.path.abspath(path)).relative_to(root).as_posix()
    for key in ("labels", "crop", "speaker", "consent"):
        if not line[key]:
            del line[key]
    return line


def _read_header(folder: Path) -> Line:
    path = folder / HEADER
    try:
        if not path.is_file():
            raise InputError(f"'{folder.name}' is not a finished dataset: it has no {HEADER}", HINT)
        if path.stat().st_size > _MAX_HEADER:
            raise InputError(f"{HEADER} has {path.stat().st_size} bytes, at most {_MAX_HEADER} are read", HINT)
        header = Line(HEADER, parse_object(path.read_text(encoding="utf-8"), HEADER))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{HEADER} cannot be read ({error})", HINT) from error
    if header.values.get("kind") != KIND:
        header.fail(f"kind = {shown_value(header.values.get('kind'))}, expected '{KIND}'")
    if header.values.get("format") != FORMAT:
        header.fail(f"format = {shown_value(header.values.get('format'))}, this version reads {FORMAT}")
    rate = header.values.get("sample_rate")
    if rate != SAMPLE_RATE:
        header.fail(f"sample_rate = {shown_value(rate)}, expected {SAMPLE_RATE}")
    return header


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        if not path.is_file():
            raise InputError(f"the dataset has no {MANIFEST}", HINT)
        with path.open(encoding="utf-8", newline="\n") as file:
            number = 0
            while text := file.readline(_MAX_LINE + 1):
                number += 1
                if len(text) > _MAX_LINE:
                    raise InputError(f"{MANIFEST}, line {number} has more than {_MAX_LINE} characters", HINT)
                if text.strip():
                    yield number, text
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{MANIFEST} cannot be read ({error})", HINT) from error


def _read_clip(line: Line, header: Line, inside: Inside) -> Clip:
    name, split = line.text("id"), line.text("split")
    if not _ID.fullmatch(name):
        line.fail(f"id = {shown_value(name)}, expected 1 to 120 of the signs A-Z a-z 0-9 _ . -")
    if split not in SPLITS:
        line.fail(f"split = {shown_value(split)}, expected one of {', '.join(SPLITS)}")
    fps, size = line.number("fps", 1), line.whole("size", 1)
    if fps != header.values.get("fps") or size != header.values.get("size"):
        expected = f"{header.values.get('fps')} fps at size {header.values.get('size')} of {HEADER}"
        line.fail(f"{fps:g} fps at size {size}, expected {expected}")
    frames, seconds = line.whole("frames", 1), line.number("seconds", 0)
    if abs(seconds - frames / fps) > 1 / fps:
        line.fail(f"seconds = {seconds:g}, expected frames / fps = {frames / fps:g}")
    files = {key: inside.file(line, key) for key in ("video", "audio")}
    if line.values.get("labels") is not None:
        files["labels"] = inside.file(line, "labels")
    elif header.flag("labels"):
        line.fail(f"no labels, though {HEADER} says that every clip has some")
    return Clip(
        id=name,
        video=files["video"],
        audio=files["audio"],
        labels=files.get("labels"),
        split=split,
        source=line.text("source"),
        start=line.number("start", 0),
        frames=frames,
        seconds=seconds,
        fps=fps,
        size=size,
        sha256=_read_digests(line, list(files)),
        crop=_read_crop(line),
        speaker=line.text("speaker", ""),
        consent=line.text("consent", ""),
    )


def _read_digests(line: Line, keys: list[str]) -> dict[str, str]:
    digests = line.values.get("sha256")
    if not isinstance(digests, dict):
        line.fail(f"sha256 = {shown_value(digests)}, expected an object with {', '.join(keys)}")
    for key in keys:
        if not isinstance(digests.get(key), str) or not _SHA256.fullmatch(digests[key]):
            line.fail(f"sha256.{key} = {shown_value(digests.get(key))}, expected 64 hexadecimal digits")
    return {key: digests[key] for key in keys}


def _read_crop(line: Line) -> tuple[int, int, int] | None:
    crop = line.values.get("crop")
    if crop is None:
        return None
    whole = isinstance(crop, list) and all(isinstance(v, int) and not isinstance(v, bool) for v in crop)
    if not whole or len(crop) != 3:
        line.fail(f"crop = {shown_value(crop)}, expected [left, top, side] in pixels")
    return crop[0], crop[1], crop[2]
