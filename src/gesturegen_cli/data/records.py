"""What is known about finished sources, one small file each below `work/`: running again continues from there."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from gesturegen_cli.data.clip_maker import Made
from gesturegen_cli.data.manifest import CLIPS, Clip, Dropped, write_text
from gesturegen_cli.data.sources import Source

WORK = "work"
_FORMAT = 1


def record_path(root: Path, source: Source) -> Path:
    """Where the record of a source lies: named by all that its clips depend on besides the file's content."""
    part = f"{source.start!r}-{source.end!r}"
    if source.label or source.square is not None:
        part += f"-{source.label}-{source.square!r}"
    digest = hashlib.sha256(f"{source.name}\0{part}".encode()).hexdigest()
    return root / WORK / f"{digest[:24]}.json"


def write_record(root: Path, source: Source, made: Made) -> None:
    """Say that `source` is finished; clips of an older version of it that are not used any more are removed."""
    old = _load(root, source)
    status = os.stat(source.path) if source.path.exists() else None
    record = {
        "format": _FORMAT,
        "source": source.name,
        "bytes": status.st_size if status else None,
        "modified_ns": status.st_mtime_ns if status else None,
        **asdict(made),
    }
    for clip in record["clips"]:
        clip["video"], clip["audio"] = clip["video"].name, clip["audio"].name
    write_text(record_path(root, source), json.dumps(record, ensure_ascii=False) + "\n")
    if old is not None:
        kept = {clip.id for clip in made.clips}
        for clip in _made(root, old).clips:
            if clip.id not in kept:
                clip.video.unlink(missing_ok=True)
                clip.audio.unlink(missing_ok=True)


def read_record(root: Path, source: Source) -> Made | None:
    """What became of `source` in an earlier run; None when it is new, has changed, or lost one of its clips."""
    record = _load(root, source)
    if record is None:
        return None
    try:
        status = os.stat(source.path)
    except OSError:
        return None
    if (record["bytes"], record["modified_ns"]) != (status.st_size, status.st_mtime_ns):
        return None
    made = _made(root, record)
    if not all(clip.video.is_file() and clip.audio.is_file() for clip in made.clips):
        return None
    # Speaker and consent belong to the list, which may have been corrected since.
    clips = tuple(replace(clip, speaker=source.speaker, consent=source.consent) for clip in made.clips)
    return replace(made, clips=clips)


def _load(root: Path, source: Source) -> dict[str, Any] | None:
    try:
        record = json.loads(record_path(root, source).read_text(encoding="utf-8"))
        return record if record["format"] == _FORMAT and _made(root, record) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None  # no record, or one that something else wrote: the source is done again


def _made(root: Path, record: dict[str, Any]) -> Made:
    clips = []
    for values in record["clips"]:
        paths = {key: root / CLIPS / Path(values[key]).name for key in ("video", "audio")}
        clips.append(Clip(**{**values, **paths, "crop": tuple(values["crop"])}))
    return Made(
        record["sha256"],
        record["seconds"],
        tuple(clips),
        tuple(Dropped(**values) for values in record["dropped"]),
        tuple((name, picture) for name, picture in record["thumbnails"]),
    )
