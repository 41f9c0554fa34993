"""The one door to the ffmpeg child process.

A media file can be a script: a text that begins `ffconcat version 1.0` makes ffmpeg open other files whatever its own
name is. Therefore every input goes in with a list of protocols and a list of demuxers, as `file:` + absolute path,
and only after its first bytes were looked at. Arguments are lists, never shell strings; the child reads no keyboard;
it is killed when the caller fails, is interrupted, or when the child makes no progress.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import imageio_ffmpeg

from gesturegen_cli.errors import EnvironmentFault

INPUT_FORMATS = (
    "wav",
    "w64",
    "aiff",
    "caf",
    "au",
    "flac",
    "mp3",
    "aac",
    "ac3",
    "eac3",
    "amr",
    "ape",
    "tta",
    "wv",
    "ogg",
    "mov",
    "matroska",
    "avi",
    "asf",
    "flv",
    "mpeg",
    "mpegts",
    "mxf",
)
"""Demuxers that hold their media themselves. Playlists, scripts, picture sequences and devices are not among them."""

STALL_SECONDS = 120.0
"""A child that neither takes nor gives a byte for this long is killed."""

_STDERR_BYTES = 65_536


class FfmpegFailure(Exception):
    """ffmpeg ended with an error. Callers turn it into an InputError or an EnvironmentFault; `text` says why."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


@lru_cache(maxsize=1)
def executable() -> str:
    """Path of the ffmpeg that imageio-ffmpeg brings. Raises EnvironmentFault when there is none for this platform."""
    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise EnvironmentFault(f"no ffmpeg found: {error}", "reinstall the package imageio-ffmpeg") from error


def input_arguments(path: Path, *before: str) -> list[str]:
    """Arguments that open `path` as an input that can reach no other file; `before` are options of this input."""
    # Errors inside a stream are the reader's to judge, not a reason to end.
    limits = ["-max_error_rate", "1", "-protocol_whitelist", "file,pipe", "-format_whitelist", ",".join(INPUT_FORMATS)]
    return [*limits, *before, "-i", f"file:{path}"]


def messages(text: str) -> list[str]:
    """The lines ffmpeg printed, without the addresses it puts in front."""
    lines = (re.sub(r"^(\[[^\]]*\]\s*)+", "", line).strip() for line in text.splitlines())
    return [line for line in lines if line]


class Child:
    """A running ffmpeg with a pipe on either side. Made by `running`, which also ends it."""

    def __init__(self, process: subprocess.Popen[bytes], stderr: IO[bytes], stall_seconds: float) -> None:
        self._process = process
        self._stderr = stderr
        self._stall_seconds = stall_seconds
        self._waiting_since: float | None = None
        self._stalled = False
        self._ended = threading.Event()
        threading.Thread(target=self._watch, daemon=True, name="ffmpeg-watch").start()

    def read(self, size: int) -> bytes:
        """Up to `size` bytes of its output; fewer only at the end."""
        assert self._process.stdout is not None  # noqa: S101 - `running` opened the pipe
        with self._waiting():
            return self._process.stdout.read(size)

    def write(self, data: memoryview | bytes) -> None:
        """Give it `data`. Raises FfmpegFailure when it no longer takes any."""
        assert self._process.stdin is not None  # noqa: S101 - `running` opened the pipe
        try:
            with self._waiting():
                self._process.stdin.write(data)
        except OSError:
            self.finish()
            raise FfmpegFailure("it ended before all its input was given") from None

    def finish(self) -> str:
        """Close its input, wait for its end, return what it reported. Raises FfmpegFailure when it failed."""
        if self._process.stdin is not None:
            with suppress(OSError), self._waiting():  # a broken pipe shows in the exit status below
                self._process.stdin.close()
        with self._waiting():
            status = self._process.wait()
        text = self.report()
        if self._stalled:
            raise FfmpegFailure(f"it made no progress for {self._stall_seconds:g} s")
        if status != 0:
            raise FfmpegFailure(text.strip() or f"it ended with status {status}")
        return text

    def report(self) -> str:
        """What it has printed so far (at most 64 KiB)."""
        self._stderr.seek(0)
        return self._stderr.read(_STDERR_BYTES).decode("utf-8", "surrogateescape")

    def close(self) -> None:
        """End it now, whatever it does, and free the pipes."""
        self._ended.set()
        _end(self._process)

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        """Only the time in which we wait for the child counts, not the time its user takes between two frames."""
        self._waiting_since = time.monotonic()
        try:
            yield
        finally:
            self._waiting_since = None

    def _watch(self) -> None:
        while not self._ended.wait(min(1.0, self._stall_seconds / 4)) and self._process.returncode is None:
            since = self._waiting_since
            if since is not None and time.monotonic() - since > self._stall_seconds:
                self._stalled = True
                self._process.kill()
                return


@contextmanager
def running(
    arguments: Sequence[str], *, feed: bool = False, stall_seconds: float = STALL_SECONDS, loglevel: str = "error"
) -> Iterator[Child]:
    """Start ffmpeg with `arguments`; with `feed` it has a pipe as input. On leaving the block it has ended.

    Raises EnvironmentFault when it cannot be started.
    """
    command = [executable(), "-hide_banner", "-nostats", "-loglevel", loglevel]
    command += [*([] if feed else ["-nostdin"]), *arguments]
    # Both would change what it prints, and FFREPORT where it writes.
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("AV_LOG_", "FFREPORT"))}
    with tempfile.TemporaryFile() as stderr:
        starting: Future[subprocess.Popen[bytes]] = Future()
        options = {"stdin": subprocess.PIPE if feed else subprocess.DEVNULL, "stderr": stderr, "env": environment}
        child: Child | None = None
        try:
            threading.Thread(target=_start, args=(starting, command, options), daemon=True, name="ffmpeg-start").start()
            child = Child(_started(starting), stderr, stall_seconds)
            yield child
        finally:
            if child is not None:
                child.close()
            elif not starting.cancel() and starting.exception() is None:  # interrupted before anyone knew the child
                _end(starting.result())


def _start(starting: Future[subprocess.Popen[bytes]], command: list[str], options: dict[str, Any]) -> None:
    """Start the child, on a thread of its own, unless `starting` was cancelled.

    A signal handler may raise in the middle of `Popen`, and then nobody would know, or end, the child that runs
    already. Handlers run on the main thread only: here the start is never cut in two.
    """
    if not starting.set_running_or_notify_cancel():
        return
    try:
        # Its own session: Ctrl-C goes to us, and we end the child.
        starting.set_result(subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True, **options))
    except BaseException as error:  # `_started` raises it again, where it can be handled
        starting.set_exception(error)


def _started(starting: Future[subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
    try:
        return starting.result()
    except OSError as error:
        message = f"cannot start ffmpeg: {error.strerror or error}"
        raise EnvironmentFault(message, "reinstall imageio-ffmpeg") from error


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):  # unwritten bytes for a child that is gone
                pipe.close()
    process.wait()
