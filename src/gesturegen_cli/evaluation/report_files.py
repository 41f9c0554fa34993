"""The files of an evaluation, `metrics.json`, `per_clip.csv`, `table.md` and `table.tex`, and its table on a terminal.

Each file is complete or not there at all; an older one is replaced in one step. Names of clips and systems come from
outside: they are never markup, and never a spreadsheet's formula.
"""

from __future__ import annotations

import csv
import io
import json
import math
import unicodedata
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from gesturegen_cli.data.strict_json import Line, parse_object
from gesturegen_cli.errors import InputError
from gesturegen_cli.evaluation.metrics import METRICS
from gesturegen_cli.evaluation.report_tables import (
    ABOUT_ARROWS,
    Cell,
    latex_table,
    markdown_table,
    markdown_text,
    score_table,
)
from gesturegen_cli.evaluation.results import FORMAT, KIND, Report, Score, Section, System
from gesturegen_cli.media.files import printable, replacing, require_file, shown

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

METRICS_FILE = "metrics.json"
CLIP_FILE = "per_clip.csv"
MARKDOWN_FILE = "table.md"
LATEX_FILE = "table.tex"

MAX_BYTES = 256_000_000
"""Largest metrics.json that is read: more than a hundred thousand clips of ten systems."""

_MAX_DEPTH = 40
"""Levels of a metrics.json. Ours has about six; thousands would exhaust the stack of whatever walks over it."""
_LARGEST = 1e300
_ROLES = ("system", "reference", "still")
_FORMULA = frozenset("=+-@\t\r")
_HINT = "name a metrics.json written by: gesturegen evaluate"

T = TypeVar("T")


def save_metrics(folder: Path, report: Report) -> Path:
    """Write `metrics.json` into `folder` and return its path. Numbers that are not finite become null."""
    values = {"format": FORMAT, "kind": KIND, **_plain(asdict(report))}
    text = json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    # Names of files may hold bytes that are no UTF-8; what Python writes for them is also JSON's way to write them.
    return _save(folder / METRICS_FILE, text.encode("utf-8", "backslashreplace"))


def load_metrics(path: Path) -> Report:
    """Read a `metrics.json`, which may come from anybody.

    Raises InputError: missing, no regular file, over 256 MB, not JSON, of another kind or format, a value of a wrong
    type, a number that is not finite.
    """
    line = Line(f"evaluation {shown(path)!r}", _read(path))
    kind, version = line.values.get("kind"), line.values.get("format")
    if kind != KIND:
        raise InputError(f"{line.where} is of kind {printable(repr(kind))[:60]}, expected {KIND!r}", _HINT)
    if version != FORMAT or isinstance(version, bool):
        hint = "evaluate again, or with the version of gesturegen that wrote it"
        raise InputError(f"{line.where} has format {printable(repr(version))[:60]}, expected {FORMAT}", hint)
    try:
        return Report(
            sections=_each(line, "sections", _section),
            protocol=_object(line, "protocol"),
            protocol_digest=line.text("protocol_digest"),
            environment=_object(line, "environment"),
            notes={key: _text_of(value, line) for key, value in _object(line, "notes").items()},
            warnings=_texts(line, "warnings"),
        )
    except InputError as error:
        raise InputError(printable(error.message), _HINT) from error


def save_clip_table(folder: Path, report: Report) -> Path:
    """Write `per_clip.csv`: a row per section, system and clip, a column for every metric; empty where not measured."""
    clips = [
        (section, system, clip) for section in report.sections for system in section.systems for clip in system.clips
    ]
    known = {"id", "reference", "frames", *METRICS}
    others = sorted(
        {key for *_, clip in clips for key, value in clip.items() if key not in known and _is_number(value)}
    )
    keys = ["frames", *METRICS, *others]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(_cells(["section", "system", "role", "clip", "reference", *keys]))
    for section, system, clip in clips:
        names = [section.name, system.name, system.role, clip.get("id"), clip.get("reference")]
        writer.writerow(_cells([*names, *(clip.get(key) for key in keys)]))
    return _save(folder / CLIP_FILE, file.getvalue().encode())


def save_tables(folder: Path, report: Report) -> tuple[Path, Path]:
    """Write `table.md` and `table.tex`, a table per section, and return their paths."""
    digest = report.protocol_digest
    markdown = [f"# Evaluation\n\nProtocol {markdown_text(digest)}: compare numbers only where it agrees.\n"]
    markdown += [markdown_table(section) for section in report.sections]
    latex = [f"% Needs \\usepackage{{booktabs}}. Protocol {printable(digest)}: compare numbers only where it agrees.\n"]
    latex += [latex_table(section) for section in report.sections]
    return (
        _save(folder / MARKDOWN_FILE, "\n".join(markdown).encode()),
        _save(folder / LATEX_FILE, "\n".join(latex).encode()),
    )


def console_table(report: Report) -> Group:
    """The tables of all sections for people at a terminal. Warnings are not in it: they belong to the talk."""
    from rich.console import Group

    return Group(*(_console_section(section) for section in report.sections))


def _console_section(section: Section) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = score_table(section)
    shown_table = Table(title=Text(printable(section.name)), title_justify="left", caption_justify="left")
    shown_table.add_column("metric", no_wrap=True)
    for name in table.columns:
        shown_table.add_column(Text(name), justify="right")
    for index, row in enumerate(table.rows):
        last = index + 1 == len(table.rows) or table.rows[index + 1].metric.group != row.metric.group
        shown_table.add_row(Text(row.label), *(_console_cell(cell) for cell in row.cells), end_section=last)
    notes = [f"({number}) {note}" for number, note in enumerate(table.notes, 1)]
    intervals = table.no_intervals or "±: half the 95 % interval"
    shown_table.caption = Text("\n".join([f"{ABOUT_ARROWS}; {intervals}", *notes]))
    return shown_table


def _console_cell(cell: Cell) -> Text:
    """The number, and half its interval where it has one: a terminal is too narrow for both bounds."""
    from rich.text import Text

    text = Text(cell.value, style="bold green" if cell.best else "")
    if cell.interval:
        text.append(f" ±{cell.half}", style="dim")
    if cell.note:
        text.append(f" ({cell.note})", style="dim")
    return text


def _save(path: Path, data: bytes) -> Path:
    with replacing(path) as partial:
        partial.write_bytes(data)
    return path


def _plain(value: Any) -> Any:
    """Values as JSON knows them: NumPy's become Python's, what is not finite becomes None, a path text."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):  # a NumPy scalar or array
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cells(row: list[Any]) -> list[Any]:
    """Cells that a spreadsheet takes as they are: text that begins like a formula gets a quote in front."""
    cells: list[Any] = []
    for value in map(_plain, row):
        text = printable(value) if isinstance(value, str) else ""
        # full-width signs count as well, and blanks before them do not help
        first = unicodedata.normalize("NFKC", text.lstrip()[:1])
        cells.append(value if not isinstance(value, str) else f"'{text}" if first in _FORMULA and first else text)
    return cells


def _read(path: Path) -> dict[str, Any]:
    """The JSON object in a file of bounded size and depth, all its numbers finite."""
    where = f"evaluation {shown(path)!r}"
    absolute, _head = require_file(path, "evaluation")
    with absolute.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise InputError(f"{where} has more than {MAX_BYTES // 1_000_000} MB", _HINT)
    try:
        values = parse_object(data.decode("utf-8"), where)
    except UnicodeDecodeError as error:
        raise InputError(f"{where} is not UTF-8 ({error.reason})", _HINT) from error
    except InputError as error:
        raise InputError(printable(error.message), _HINT) from error
    level: list[Any] = [values]
    for _depth in range(_MAX_DEPTH):
        # 1e999 is read as infinite, and a whole number of a thousand digits breaks whatever makes a float of it
        if any(isinstance(value, int | float) and not abs(value) < _LARGEST for value in level):
            raise InputError(f"{where} holds a number of {_LARGEST:g} or more", _HINT)
        inner = [value for value in level if isinstance(value, dict | list)]
        level = [item for value in inner for item in (value.values() if isinstance(value, dict) else value)]
        if not level:
            return values
    raise InputError(f"{where} is nested deeper than {_MAX_DEPTH} levels", _HINT)


def _section(line: Line) -> Section:
    return Section(line.text("name"), _each(line, "systems", _system), _texts(line, "unused"))


def _system(line: Line) -> System:
    role = line.text("role")
    if role not in _ROLES:
        line.fail(f"role = {role[:60]!r}, expected one of {', '.join(_ROLES)}")
    scores = {
        key: _score(Line(f"{line.where}, {key[:60]}", _dict(v, line))) for key, v in _object(line, "scores").items()
    }
    failed = _each(line, "failed", lambda one: {key: one.text(key, "") for key in ("id", "message", "hint")})
    clips = _each(line, "clips", _clip)
    return System(line.text("name"), role, scores, clips, _texts(line, "unmatched"), failed)


def _clip(line: Line) -> dict[str, Any]:
    """A clip's own scores: `id` is text, the values are numbers, text or null."""
    line.text("id")
    for key, value in line.values.items():
        if isinstance(value, dict | list):
            line.fail(f"{key[:60]} is of type {type(value).__name__}, expected a number, text or null")
    return line.values


def _score(line: Line) -> Score:
    value, low, high = (
        None if line.values.get(key) is None else line.number(key, -math.inf) for key in ("value", "low", "high")
    )
    return Score(value, low, high, line.whole("clips", 0), line.text("reason", ""))


def _each(line: Line, key: str, build: Callable[[Line], T]) -> list[T]:
    """`build` for each object of a list."""
    return [build(Line(f"{line.where}, {key} {k}", _dict(v, line))) for k, v in enumerate(_list(line, key), 1)]


def _list(line: Line, key: str) -> list[Any]:
    values = line.values.get(key)
    if not isinstance(values, list):
        line.fail(f"{key} is of type {type(values).__name__}, expected a list")
    return values


def _texts(line: Line, key: str) -> list[str]:
    return [_text_of(value, line) for value in _list(line, key)]


def _text_of(value: Any, line: Line) -> str:
    if not isinstance(value, str):
        line.fail(f"a value of type {type(value).__name__} stands where text was expected")
    return value


def _object(line: Line, key: str) -> dict[str, Any]:
    return _dict(line.values.get(key), line)


def _dict(value: Any, line: Line) -> dict[str, Any]:
    if not isinstance(value, dict):
        line.fail(f"a value of type {type(value).__name__} stands where an object with keys was expected")
    return value
