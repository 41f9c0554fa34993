"""One run at a time in a folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gesturegen_cli.errors import EnvironmentFault
from gesturegen_cli.media.files import output_fault


@contextmanager
def folder_lock(path: Path) -> Iterator[None]:
    """Hold the lock file `path` while the block runs. It is free again when the process ends, however it ends.

    Raises EnvironmentFault when another run holds it, or when it cannot be made.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise output_fault(path, error.strerror or str(error)) from error
    try:
        try:
            _lock(handle)
        except OSError as error:
            raise EnvironmentFault(
                f"another run is working in '{path.parent.parent.name}'", "wait for its end or choose another folder"
            ) from error
        yield
    finally:
        os.close(handle)


if sys.platform == "win32":

    def _lock(handle: int) -> None:
        import msvcrt

        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)

else:

    def _lock(handle: int) -> None:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
