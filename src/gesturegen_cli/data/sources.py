"""Which videos `preprocess` works on: a folder, one video, or a CSV or JSONL list with a `path` for each."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gesturegen_cli.data.manifest import Dropped
from gesturegen_cli.data.strict_json import parse_object, shown_value
from gesturegen_cli.data.tables import csv_rows, read_list_text
from gesturegen_cli.errors import InputError
from gesturegen_cli.media.files import describe_content, is_text, require_file
from gesturegen_cli.media.probe import probe_media

_VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".3gp", ".mkv", ".webm", ".avi", ".flv"),
    *(".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".asf", ".mxf"),
)
_MAGIC = (b"\x1aE\xdf\xa3", b"FLV", b"\0\0\1\xba", b"\0\0\1\xb3", b"0&\xb2u\x8ef\xcf\x11", b"OggS", b"\x06\x0e+4", b"G")
"""First bytes of containers that may hold a film: Matroska, FLV, MPEG, ASF, Ogg, MXF, MPEG-TS."""
_NO = frozenset(("no", "n", "false", "0"))
_LIST_HINT = "a list is CSV with the columns path[,start,end,speaker,consent], or JSONL with these keys"


@dataclass(frozen=True)
class Source:
    """A video, or the part of one between `start` and `end` (seconds, None meaning its end), to be cut into clips."""

    path: Path
    name: str
    """How it is called in records: the path below the folder or list, without undecodable bytes."""
    start: float = 0.0
    end: float | None = None
    speaker: str = ""
    consent: str = ""
    label: str = ""
    """What its clips are called after, where that is not the file: `speaker#interval`."""
    group: str = ""
    """Parts of one recording have the same and go into one split; where empty, the file's content decides."""
    split: str = ""
    """The split that a list asks for; where empty, it is drawn."""
    square: float | None = None
    """Where the square that shows the speaker begins, see `speaker_crop.fixed_square`; None: look for the speaker."""

    @property
    def title(self) -> str:
        """How people find it: the file, and which part of it."""
        return f"{self.label} ({self.name})" if self.label else self.name


@dataclass(frozen=True)
class Sources:
    """What was found: videos to work on, and list rows refused before any video was opened."""

    videos: tuple[Source, ...]
    refused: tuple[Dropped, ...] = ()


def find_sources(videos: str | Path, *, skip: Path | None = None, allow_outside: bool = False) -> Sources:
    """The videos of a folder (with its subfolders), of a list, or the one video itself, in a stable order.

    Hidden files, links to folders and the folder `skip` are left out. A list names videos relative to itself, and
    inside its own folder unless `allow_outside`. A row that cannot be used costs only itself.

    Raises InputError: nothing there, no video in the folder, a list without the column `path`.
    """
    path = Path(os.path.abspath(videos))
    if path.is_dir():
        found = tuple(Source(file, source_name(file, path)) for file in iter_videos(path, skip))
        if not found:
            raise InputError(f"no video in the folder '{path.name}'", "hidden files and links to folders are skipped")
        return Sources(found)
    file, head = require_file(path, "video")
    if is_text(head):
        return _read_list(file, allow_outside)
    return Sources((Source(file, source_name(file, file.parent)),))


def source_name(path: Path, root: Path) -> str:
    """The path below `root` with `/` between its parts; undecodable bytes become a replacement sign."""
    return os.fsencode(os.path.relpath(path, root)).decode("utf-8", "replace").replace(os.sep, "/")


def iter_videos(folder: Path, skip: Path | None = None) -> Iterator[Path]:
    """The videos of a folder and its subfolders by name; hidden files, links to folders and `skip` are left out."""
    for parent, folders, files in os.walk(folder):
        here = Path(parent)
        folders[:] = sorted(n for n in folders if not n.startswith(".") and (skip is None or here / n != skip))
        for name in sorted(files):
            file = here / name
            if not name.startswith(".") and file.is_file() and _is_video(file):
                yield file


def _is_video(file: Path) -> bool:
    """Named like a video, whatever is in it (a broken one is to be reported), or with a film in it by its content."""
    if file.suffix.lower() in _VIDEO_SUFFIXES:
        return True
    try:
        _path, head = require_file(file, "video")
        film = head[4:8] == b"ftyp" or head.startswith(_MAGIC) or (head[:4] == b"RIFF" and head[8:12] == b"AVI ")
        return film and describe_content(head) is None and probe_media(file, "video").video is not None
    except InputError:
        return False  # no video by name and none by content


def _read_list(path: Path, allow_outside: bool) -> Sources:
    text = read_list_text(path, _LIST_HINT)
    json_lines = text.lstrip().startswith("{")
    rows = _json_rows(text, path.name) if json_lines else csv_rows(text, path.name, ("path",), _LIST_HINT)
    videos: list[Source] = []
    refused: list[Dropped] = []
    for number, row in rows:
        try:
            videos.append(_read_row(row, path.parent, allow_outside))
        except InputError as error:
            reason = "no consent" if _consent(row).lower() in _NO else "bad row"
            name = row.get("path")
            shown = name if isinstance(name, str) and name else f"line {number}"
            refused.append(Dropped(shown, None, None, reason, f"line {number}: {error.message}"))
    if not videos and not refused:
        raise InputError(f"list '{path.name}' names no video", _LIST_HINT)
    return Sources(tuple(videos), tuple(refused))


def _json_rows(text: str, name: str) -> list[tuple[int, Mapping[str, Any]]]:
    lines = ((number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip())
    return [(number, parse_object(line, f"list '{name}', line {number}")) for number, line in lines]


def _read_row(row: Mapping[str, Any], folder: Path, allow_outside: bool) -> Source:
    name = row.get("path")
    if not isinstance(name, str) or not name.strip() or "\0" in name:
        raise InputError(f"path = {shown_value(name)}, expected a file name")
    if _consent(row).lower() in _NO:
        raise InputError(f"consent = {shown_value(row.get('consent'))}: the speaker did not agree")
    path = folder / name
    inside = os.path.commonpath([os.path.realpath(folder), os.path.realpath(path)]) == os.path.realpath(folder)
    if not inside and not allow_outside:
        raise InputError(f"path = {shown_value(name)} lies outside the folder of the list; --allow-outside permits it")
    start = _seconds(row, "start")
    end = _seconds(row, "end")
    if end is not None and end <= (start or 0.0):
        raise InputError(f"end = {end:g}, expected more than start = {start or 0:g}")
    require_file(path, "video")
    speaker = row.get("speaker")
    label = speaker.strip() if isinstance(speaker, str) else ""
    return Source(path, source_name(path, folder), start or 0.0, end, label, _consent(row))


def _consent(row: Mapping[str, Any]) -> str:
    value = row.get("consent")
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value).strip()


def _seconds(row: Mapping[str, Any], key: str) -> float | None:
    value = row.get(key)
    if value is None or value == "":
        return None
    try:
        seconds = float("nan") if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        seconds = float("nan")
    if not math.isfinite(seconds) or seconds < 0:
        raise InputError(f"{key} = {shown_value(value)}, expected seconds from 0 on")
    return seconds
