"""Lists that users bring: UTF-8 text of bounded size, and CSV with named columns."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gesturegen_cli.errors import InputError
from gesturegen_cli.media.files import printable

_MAX_BYTES = 100_000_000


def read_list_text(path: Path, hint: str) -> str:
    """The text of a list, without a byte order mark. InputError: over 100 MB, unreadable, not UTF-8."""
    try:
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise InputError(f"list '{path.name}' has {size} bytes, at most {_MAX_BYTES}", "split it")
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"list '{path.name}' cannot be read ({error})", hint) from error


def csv_rows(text: str, name: str, required: Sequence[str], hint: str) -> list[tuple[int, Mapping[str, Any]]]:
    """(line number, row) of each row of a CSV text; columns are named by the first line, in any case and order.

    A field that a short row lacks is None; what a long row has too much stands under the key None.

    Raises InputError: a `required` column is missing or one of them stands twice, or the text is not CSV.
    """
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True)
    try:
        columns = [column.strip().lower() for column in reader.fieldnames or ()]
        missing = [column for column in required if column not in columns]
        if missing:
            what = ("a column " if len(missing) == 1 else "the columns ") + ", ".join(f"'{one}'" for one in missing)
            found = printable(", ".join(columns))[:80]
            raise InputError(f"'{name}' is text without {what} (found: {found})", hint)
        twice = [column for column in required if columns.count(column) > 1]
        if twice:
            raise InputError(f"'{name}' has the column '{twice[0]}' twice, expected once", hint)
        reader.fieldnames = columns
        return [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise InputError(f"list '{name}', line {reader.reader.line_num} is not CSV ({error})", hint) from error
