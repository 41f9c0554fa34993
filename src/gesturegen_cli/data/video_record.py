"""The record `NAME.json` beside every generated video: what it was made of, with what, and that it is AI-generated.

It holds base names and digests; never folders, user names or the machine's name.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gesturegen_cli import __version__
from gesturegen_cli.media.files import output_fault, replacing

if TYPE_CHECKING:
    from numpy.typing import NDArray

SUFFIX = ".json"
MARK = "ai_generated"
"""The key by which a record is known."""
_RESERVE = 4096
"""Bytes kept free for what the record learns at the end (timings), so that a full disk shows before the rendering."""
_MAX_BYTES = 10_000_000


def record_path(video: str | os.PathLike[str]) -> Path:
    """`NAME.json` beside `NAME.mp4`."""
    return Path(video).with_suffix(SUFFIX)


@contextmanager
def writing_record(video: str | os.PathLike[str], info: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield `info`; when the block succeeds, it is written beside `video`, with what the block put into it.

    The file is made before the block and appears under its name after it. On any exception there is none, and an older
    one stays. EnvironmentFault when the folder is missing, read-only or full.
    """
    with replacing(record_path(video), SUFFIX) as partial:
        _write(partial, _encode(info) + b" " * _RESERVE, Path(video))
        yield info
        # In place: the blocks are on the disk already, so this does not run out of space.
        _write(partial, _encode(info), Path(video))


def is_record(path: Path) -> bool:
    """Whether a file is a record, and may therefore be replaced together with its video."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            return False
        values = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(values, dict) and MARK in values


def read_seams(video: str | os.PathLike[str]) -> tuple[float, ...]:
    """Seconds at which new windows of motion begin, by the record beside a video; empty without one that says so."""
    path = record_path(video)
    if not is_record(path):
        return ()
    values = json.loads(path.read_bytes())
    fps, seams = values.get("fps"), values.get("seams")
    numbers = [fps, *seams] if isinstance(seams, list) else [fps]
    if not all(isinstance(n, int | float) and not isinstance(n, bool) and 0 <= n < 1e7 for n in numbers) or not fps:
        return ()
    return tuple(seam / fps for seam in numbers[1:])


def digest(data: Path | NDArray[Any]) -> str:
    """sha256 of a file, or of an array's bytes where there is no file."""
    if isinstance(data, Path):
        with data.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    return hashlib.sha256(data.tobytes()).hexdigest()


def versions() -> dict[str, str]:
    """Versions of what decides about the numbers."""
    return {"gesturegen": __version__, "torch": _version("torch"), "diffusers": _version("diffusers")}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def _write(partial: Path, data: bytes, video: Path) -> None:
    try:
        with partial.open("rb+") as file:
            file.write(data)
            file.truncate()
    except OSError as error:
        raise output_fault(record_path(video), error.strerror or str(error)) from error


def _encode(info: dict[str, Any]) -> bytes:
    return (json.dumps(info, indent=2, ensure_ascii=False) + "\n").encode()
