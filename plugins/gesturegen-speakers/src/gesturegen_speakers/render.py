"""Rendering many clips in a pool of processes, resumable and interruptible."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from gesturegen_cli.errors import EnvironmentFault

from .assets import Assets, load_assets
from .clip import ClipSettings, Stopped, make_clip
from .dataset import Entry, entry_of, open_dataset, write_dataset

MANIFEST_EVERY = 20  # clips between two writes of the manifest


@dataclass(frozen=True)
class Progress:
    """State of a run: clips done of all wanted, and how many of them were there before."""

    done: int
    total: int
    kept: int


@dataclass
class _Worker:
    """What a worker process keeps between clips."""

    assets: Assets
    folder: Path
    settings: ClipSettings
    stop: Event


_workers: list[_Worker] = []  # the one of this process: the pool offers no other way to keep state


def _start_worker(root: Path, folder: Path, settings: ClipSettings, stop: Event) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to stop
    _workers[:] = [_Worker(load_assets(root), folder, settings, stop)]


def _work(number: int) -> Entry | None:
    (worker,) = _workers
    try:
        make_clip(worker.assets, worker.folder, number, worker.settings, worker.stop.is_set)
    except Stopped:
        return None
    return entry_of(worker.folder, number)


def render_dataset(
    root: Path,
    folder: Path,
    clips: int,
    settings: ClipSettings,
    workers: int,
    on_progress: Callable[[Progress], None],
) -> int:
    """Make clips 0 .. clips-1 of a dataset in `folder`, keeping those that are complete; returns how many there are.

    On KeyboardInterrupt the clips in work are dropped, the manifest is written and the interrupt passes on.
    Raises EnvironmentFault when a worker dies.
    """
    done = open_dataset(folder, settings)
    missing = [number for number in range(clips) if number not in done]
    kept, total = len(done), len(done) + len(missing)
    on_progress(Progress(kept, total, kept))
    if not missing:
        return total
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")  # one process per core already; read when a worker starts
    arguments = (root, folder, settings, stop)
    pool = ProcessPoolExecutor(min(workers, len(missing)), context, _start_worker, arguments)
    try:
        pending: set[Future[Any]] = {pool.submit(_work, number) for number in missing}
        written = len(done)
        while pending:
            finished, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in finished:
                entry = future.result()
                done[entry.number] = entry
            if len(done) - written >= MANIFEST_EVERY:
                write_dataset(folder, settings, done.values())
                written = len(done)
            on_progress(Progress(len(done), total, kept))
    except BrokenProcessPool as error:
        raise EnvironmentFault(
            "a worker process died (perhaps out of memory)", hint="repeat the command with fewer --workers to go on"
        ) from error
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)
        write_dataset(folder, settings, done.values())
    return total
