"""Videos to a dataset: find them, cut them on several processes, assign splits, write manifest and report."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from gesturegen_cli.config.schema import Preprocess
from gesturegen_cli.data.clip_maker import NO_VIDEO, UNREADABLE, Made, make_clips
from gesturegen_cli.data.folder_lock import folder_lock
from gesturegen_cli.data.intervals import IntervalList, find_intervals
from gesturegen_cli.data.manifest import (
    CLIPS,
    DROPPED,
    HEADER,
    Clip,
    Dataset,
    Dropped,
    read_dataset,
    write_dataset,
    write_text,
)
from gesturegen_cli.data.records import WORK, read_record, write_record
from gesturegen_cli.data.report import build_report
from gesturegen_cli.data.sources import Source, Sources, find_sources
from gesturegen_cli.data.splits import assign_splits
from gesturegen_cli.data.workers import Failure, run_each
from gesturegen_cli.errors import ConfigError, EnvironmentFault, InputError
from gesturegen_cli.media.files import output_fault

REPORT = "report.html"
FAULTY = (UNREADABLE, NO_VIDEO, "failed", "bad row")
"""Reasons that are faults of a source, not decisions about its quality."""
_SETTINGS = "settings.json"
_LOCK = "lock"
_NOT_IN_THE_CLIPS = ("workers",)
"""Settings that may change between runs, as the clips do not depend on them."""
_PARTS_PER_JOB = 16
"""Parts of one video that one process does in a row, as it hashes the video and decodes its sound only once."""


@dataclass(frozen=True)
class Preprocessed:
    """What a run of `preprocess` leaves behind."""

    dataset: Dataset
    dropped: tuple[Dropped, ...]
    sources: int
    reused: int
    """Sources that an earlier run had finished."""
    mixed: int = 0
    """Videos with clips in more than one split, because the filter of an interval list says so."""

    @property
    def faults(self) -> tuple[Dropped, ...]:
        """Sources that could not be used because they are broken."""
        return tuple(item for item in self.dropped if item.reason in FAULTY)


def preprocess(
    videos: str | Path,
    data: str | Path,
    settings: Preprocess,
    *,
    allow_outside: bool = False,
    intervals: IntervalList | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Preprocessed:
    """Cut the videos (a folder, one video, or a list of them) into clips and write the dataset folder `data`.

    `intervals` names the stretches to cut from the videos of a folder, see `find_intervals`.

    Running it again continues: finished sources are not done twice. A bad video costs only itself. `on_progress` gets
    (sources done, sources in all).

    Raises InputError: nothing to work on, or no usable clip in any of it. ConfigError: `data` was made with other
    settings or is something else. EnvironmentFault: it cannot be written, or another run works in it.
    """
    if settings.max_seconds < settings.min_seconds:
        found = f"{settings.max_seconds:g} below preprocess.min_seconds = {settings.min_seconds:g}"
        raise ConfigError(f"preprocess.max_seconds = {found}", "raise max_seconds or lower min_seconds")
    root = Path(os.path.abspath(data))
    if intervals is None:
        sources = find_sources(videos, skip=root, allow_outside=allow_outside)
    else:
        sources = find_intervals(videos, intervals, settings.max_seconds, skip=root)
    created = _open_folder(root, settings)
    try:
        with folder_lock(root / WORK / _LOCK), _without_partials(root):
            _write_if_changed(root / WORK / _SETTINGS, json.dumps(_fixed(settings), indent=2) + "\n")
            made, dropped, reused = _make_all(sources, root, settings, on_progress)
            clips, thumbnails, mixed = _with_splits(made, settings)
            if not clips:
                raise _nothing_usable(dropped)
            dataset = _finish(root, clips, dropped, thumbnails, settings, Path(videos).name)
    except InputError:
        for folder in created:  # leave no trace of a run that made nothing
            shutil.rmtree(folder, ignore_errors=True)
        raise
    return Preprocessed(dataset, dropped, len(sources.videos) + len(sources.refused), reused, mixed)


def _open_folder(root: Path, settings: Preprocess) -> list[Path]:
    """Make the folders, or check that they are ours and fit. Returns those that were made."""
    if root.exists() and not root.is_dir():
        raise ConfigError(f"output '{root.name}' is a file, expected a folder", "choose another folder")
    if root.exists():
        _check_ours(root, settings)
    folders = [root / name for name in (CLIPS, WORK)]
    created = [folder for folder in (root, *folders) if not folder.exists()]
    try:
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_fault(root, error.strerror or str(error)) from error
    return created


def _check_ours(root: Path, settings: Preprocess) -> None:
    path = root / WORK / _SETTINGS
    try:
        old = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if (root / HEADER).exists() or ((root / CLIPS).exists() and not (root / WORK).exists()):
            message = f"'{root.name}' holds a dataset that preprocess did not make"
            raise ConfigError(message, "choose another folder") from None
        return
    except (OSError, ValueError) as error:
        raise EnvironmentFault(f"{WORK}/{_SETTINGS} cannot be read ({error})", "choose another folder") from error
    new = _fixed(settings)
    changed = [key for key in new if not isinstance(old, dict) or old.get(key) != new[key]]
    if changed:
        was = {key: old.get(key) if isinstance(old, dict) else None for key in changed}
        listed = ", ".join(f"preprocess.{key} = {new[key]:g} (was {was[key]})" for key in changed)
        raise ConfigError(f"'{root.name}' was made with other settings: {listed}", "choose another folder")


@contextmanager
def _without_partials(root: Path) -> Iterator[None]:
    """Remove unfinished files of killed processes, before and after. The lock says that nobody is writing them."""
    try:
        _remove_partials(root)
        yield
    finally:
        _remove_partials(root)


def _remove_partials(root: Path) -> None:
    for folder in (root / CLIPS, root / WORK):
        for path in folder.glob(".*.part*"):
            path.unlink(missing_ok=True)


def _fixed(settings: Preprocess) -> dict[str, float]:
    return {key: value for key, value in asdict(settings).items() if key not in _NOT_IN_THE_CLIPS}


def _make_all(
    sources: Sources, root: Path, settings: Preprocess, on_progress: Callable[[int, int], None] | None
) -> tuple[list[tuple[Source, Made]], tuple[Dropped, ...], int]:
    """Work on every source that is not finished; returns what became of each, in order, and how many were finished."""
    videos, duplicates = _without_duplicates(sources.videos)
    known = [read_record(root, source) for source in videos]
    todo = _as_jobs([source for source, made in zip(videos, known, strict=True) if made is None])
    failures: dict[Source, Failure] = {}
    done = reused = sum(made is not None for made in known)

    def ended(job: int, failure: Failure | None) -> None:
        nonlocal done
        done += len(todo[job])
        if failure is not None:
            failures.update(dict.fromkeys(todo[job], failure))
        if on_progress is not None:
            on_progress(done, len(videos))

    workers = min(settings.workers or os.cpu_count() or 1, max(1, len(todo)))
    run_each(_work, [(parts, root, settings) for parts in todo], workers, ended, preload=__name__)
    all_made: list[tuple[Source, Made]] = []
    for source, old in zip(videos, known, strict=True):
        made = old or read_record(root, source)  # a job that failed may have finished some of its parts
        if made is None:
            detail = failures[source].detail if source in failures else "it changed while it was read"
            made = Made("", 0.0, dropped=(Dropped(source.title, source.start, source.end, "failed", detail),))
        all_made.append((source, made))
    dropped = [*sources.refused, *duplicates, *(item for _source, made in all_made for item in made.dropped)]
    return all_made, tuple(dropped), reused


def _as_jobs(sources: Sequence[Source]) -> list[list[Source]]:
    """Parts of one video together, but not too many."""
    jobs: list[list[Source]] = []
    open_jobs: dict[Path, list[Source]] = {}
    for source in sources:
        job = open_jobs.get(source.path)
        if job is None or len(job) == _PARTS_PER_JOB:
            job = open_jobs[source.path] = []
            jobs.append(job)
        job.append(source)
    return jobs


def _work(parts: Sequence[Source], root: Path, settings: Preprocess) -> None:
    """Some parts of one video, in a process of their own."""
    import torch

    torch.set_num_threads(1)  # the jobs run in parallel
    for source in parts:
        write_record(root, source, make_clips(source, root, settings))


def _without_duplicates(videos: Sequence[Source]) -> tuple[list[Source], list[Dropped]]:
    """Leave out what has the same content and part as an earlier one. Only files of equal size are read for that."""
    sizes = {source.path: source.path.stat().st_size if source.path.is_file() else -1 for source in videos}
    often = Counter(sizes.values())
    seen: dict[tuple[str, float, float | None], str] = {}
    kept: list[Source] = []
    duplicates: list[Dropped] = []
    digests: dict[Path, str] = {}
    for source in videos:
        size, content = sizes[source.path], str(source.path)
        if often[size] > 1 and size > 0:
            if source.path not in digests:
                digests[source.path] = _digest(source.path)
            content = digests[source.path] or content
        key = (content, source.start, source.end)
        if key in seen:
            detail = f"the same as '{seen[key]}'"
            duplicates.append(Dropped(source.title, source.start, source.end, "duplicate", detail))
            continue
        seen[key] = source.title
        kept.append(source)
    return kept, duplicates


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""  # the worker reports why it cannot be read


def _with_splits(made: Sequence[tuple[Source, Made]], settings: Preprocess) -> tuple[list[Clip], dict[str, str], int]:
    """All clips with their splits, the thumbnails by clip, and how many videos have clips in more than one split.

    A list may give the split; else it is drawn, by the recording that the list names or by the source's content.
    """
    groups = [source.group or one.sha256 for source, one in made]
    drawn = {group for group, (source, one) in zip(groups, made, strict=True) if one.clips and not source.split}
    splits = assign_splits(drawn, settings.validation, settings.test)
    clips: dict[str, Clip] = {}
    places: defaultdict[str, set[str]] = defaultdict(set)
    for group, (source, one) in zip(groups, made, strict=True):
        for clip in one.clips:
            split = source.split or splits[group]
            clips[clip.id] = replace(clip, split=split)
            places[group].add(split)
    thumbnails = {name: picture for _source, one in made for name, picture in one.thumbnails}
    mixed = sum(len(used) > 1 for used in places.values())
    return sorted(clips.values(), key=lambda clip: clip.id), thumbnails, mixed


def _nothing_usable(dropped: Sequence[Dropped]) -> InputError:
    counts = Counter(item.reason for item in dropped)
    reasons = ", ".join(f"{reason}: {count}" for reason, count in counts.most_common())
    first = "; ".join(f"'{item.source}': {item.detail}" for item in dropped[:3])
    return InputError(f"no usable clip in any video ({reasons}): {first}", "see --set preprocess.* for the limits")


def _finish(
    root: Path,
    clips: list[Clip],
    dropped: tuple[Dropped, ...],
    thumbnails: dict[str, str],
    settings: Preprocess,
    source: str,
) -> Dataset:
    """Write manifest and report, unless they say the same already."""
    try:
        old = read_dataset(root)
        lines = (root / DROPPED).read_text(encoding="utf-8").splitlines()
        same = list(old.clips) == clips and [Dropped(**json.loads(line)) for line in lines] == list(dropped)
    except (InputError, OSError, ValueError, TypeError):
        same = False  # none yet, or a damaged one
    if same and old.source == source:
        dataset = old
    else:
        fps, size, fixed = settings.fps, settings.size, _fixed(settings)
        dataset = write_dataset(root, clips, fps=fps, size=size, source=source, settings=fixed, dropped=dropped)
    _write_if_changed(root / REPORT, build_report(dataset, dropped, thumbnails))
    return dataset


def _write_if_changed(path: Path, text: str) -> None:
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)
