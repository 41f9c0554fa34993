"""Many independent jobs on several processes: one process per job, so that a job that dies costs only itself."""

from __future__ import annotations

import multiprocessing
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import TYPE_CHECKING, Any

from gesturegen_cli.errors import EnvironmentFault, OutOfMemory

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext, SpawnContext

_PATIENCE = 5.0
"""Seconds in which an ended job may clean up before it is killed."""
Job = tuple[Any, ...]


@dataclass(frozen=True)
class Failure:
    """A job that ended without its result."""

    detail: str


@dataclass(frozen=True)
class _Running:
    index: int
    process: BaseProcess
    answers: Connection


def run_each(
    function: Callable[..., None],
    jobs: Sequence[Job],
    workers: int,
    on_done: Callable[[int, Failure | None], None],
    preload: str = "",
) -> None:
    """Call `function(*job)` for each job in its own process, at most `workers` at a time.

    `function` is a module's own function and leaves its results on disk. `on_done(index, failure)` is called in this
    process as jobs end. `preload` names a module to import once for all. EnvironmentFault and OutOfMemory of a job end
    the whole run; any other exception, or the death of its process, is that job's failure. On an interrupt, all jobs
    are told to end and may clean up.
    """
    context = _context(preload)
    waiting = list(enumerate(jobs))[::-1]
    running: list[_Running] = []
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                index, job = waiting.pop()
                answers, give = context.Pipe(duplex=False)
                process = context.Process(target=_run, args=(function, job, give), daemon=True)
                process.start()
                give.close()
                running.append(_Running(index, process, answers))
            ended = wait([job.answers for job in running])
            for done in [job for job in running if job.answers in ended]:
                running.remove(done)
                on_done(done.index, _outcome(done))
    finally:
        _end(running)


def _context(preload: str) -> SpawnContext | ForkServerContext:
    """Never plain fork: it copies the locks of other threads, torch's among them, in whatever state they are."""
    if sys.platform == "win32":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    if preload:
        context.set_forkserver_preload([preload])
    return context


def _outcome(job: _Running) -> Failure | None:
    """What a job says at its end. Raises what concerns all jobs."""
    try:
        kind, message, hint = job.answers.recv()
    except EOFError:
        kind, message, hint = "died", "", ""
    finally:
        job.answers.close()
    job.process.join()
    if kind == "fault":
        raise EnvironmentFault(message, hint)
    if kind == "memory":
        raise OutOfMemory(message, hint)
    if kind == "died":
        return Failure(f"its process ended with status {job.process.exitcode}")
    return Failure(message) if kind == "failed" else None


def _end(running: Sequence[_Running]) -> None:
    for job in running:
        job.process.terminate()
    for job in running:
        job.process.join(_PATIENCE)
        if job.process.is_alive():
            job.process.kill()
            job.process.join()
        job.answers.close()


def _run(function: Callable[..., None], job: Job, give: Connection) -> None:
    """In the new process: do the job and say how it went. Ctrl-C is left to the parent, who ends us by SIGTERM."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _stop)
    threading.Thread(target=_follow_parent, daemon=True).start()
    try:
        function(*job)
        give.send(("done", "", ""))
    except EnvironmentFault as error:
        give.send(("fault", error.message, error.hint))
    except MemoryError as error:
        give.send(("memory", f"out of memory ({error})", "use fewer workers: --set preprocess.workers=1"))
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        give.send(("fault", f"{error.strerror or error}{where}", "check the disk and the permissions"))
    except Exception as error:  # one job must not cost the others, whatever it met
        give.send(("failed", f"{type(error).__name__}: {error}", ""))


def _stop(signum: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not break off the cleaning up
    raise SystemExit(128 + signum)


def _follow_parent() -> None:
    """End this process as SIGTERM would when the parent is gone, even if it was killed."""
    parent = multiprocessing.parent_process()
    if parent is None or sys.platform == "win32":
        return
    parent.join()
    main = threading.main_thread().ident
    if main is not None:
        signal.pthread_kill(main, signal.SIGTERM)
