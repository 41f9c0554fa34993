"""The interval lists of PATS and S2G-MDDiffusion: which stretches of which videos are clips, and of whom.

A table (`cmu_intervals_df.csv`) has a row per interval: speaker, interval_id, video_link, start_time, end_time. A
filter (`filtered_intervals.json`) chooses intervals by id and says which train and which test. Neither holds a path:
videos are looked for in the user's folder by the id in their link, or, cut already, by the interval's name.
"""

from __future__ import annotations

import math
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from gesturegen_cli.data.manifest import SPLITS, Dropped
from gesturegen_cli.data.sources import Source, Sources, iter_videos, source_name
from gesturegen_cli.data.strict_json import parse_object, shown_value
from gesturegen_cli.data.tables import csv_rows, read_list_text
from gesturegen_cli.errors import InputError
from gesturegen_cli.media.files import is_text, printable, require_file

COLUMNS = ("speaker", "interval_id", "video_link", "start_time", "end_time")
_TABLE_HINT = f"an interval table is CSV with the columns {', '.join(COLUMNS)}"
_FILTER_HINT = 'a filter is JSON: {"train": [interval ids], "test": [interval ids]}'
_VIDEO_HINT = "name a video by the id in its video_link, as in 'Title [ID].mp4', or a cut clip 'speaker#interval.mp4'"
_SQUARES = {"seth": 0.395, "oliver": 0.38, "chemistry": 0.031, "jon": 1.0}
"""Where the published squares begin, as shares of the picture's width; 1 is the square at the right edge."""
_OTHER_SPELLINGS = {"chem": "chemistry"}
_WORD = re.compile(r"[A-Za-z0-9_]{1,29}")
_VIDEO_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_YOUTUBE_ID = 11
"""Signs of a YouTube id: long enough not to be part of a title by chance."""
_SECONDS = re.compile(r"\d{1,7}(?:\.\d*)?|\.\d+")
_CLOCK = re.compile(
    r"(?:0 days |\d{4}-\d\d-\d\d[ T])?(?:(?P<hours>\d{1,3}):)?"
    r"(?P<minutes>[0-5]?\d):(?P<seconds>[0-5]?\d(?:\.\d*)?)"
)
"""H:MM:SS.f or M:SS; as the table may have passed through pandas, after a date, which says nothing, or `0 days`."""
_SHOWN = 3


@dataclass(frozen=True)
class IntervalList:
    """The two files that together say what to cut."""

    table: Path
    chosen: Path | None = None
    """The filter; None takes every row of the table."""


@dataclass(frozen=True)
class _Interval:
    """A usable row, `start` and `end` in seconds of its video."""

    speaker: str
    id: str
    link: str
    video: str
    """The id in `link`."""
    start: float
    end: float


def find_intervals(videos: str | Path, lists: IntervalList, max_seconds: float, *, skip: Path | None = None) -> Sources:
    """The intervals whose videos lie in the folder `videos`, in the order of the table.

    With a filter only its intervals are taken, each cut off after `max_seconds` as the published clips are, and each
    in the split that the filter gives it. Without one, all of every interval; one video's intervals share a split.
    What cannot be used is refused with a reason: a row that makes no sense, an id of the filter that the table does
    not have, and, one record each, videos that are not there or there more than once.

    Raises InputError: `videos` is no folder, a list is of another form, none of its videos is there.
    """
    folder = Path(os.path.abspath(videos))
    if not folder.is_dir():
        raise InputError(f"'{folder.name}' is not a folder; an interval table needs a folder of videos", _VIDEO_HINT)
    splits = None if lists.chosen is None else _read_filter(lists.chosen)
    intervals, refused = _read_table(lists.table, splits)
    names = _index(iter_videos(folder, skip))
    missing: defaultdict[tuple[str, str, str], list[str]] = defaultdict(list)
    found: list[Source] = []
    for one in intervals:
        label = f"{one.speaker}#{one.id}"
        file, whole, problem = _look_up(names, one, folder)
        if file is None:
            missing[one.link, *problem].append(label)
            continue
        start, end = (one.start, one.end) if whole else (0.0, None)
        if splits is not None:
            end = min(end or math.inf, start + max_seconds)
        split = "" if splits is None else splits[one.id]
        square = _SQUARES.get(one.speaker)
        name = source_name(file, folder)
        found.append(Source(file, name, start, end, one.speaker, "", label, one.video, split, square))
    gone = [
        Dropped(printable(link)[:200], None, None, reason, f"{detail} ({_listed(labels)})")
        for (link, reason, detail), labels in missing.items()
    ]
    if not found and gone:
        message = f"none of the {len(gone)} videos of '{lists.table.name}' can be used, first '{gone[0].source}': "
        raise InputError(f"{message}{gone[0].detail}", _VIDEO_HINT)
    return Sources(tuple(found), (*refused, *gone))


def _read_table(path: Path, splits: Mapping[str, str] | None) -> tuple[list[_Interval], list[Dropped]]:
    """The usable rows, of those that the filter names where there is one, and the others."""
    file, head = require_file(path, "interval table")
    if not is_text(head):
        raise InputError(f"interval table '{file.name}' is not text", _TABLE_HINT)
    intervals: list[_Interval] = []
    refused: list[Dropped] = []
    lines: dict[str, int] = {}
    for number, row in csv_rows(read_list_text(file, _TABLE_HINT), file.name, COLUMNS, _TABLE_HINT):
        name = _field(row, "interval_id")
        if splits is not None and name not in splits:
            continue
        try:
            if name in lines:
                raise InputError(f"interval_id = {shown_value(name)} stands in line {lines[name]} already")
            if name:
                lines[name] = number
            intervals.append(_read_row(row))
        except InputError as error:
            shown = f"interval {name}" if _WORD.fullmatch(name) else f"line {number}"
            refused.append(Dropped(shown, None, None, "bad row", f"line {number}: {error.message}"))
    for name in splits or ():
        if name not in lines:
            detail = f"the filter names it, '{file.name}' does not"
            refused.append(Dropped(f"interval {name}", None, None, "not in the table", detail))
    if not intervals:
        first = f", first '{refused[0].source}': {refused[0].detail}" if refused else ""
        raise InputError(f"interval table '{file.name}' has no usable row{first}", _TABLE_HINT)
    return intervals, refused


def _field(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    return value.strip() if isinstance(value, str) else ""


def _read_row(row: Mapping[str, Any]) -> _Interval:
    if None in row:
        raise InputError("it has more fields than the first line")
    speaker, name, link = (_field(row, key) for key in ("speaker", "interval_id", "video_link"))
    for key, value in (("speaker", speaker), ("interval_id", name)):
        if not _WORD.fullmatch(value):
            raise InputError(f"{key} = {shown_value(value)}, expected 1 to 29 of the signs A-Z a-z 0-9 _")
    start, end = (parse_time(row.get(key), key) for key in ("start_time", "end_time"))
    if end <= start:
        raise InputError(f"end_time = {end:g} s, expected more than start_time = {start:g} s")
    return _Interval(_OTHER_SPELLINGS.get(speaker, speaker), name, link, video_id(link), start, end)


def parse_time(value: object, key: str) -> float:
    """Seconds of a time in a table: `83.5`, `1:23.5`, `0:01:23.5`, the last also after `0 days` or a date.

    Raises InputError that names `key` for anything else.
    """
    text = value.strip() if isinstance(value, str) else ""
    if _SECONDS.fullmatch(text):
        return float(text)
    clock = _CLOCK.fullmatch(text)
    if clock is None:
        raise InputError(f"{key} = {shown_value(value)}, expected seconds or H:MM:SS")
    return int(clock["hours"] or 0) * 3600.0 + int(clock["minutes"]) * 60.0 + float(clock["seconds"])


def video_id(link: str) -> str:
    """The id in the link of a video: what `v=` says, else the last part of the path, without an ending.

    Raises InputError when the link has none.
    """
    try:
        parts = urlsplit(link)
        given = parse_qs(parts.query).get("v", [])
    except ValueError as error:
        raise InputError(f"video_link = {shown_value(link)} is not a link ({error})") from error
    name = given[0] if given else parts.path.rstrip("/").rpartition("/")[2].partition(".")[0]
    if not _VIDEO_ID.fullmatch(name):
        raise InputError(f"video_link = {shown_value(link)}, expected a link with the id of a video")
    return name


def _read_filter(path: Path) -> dict[str, str]:
    """Interval id -> split."""
    file, head = require_file(path, "filter")
    if not is_text(head):
        raise InputError(f"filter '{file.name}' is not text", _FILTER_HINT)
    try:
        lists = parse_object(read_list_text(file, _FILTER_HINT), f"filter '{file.name}'")
    except InputError as error:
        raise InputError(error.message, _FILTER_HINT) from error
    splits: dict[str, str] = {}
    for split, names in lists.items():
        if split not in SPLITS or not isinstance(names, list):
            found = f"{shown_value(split)}: {type(names).__name__}"
            raise InputError(
                f"filter '{file.name}' holds {found}, expected lists named {', '.join(SPLITS)}", _FILTER_HINT
            )
        for value in names:
            name = _filter_id(value, file.name)
            if splits.get(name, split) != split:
                raise InputError(f"filter '{file.name}': {name} stands in {splits[name]} and in {split}", _FILTER_HINT)
            splits[name] = split
    if not splits:
        raise InputError(f"filter '{file.name}' chooses no interval", _FILTER_HINT)
    return splits


def _filter_id(value: object, name: str) -> str:
    """An id as in the table, given as a number, as text, or after the speaker: 99853, "99853", "seth#99853"."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    text = str(value).rpartition("#")[2] if whole or isinstance(value, str) else ""
    if not _WORD.fullmatch(text):
        raise InputError(f"filter '{name}' holds {shown_value(value)}, expected interval ids", _FILTER_HINT)
    return text


_Names = Mapping[str, Mapping[int, Sequence[Path]]]
"""What a file may be called after -> how well its name fits (0 is best) -> the files."""


def _index(files: Iterable[Path]) -> _Names:
    """Files by every id that their names may hold: all of the name, its end, any eleven signs in it."""
    names: defaultdict[str, defaultdict[int, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for file in files:
        stem = file.stem
        fits = dict.fromkeys(re.findall(r"\[([A-Za-z0-9_-]+)\]", stem), 2)
        for run in re.findall(rf"[A-Za-z0-9_-]{{{_YOUTUBE_ID},}}", stem):
            fits |= {run[i : i + _YOUTUBE_ID]: 2 for i in range(len(run) - _YOUTUBE_ID + 1)}
        fits[stem[-_YOUTUBE_ID:]] = 1
        if at_end := re.search(r"\[([A-Za-z0-9_-]+)\]$", stem):
            fits[at_end[1]] = 1
        fits[stem] = 0
        for part, fit in fits.items():
            names[part][fit].append(file)
    return names


def _look_up(names: _Names, one: _Interval, folder: Path) -> tuple[Path | None, bool, tuple[str, str]]:
    """The file of an interval, whether it is the whole video, and where there is none a reason and a detail."""
    spellings = [one.speaker, *(old for old, new in _OTHER_SPELLINGS.items() if new == one.speaker)]
    for key in (*(f"{speaker}#{one.id}" for speaker in spellings), one.id, one.video):
        whole = key == one.video and key != one.id
        fits = names.get(key, {})
        # A cut clip is called after its interval and nothing else; a short id could stand in any title.
        files = fits.get(min(fits), ()) if whole and fits else fits.get(0, ())
        if len(files) == 1:
            return files[0], whole, ("", "")
        if files:
            listed = _listed([f"'{source_name(file, folder)}'" for file in files])
            return None, whole, ("ambiguous video", f"more than one file is called after '{key}': {listed}")
    return None, True, ("video missing", f"no file name holds '{one.video}'")


def _listed(names: Sequence[str]) -> str:
    rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + rest
