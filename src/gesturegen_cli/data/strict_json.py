"""Strict reading of JSON that may come from anybody: types, ranges, and paths that stay inside one folder."""

from __future__ import annotations

import json
import math
import os
import stat
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

from gesturegen_cli.errors import InputError

HINT = "make a dataset with: gesturegen preprocess VIDEOS DATA"


def parse_object(text: str, where: str) -> dict[str, Any]:
    """One JSON object; no key twice, no NaN. Raises InputError that names `where`."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(pairs)
        if len(values) != len(pairs):
            raise ValueError("a key stands twice")
        return values

    def refuse(word: str) -> NoReturn:
        raise ValueError(f"{word} is no number")

    try:
        values = json.loads(text, object_pairs_hook=unique, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is not JSON ({error})", HINT) from error
    if not isinstance(values, dict):
        raise InputError(f"{where} holds {type(values).__name__}, expected an object with keys", HINT)
    return values


@dataclass(frozen=True)
class Line:
    """One JSON object with the name of its place, for messages."""

    where: str
    values: dict[str, Any]

    def fail(self, problem: str) -> NoReturn:
        """Raise InputError for this place."""
        raise InputError(f"{self.where}: {problem}", HINT)

    def text(self, key: str, default: str | None = None) -> str:
        """Text without NUL; required unless there is a default."""
        value = self.values.get(key, default)
        if not isinstance(value, str) or "\0" in value:
            self.fail(f"{key} = {shown_value(value)}, expected text")
        return value

    def number(self, key: str, low: float) -> float:
        """A finite number of at least `low`."""
        value = self.values.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < low:
            self.fail(f"{key} = {shown_value(value)}, expected a number of at least {low:g}")
        return value

    def whole(self, key: str, low: int) -> int:
        """A whole number of at least `low`."""
        value = self.number(key, low)
        if value != int(value):
            self.fail(f"{key} = {shown_value(value)}, expected a whole number")
        return int(value)

    def flag(self, key: str) -> bool:
        """True or false; false when it is not there."""
        value = self.values.get(key, False)
        if not isinstance(value, bool):
            self.fail(f"{key} = {shown_value(value)}, expected true or false")
        return value


class Inside:
    """Turns relative paths into absolute ones of regular files inside the folder; folders are resolved once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._real = os.path.realpath(root)
        self._folders: dict[Path, bool] = {}

    def file(self, line: Line, key: str) -> Path:
        """The absolute path of the regular file that `line` names under `key`."""
        text = line.text(key)
        relative = PurePosixPath(text)
        if not text or relative.is_absolute() or ".." in relative.parts or "\\" in text or ":" in text:
            line.fail(f"{key} = {shown_value(text)}, expected a relative path inside the dataset folder")
        path = self._root / relative
        try:
            mode = path.lstat().st_mode
            inside = self._folder_inside(path.parent)
            if stat.S_ISLNK(mode):
                inside = self._within(os.path.realpath(path))
                mode = path.stat().st_mode
        except (OSError, ValueError):
            line.fail(f"{key} = {shown_value(text)}, there is no such file")
        if not inside:
            line.fail(f"{key} = {shown_value(text)} leads out of the dataset folder")
        if not stat.S_ISREG(mode):
            line.fail(f"{key} = {shown_value(text)} is not a regular file")
        return path

    def _folder_inside(self, folder: Path) -> bool:
        if folder not in self._folders:
            self._folders[folder] = self._within(os.path.realpath(folder))
        return self._folders[folder]

    def _within(self, real: str) -> bool:
        return os.path.commonpath([self._real, real]) == self._real


def shown_value(value: Any) -> str:
    """A value as it stands in messages: short."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
