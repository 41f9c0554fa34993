"""A list of videos to make, as CSV or JSON lines: speech, picture, output, and optional seed, energy, consent."""

from __future__ import annotations

import csv
import difflib
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from gesturegen_cli.cli.jobs import VIDEO, Job, Plan, require_distinct
from gesturegen_cli.errors import InputError
from gesturegen_cli.media.files import printable, require_file, shown

REQUIRED = ("speech", "picture", "output")
OPTIONAL = ("seed", "energy", "consent")
MAX_BYTES = 10_000_000
_CONSENT = {"": "", "yes": "yes", "true": "yes", "no": "no", "false": "no"}
_HINT = f"columns: {', '.join(REQUIRED)}; optional: {', '.join(OPTIONAL)}"


def plan_manifest(path: Path, folder: Path | None) -> Plan:
    """Read a manifest. Its paths are relative to it and must stay in its folder; absolute ones are taken as they are.

    Outputs are relative to `folder` (-o) where it is given. The content decides whether it is CSV or JSON lines.
    InputError names the line: not readable, unknown or missing column, a path that leads out, a value out of range.
    """
    text = _read(path)
    root = Path(os.path.abspath(path)).parent
    rows = _json_rows(text, shown(path)) if text.lstrip().startswith("{") else _csv_rows(text, shown(path))
    jobs = [_job(row, where, root, Path(os.path.abspath(folder)) if folder else root) for where, row in rows]
    if not jobs:
        raise InputError(f"manifest {shown(path)!r} lists no video", _HINT)
    require_distinct(jobs)
    return Plan(tuple(jobs), batch=True)


def _read(path: Path) -> str:
    file, _ = require_file(path, "manifest")
    size = file.stat().st_size
    if size > MAX_BYTES:
        raise InputError(f"manifest {shown(path)!r} has {size} bytes, at most {MAX_BYTES} are read", "split it")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"manifest {shown(path)!r} is not UTF-8 text ({error.reason})", _HINT) from error
    if "\0" in text:
        raise InputError(f"manifest {shown(path)!r} holds NUL characters, expected text", _HINT)
    return text


def _csv_rows(text: str, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] | None = None
    try:
        for values in reader:
            where = f"{name}, line {reader.line_num}"
            if not any(value.strip() for value in values):
                continue
            if header is None:
                header = [value.strip() for value in values]
                _check_columns(header, where)
            elif len(values) != len(header):
                _fail(where, f"{len(values)} values, the first line names {len(header)} columns")
            else:
                yield where, {key: value.strip() for key, value in zip(header, values, strict=True)}
    except csv.Error as error:
        _fail(f"{name}, line {reader.line_num}", f"not CSV ({error})")


def _json_rows(text: str, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        _check_columns([key for key, _ in pairs], where)
        return dict(pairs)

    for number, line in enumerate(text.splitlines(), 1):
        where = f"{name}, line {number}"
        if not line.strip():
            continue
        try:
            row = json.loads(line, object_pairs_hook=unique)
        except (ValueError, RecursionError) as error:
            _fail(where, f"not JSON ({error})")
        if not isinstance(row, dict):
            _fail(where, f"{type(row).__name__}, expected an object")
        yield where, row


def _check_columns(columns: list[str], where: str) -> None:
    known = (*REQUIRED, *OPTIONAL)
    for column in columns:
        if column not in known:
            near = difflib.get_close_matches(column, known, n=1)
            hint = f"did you mean '{near[0]}'?" if near else _HINT
            raise InputError(f"{where}: unknown column {printable(column)[:40]!r}", hint)
        if columns.count(column) > 1:
            _fail(where, f"column '{column}' stands twice")
    missing = [column for column in REQUIRED if column not in columns]
    if missing:
        _fail(where, f"no column {', '.join(missing)}")


def _job(row: dict[str, Any], where: str, root: Path, output_root: Path) -> Job:
    output = _inside(row, "output", where, output_root)
    if output.suffix.lower() != VIDEO:
        _fail(where, f"output = {output.name!r}, expected a name that ends in {VIDEO}")
    consent = str(row.get("consent") or "").lower() if row.get("consent") is not False else "no"
    if consent not in _CONSENT:
        _fail(where, f"consent = {printable(consent)[:40]!r}, expected yes or no")
    seed = _number(row, "seed", where, 0, 2**63 - 1)
    if seed is not None and seed != int(seed):
        _fail(where, f"seed = {seed}, expected a whole number")
    return Job(
        _inside(row, "speech", where, root),
        _inside(row, "picture", where, root),
        output,
        None if seed is None else int(seed),
        _number(row, "energy", where, 0, 3),
        _CONSENT[consent],
    )


def _number(row: dict[str, Any], key: str, where: str, low: float, high: float) -> float | None:
    value = row.get(key)
    if value is None or value == "":
        return None
    try:
        # Whole numbers stay whole: a float would round large seeds.
        number = int(value) if str(value).lstrip("+-").isdigit() else float(value)
    except (TypeError, ValueError):
        number = None
    if isinstance(value, bool) or number is None or not low <= number <= high:
        _fail(where, f"{key} = {printable(str(value))[:40]!r}, expected a number from {low:g} to {high:g}")
    return number


def _inside(row: dict[str, Any], key: str, where: str, root: Path) -> Path:
    """The path under `key`; a relative one stays inside `root`, links resolved."""
    text = row[key]
    if not isinstance(text, str) or not text or "\0" in text:
        _fail(where, f"{key} = {printable(str(text))[:40]!r}, expected a path")
    if os.path.isabs(text):
        return Path(text)
    path, real = root / text, os.path.realpath(root / text)
    if ".." in Path(text).parts or os.path.commonpath([os.path.realpath(root), real]) != os.path.realpath(root):
        raise InputError(
            f"{where}: {key} = {printable(text)[:80]!r} leads out of its folder {shown(root)!r}",
            "move the file, or write its absolute path",
        )
    return path


def _fail(where: str, problem: str) -> NoReturn:
    raise InputError(f"{where}: {problem}", _HINT)
