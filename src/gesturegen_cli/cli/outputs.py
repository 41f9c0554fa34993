"""What is done around an output before and after it is written: what exists already, folders, and one run at a time."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from gesturegen_cli.cli.jobs import Job
from gesturegen_cli.data.video_record import is_record, record_path
from gesturegen_cli.errors import ConfigError, EnvironmentFault
from gesturegen_cli.media.files import output_fault, shown

MODES = ("skip", "overwrite", "error")


def split_finished(jobs: Sequence[Job], mode: str) -> tuple[list[Job], list[Job]]:
    """(jobs to do, jobs done already). Done means that the video and its record are both there, and only with `skip`.

    Raises ConfigError with `error` when an output exists, and always when the record's place holds a foreign file.
    """
    if mode not in MODES:
        raise ConfigError(f"--exists = {mode!r}, expected one of {', '.join(MODES)}", "see gesturegen generate --help")
    todo, done = [], []
    for job in jobs:
        record = record_path(job.output)
        if record.exists() and not is_record(record):
            raise ConfigError(
                f"{shown(record)!r} exists and is not the record of a video; it would be lost",
                "name another output with -o",
            )
        if mode == "skip" and job.output.is_file() and record.is_file():
            done.append(job)
            continue
        there = next((path for path in (job.output, record) if os.path.lexists(path)), None)
        if mode == "error" and there is not None:
            raise ConfigError(f"output {shown(there)!r} exists", "add --exists overwrite, or name another with -o")
        todo.append(job)
    return todo, done


@contextmanager
def making_folder(folder: Path) -> Iterator[None]:
    """Make `folder` and its parents for the block; those made here and left empty are removed again."""
    made: list[Path] = []
    missing = Path(os.path.abspath(folder))
    try:
        while not os.path.lexists(missing):
            made.append(missing)
            missing = missing.parent
        for path in reversed(made):
            path.mkdir(exist_ok=True)
    except OSError as error:
        _remove_empty(made)
        raise output_fault(Path(error.filename or folder), error.strerror or str(error)) from error
    try:
        yield
    finally:
        _remove_empty(made)


def _remove_empty(folders: list[Path]) -> None:
    """Innermost first; a folder that holds something stays."""
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()


@contextmanager
def locked(output: Path) -> Iterator[None]:
    """Hold the lock of an output: `.NAME.lock` beside it, removed afterwards. One left by a killed run does no harm.

    Raises EnvironmentFault when another run holds it, or when the folder cannot be written.
    """
    path = Path(os.path.abspath(output)).with_name(f".{output.name}.lock")
    handle = _open_locked(path, output)
    try:
        yield
    finally:
        # Removed while it is held, so that nobody else can lock the file that goes away and believe it is the lock.
        with suppress(OSError):
            path.unlink()
        os.close(handle)


def _open_locked(path: Path, output: Path) -> int:
    while True:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        except OSError as error:
            raise output_fault(output, error.strerror or str(error)) from error
        try:
            if not _try_lock(handle):
                raise EnvironmentFault(
                    f"another run is writing {shown(output)!r}", "wait until it is done, or name another output with -o"
                )
            # The holder before us may have removed the file between our opening and locking it.
            if _same_file(handle, path):
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _same_file(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False


def _try_lock(handle: int) -> bool:
    if sys.platform == "win32":
        import msvcrt

        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
