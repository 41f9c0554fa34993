"""Talk goes to stderr, data to stdout: messages, progress, JSON lines, and the report of errors."""

from __future__ import annotations

import errno
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from gesturegen_cli.errors import EnvironmentFault, GesturegenError, OutOfMemory

INTERRUPTED = 130
TERMINATED = 143
PLAIN_EVERY = 5.0
"""Seconds between progress lines where there is no terminal."""


class Terminated(BaseException):
    """SIGTERM arrived; raised by the signal handler so that `finally` blocks clean up."""


Progress = Callable[[int, int], None]
"""Called with (done, total)."""


@dataclass(frozen=True)
class Console:
    """The voice of one command."""

    json: bool = False
    verbose: bool = False
    quiet: bool = False

    def say(self, text: str) -> None:
        """A line for people, on stderr."""
        if not self.quiet and not self.json:
            print(_visible(text), file=sys.stderr)  # noqa: T201 - the one place that talks

    def warn(self, text: str) -> None:
        """A warning for people, or an event with --json."""
        self.event("warning", message=text)
        if not self.json:
            print(f"warning: {_visible(text)}", file=sys.stderr)  # noqa: T201

    def follow_log(self) -> None:
        """Say what the parts log, such as which attention runs."""
        import logging

        log = logging.getLogger("gesturegen_cli")
        log.handlers = [logging.StreamHandler()]  # on today's stderr
        log.setLevel(logging.INFO)

    def event(self, kind: str, /, **values: Any) -> None:
        """One JSON line on stdout, with --json only."""
        if self.json:
            _put(json.dumps({"event": kind, **values}, default=str))

    def result(self, text: str, /, **values: Any) -> None:
        """The outcome: plain text on stdout, or a `result` event with --json."""
        if self.json:
            self.event("result", **values)
        else:
            _put(_visible(text))

    @contextmanager
    def progress(self, label: str, unit: str = "frames") -> Iterator[Progress]:
        """A progress callback: a bar on a terminal, a line every few seconds elsewhere, events with --json."""
        if self.json or self.quiet or not sys.stderr.isatty():
            yield self._plain_progress(label, unit)
            return
        from rich.console import Console as RichConsole
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
        )
        with Progress(*columns, TimeRemainingColumn(), console=RichConsole(stderr=True), transient=True) as bar:
            task = bar.add_task(label, total=None, rate="")
            rate_of = _rate_meter()

            def update(done: int, total: int) -> None:
                rate = rate_of(done)
                bar.update(task, completed=done, total=total, rate=f"{rate:.1f} {unit}/s")

            yield update

    def _plain_progress(self, label: str, unit: str) -> Progress:
        last, rate_of = time.monotonic(), _rate_meter()

        def update(done: int, total: int) -> None:
            nonlocal last
            rate, now = rate_of(done), time.monotonic()
            if now - last < PLAIN_EVERY:
                return
            last = now
            left = round((total - done) / rate) if rate > 0 else None  # None: one call says nothing about speed
            self.event("progress", stage=label, done=done, total=total, rate=round(rate, 2), seconds_left=left)
            self.say(f"{label}: {done}/{total}" + ("" if left is None else f", {rate:.1f} {unit}/s, {left} s left"))

        return update


def _visible(text: str) -> str:
    """Text as it may go to a terminal: names in files and plugins can hold control characters, which steer it."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


def columns(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of plain text: left-aligned columns, two spaces between them."""
    lines = [headings, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def _put(text: str) -> None:
    """A line on stdout; nothing where its reader, such as `head`, has left."""
    try:
        print(text, flush=True)  # noqa: T201
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what follows, and Python's last flush


def _rate_meter() -> Callable[[int], float]:
    """Items done to items per second since the first call: what an earlier run had done does not count."""
    first: tuple[int, float] | None = None

    def rate(done: int) -> float:
        nonlocal first
        now = time.monotonic()
        if first is None:
            first = done, now
        return (done - first[0]) / max(now - first[1], 1e-6)

    return rate


def report_exception(error: BaseException, console: Console) -> int:
    """Say what went wrong as `error:` and `hint:` lines, and give the exit code. Tracebacks for bugs or with -v.

    The hint of an interrupted command is the note that it may have added to the exception.
    """
    if isinstance(error, KeyboardInterrupt | Terminated):
        code = INTERRUPTED if isinstance(error, KeyboardInterrupt) else TERMINATED
        hint = next(iter(getattr(error, "__notes__", ())), "run the same command again to continue")
        _print_error("interrupted", hint, code, console)
        return code
    known = as_known(error)
    if known is None or console.verbose:
        traceback.print_exception(error)
    if known is None:
        message = f"{type(error).__name__}: {error}"
        _print_error(message, "this is a bug in gesturegen: please report the lines above", 1, console)
        return 1
    _print_error(known.message, known.hint, known.exit_code, console)
    return known.exit_code


def _print_error(message: str, hint: str, code: int, console: Console) -> None:
    console.event("error", message=message, hint=hint, exit_code=code)
    print(f"error: {_visible(message)}", file=sys.stderr)  # noqa: T201
    if hint:
        print(f"hint: {_visible(hint)}", file=sys.stderr)  # noqa: T201


def as_known(error: BaseException) -> GesturegenError | None:
    """Errors of the machine in our own words; None for bugs."""
    if isinstance(error, GesturegenError):
        return error
    if (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "can't allocate memory" in str(error)
    ):
        return OutOfMemory(
            f"out of memory ({error})", "lower sampling.render_batch or the training batch, or free memory"
        )
    if isinstance(error, OSError):
        hints = {
            errno.ENOSPC: "free some space or choose another folder",
            errno.EDQUOT: "free some space or choose another folder",
            errno.EACCES: "check the permissions or choose another folder",
            errno.EPERM: "check the permissions or choose another folder",
            errno.EROFS: "choose a folder that can be written",
            errno.ENOTDIR: "a part of the path is a file; choose another folder",
        }
        if error.errno in hints:
            return EnvironmentFault(f"{error.strerror}: {error.filename or 'unknown path'}", hints[error.errno])
    return None
