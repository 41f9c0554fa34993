"""The edges to the user's disk: which inputs may be opened, and outputs that appear only when they are complete."""

from __future__ import annotations

import difflib
import hashlib
import os
import re
import stat
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gesturegen_cli.errors import ConfigError, EnvironmentFault, InputError

_HEAD_BYTES = 4096
_TEXT_CONTROLS = frozenset(b"\t\n\r\f\x1b")
_PICTURES = (
    (b"\x89PNG", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
)
_LONGEST_PARTIAL_STEM = 180
"""Bytes of the target's name kept in a partial's name, so that prefix and suffix fit into the usual 255."""


def shown(path: str | os.PathLike[str]) -> str:
    """The base name of `path` as it may be printed: no control characters, no undecodable bytes, no folders."""
    return printable(os.path.basename(os.fspath(path).rstrip("/")) or os.fspath(path))


def printable(text: str) -> str:
    """`text` of unknown origin on one line: signs that steer a terminal, and undecodable bytes, become `?`."""
    text = text.encode("utf-8", "replace").decode()
    return "".join("?" if unicodedata.category(sign) in {"Cc", "Cf", "Zl", "Zp"} else sign for sign in text)


def require_file(path: str | os.PathLike[str], what: str) -> tuple[Path, bytes]:
    """Return the absolute path of a non-empty regular file and its first bytes (at most 4096).

    `what` names the role in messages ("speech", "picture", "video"). Never blocks on a named pipe.

    Raises InputError: missing, not a regular file, unreadable, empty.
    """
    name = shown(path)
    try:
        status = os.stat(path)
        if stat.S_ISREG(status.st_mode):
            # O_NONBLOCK: should a pipe take the file's place in between, opening it would wait for ever.
            handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
            with os.fdopen(handle, "rb") as file:
                status = os.fstat(handle)
                head = file.read(_HEAD_BYTES) if stat.S_ISREG(status.st_mode) else b""
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"{what} file {name!r} does not exist", _nearest(Path(path))) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputError(f"{what} file {name!r} cannot be read: {reason}", "check its name and permissions") from error
    if not stat.S_ISREG(status.st_mode):
        raise InputError(
            f"{what} {name!r} is a {_node_kind(status.st_mode)}, expected a regular file",
            "name one file" if stat.S_ISDIR(status.st_mode) else "save the data to a file first and name that file",
        )
    if status.st_size == 0 or not head:
        raise InputError(f"{what} file {name!r} is empty (0 bytes)", "was its download or recording interrupted?")
    return Path(os.path.abspath(path)), head


def describe_content(head: bytes) -> str | None:
    """What the first bytes of a file say it is, when that is text or a picture; None for anything else."""
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "a WEBP picture"
    for magic, kind in _PICTURES:
        if head.startswith(magic):
            return f"a {kind} picture"
    if head[4:8] == b"ftyp" and head[8:12] in {b"heic", b"heix", b"mif1", b"avif", b"avis", b"hevc", b"msf1"}:
        return "a HEIC or AVIF picture"
    if is_text(head):
        first = printable(head.strip().split(b"\n", 1)[0][:40].decode("utf-8", "replace").strip())
        return f"a text file that begins {first!r}"
    return None


def is_text(head: bytes) -> bool:
    """True when `head` holds no byte that plain text would not: every real media file has some in its first bytes."""
    if any(byte < 32 and byte not in _TEXT_CONTROLS for byte in head):
        return False
    # The head may end inside a character, so up to three bytes at its end do not count.
    return any(_decodes(head[: len(head) - cut]) for cut in range(4))


@contextmanager
def replacing(target: str | os.PathLike[str], suffix: str = "") -> Iterator[Path]:
    """Yield a temporary path beside `target`; when the block succeeds, it becomes `target` in one step.

    The temporary file is `.NAME.PID.part` + `suffix`. It reaches the disk before it is renamed, so a file under its
    final name is complete. On any exception, an interrupt included, it is removed and an older `target` stays as it
    was. Partials of processes that no longer run are removed first.

    Raises ConfigError when `target` is a folder or another special file; EnvironmentFault when the folder is missing,
    read-only or full.
    """
    final = Path(os.path.abspath(target))
    if final.exists() and not final.is_file():
        raise ConfigError(f"output {shown(final)!r} exists and is not a regular file", "name another output file")
    stem = final.name
    if len(os.fsencode(stem)) > _LONGEST_PARTIAL_STEM:
        stem = hashlib.sha256(os.fsencode(stem)).hexdigest()
    partial = final.parent / f".{stem}.{os.getpid()}.part{suffix}"
    _remove_abandoned(final.parent, stem, suffix)
    ours = True
    try:
        try:
            # Made here, and exclusively, so that a link planted under this name is never followed.
            os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        except OSError as error:
            ours = False
            raise output_fault(final, error.strerror or str(error)) from error
        yield partial
        try:
            _publish(partial, final)
        except OSError as error:
            raise output_fault(final, error.strerror or str(error)) from error
    finally:
        if ours:
            with suppress(OSError):  # nothing is left to remove after the rename
                partial.unlink()


def output_fault(target: Path, reason: str) -> EnvironmentFault:
    """The error for an output that the machine did not let us write, with the hint that fits `reason`."""
    hints = {
        "no space left": "free some space or write to another disk",
        "quota": "free some space or write to another disk",
        "permission": "write to a folder you own",
        "read-only": "write to a folder you own",
        "no such file": f"create the folder {shown(target.parent)!r} first",
        "not a directory": f"{shown(target.parent)!r} is a file: name another output folder",
        "file name too long": "choose a shorter name",
        "file exists": "another run with this process id writes the same output: remove the hidden .part file",
    }
    hint = next((hint for key, hint in hints.items() if key in reason.lower()), "name another output file")
    return EnvironmentFault(f"cannot write {shown(target)!r}: {reason}", hint)


def _decodes(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _nearest(path: Path) -> str:
    """Hint for a missing file: the name in its folder that looks most like it."""
    try:
        names = [entry.name for entry in os.scandir(path.parent)]
    except OSError:
        return f"the folder {shown(path.parent)!r} cannot be listed either"
    close = difflib.get_close_matches(path.name, names, n=1)
    return f"did you mean {shown(close[0])!r}?" if close else "check the spelling and the folder"


def _node_kind(mode: int) -> str:
    kinds = {stat.S_IFDIR: "folder", stat.S_IFIFO: "named pipe", stat.S_IFSOCK: "socket"}
    return kinds.get(stat.S_IFMT(mode), "device")


def _remove_abandoned(folder: Path, stem: str, suffix: str) -> None:
    """Remove partials of this target whose process is gone."""
    pattern = re.compile(re.escape(f".{stem}.") + r"(\d+)" + re.escape(f".part{suffix}"))
    try:
        entries = [(entry.path, pattern.fullmatch(entry.name)) for entry in os.scandir(folder)]
    except OSError:
        return  # opening the partial reports the folder's problem
    for path, match in entries:
        if match and (int(match[1]) == os.getpid() or not is_running(int(match[1]))):
            with suppress(OSError):  # another run may have cleaned it in the same moment
                os.unlink(path)


def is_running(pid: int) -> bool:
    """Whether a process of that id runs, as far as can be told."""
    if os.name == "nt":
        return True  # there, signal 0 is not a question but an order
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _publish(partial: Path, final: Path) -> None:
    """Bring the partial to the disk, rename it, and make the rename durable where a folder can be opened."""
    with partial.open("rb+") as file:
        os.fsync(file.fileno())
    os.replace(partial, final)
    with suppress(OSError):
        handle = os.open(final.parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
