"""Which videos a `generate` command asks for: inputs told apart by content, paired, and given output files."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gesturegen_cli.errors import ConfigError, InputError
from gesturegen_cli.media.files import describe_content, require_file, shown

VIDEO = ".mp4"
PAIRINGS = ("product", "zip", "name")
_PICTURES = frozenset({".png", ".jpg", ".jpeg", ".jpe", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".heic", ".avif"})
_SOUNDS = frozenset(
    {".wav", ".wave", ".w64", ".flac", ".mp3", ".m4a", ".aac", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".aifc"}
    | {".au", ".snd", ".caf", ".wma", ".amr", ".ac3", ".ape", ".tta", ".wv", ".mp4", ".m4v", ".mov", ".mkv"}
    | {".webm", ".avi", ".wmv", ".flv", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".mxf", ".3gp"}
)
_OTHER_VIDEOS = frozenset({".mov", ".mkv", ".webm", ".avi", ".gif", ".m4v", ".wmv"})


@dataclass(frozen=True)
class Job:
    """One video to make. `None` means what the command line says for all."""

    speech: Path
    picture: Path
    output: Path
    rng_seed: int | None = None
    energy: float | None = None
    consent: str = ""
    """`yes`, `no`, or empty where nothing was said about the person's consent."""


@dataclass(frozen=True)
class Plan:
    """All videos of one command."""

    jobs: tuple[Job, ...]
    batch: bool
    """In a batch a bad item costs that item only: many jobs, a folder, or a manifest."""
    ignored: tuple[str, ...] = ()
    """What lay in a folder and is neither speech nor picture, in words."""


@dataclass
class _Sorted:
    speeches: list[Path]
    pictures: list[Path]
    ignored: list[str]
    folders: bool = False


def plan_jobs(inputs: Sequence[Path], output: Path | None, pair: str | None) -> Plan:
    """Pair speech files and pictures, given in any order or as folders, and name the output of each pair.

    One speech goes with every picture, one picture with every speech; many with many need `pair`: product, zip (in the
    order given; folders by name) or name (same file name but for the ending). `output` is a file when it ends in .mp4
    and there is one pair, else a folder; without it, the current folder. A video is called after its speech, and after
    its picture too when there are several pictures.

    Raises ConfigError: nothing to pair, an unclear pairing, two pairs with one output. InputError: a named file that is
    neither speech nor picture, a folder without either.
    """
    found = _sort_inputs(inputs)
    pairs = _pair(found.speeches, found.pictures, pair)
    if output is not None and output.suffix.lower() in _OTHER_VIDEOS and not output.is_dir():
        raise ConfigError(f"output {shown(output)!r}: videos are written as {VIDEO}", f"end it in {VIDEO}")
    if output is not None and output.suffix.lower() == VIDEO and not output.is_dir():
        if len(pairs) > 1:
            raise ConfigError(
                f"output {shown(output)!r} is one file, the inputs make {len(pairs)} videos", "name a folder with -o"
            )
        jobs = [Job(*pairs[0], output)]
    else:
        folder = output or Path()
        several = len({picture for _, picture in pairs}) > 1
        jobs = [
            Job(s, p, folder / (f"{s.stem}_{p.stem}{VIDEO}" if several and s.stem != p.stem else s.stem + VIDEO))
            for s, p in pairs
        ]
    require_distinct(jobs)
    return Plan(tuple(jobs), len(jobs) > 1 or found.folders, tuple(found.ignored))


def require_distinct(jobs: Iterable[Job]) -> None:
    """ConfigError when two jobs have one output (or one record beside it)."""
    seen: dict[str, Job] = {}
    for job in jobs:
        key = os.path.normcase(os.path.realpath(job.output.with_suffix("")))
        if key in seen:
            both = ", ".join(f"{shown(one.speech)} with {shown(one.picture)}" for one in (seen[key], job))
            raise ConfigError(
                f"two videos would be called {shown(job.output)!r}: {both}",
                "rename an input, or name the outputs with --manifest",
            )
        seen[key] = job


def protect_inputs(outputs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """ConfigError when an output is one of the inputs, under whatever name."""
    known = {_identity(path) for path in inputs} - {None}
    for output in outputs:
        if _identity(output) in known:
            raise ConfigError(f"output {shown(output)!r} is an input of this command", "name another output with -o")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def _sort_inputs(inputs: Sequence[Path]) -> _Sorted:
    found = _Sorted([], [], [])
    for path in inputs:
        if path.is_dir():
            found.folders = True
            _sort_folder(path, found)
            continue
        kind = _kind(path, named=True)
        (found.pictures if kind == "picture" else found.speeches).append(path)
    return found


def _sort_folder(folder: Path, found: _Sorted) -> None:
    """Regular files of a folder by name; no hidden ones, no folders inside it."""
    try:
        entries = sorted(entry.name for entry in os.scandir(folder) if not entry.name.startswith("."))
    except OSError as error:
        raise InputError(
            f"folder {shown(folder)!r} cannot be listed ({error.strerror})", "check permissions"
        ) from error
    before = len(found.speeches) + len(found.pictures)
    for name in entries:
        path = folder / name
        if not _is_regular(path):
            continue
        kind = _kind(path, named=False)
        if kind == "other":
            found.ignored.append(f"{shown(path)} is neither speech nor picture")
        else:
            (found.pictures if kind == "picture" else found.speeches).append(path)
    if len(found.speeches) + len(found.pictures) == before:
        raise InputError(
            f"folder {shown(folder)!r} holds no speech and no picture", "folders inside it are not looked into"
        )


def _is_regular(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False


def _kind(path: Path, *, named: bool) -> str:
    """`picture`, `speech` or `other`, by content; by the ending where the content says nothing (damaged, missing).

    What the user named is never `other`: it raises InputError instead.
    """
    ending = path.suffix.lower()
    by_name = "picture" if ending in _PICTURES else "speech" if ending in _SOUNDS else "other"
    try:
        _, head = require_file(path, "input")
    except InputError:
        if by_name == "other" and named:
            raise
        return by_name
    content = describe_content(head)
    if content is not None and "picture" in content:
        return "picture"
    if content is None and (by_name == "speech" or _has_sound(path)):
        return "speech"
    if by_name == "other" and named:
        what = content or "no sound, film or picture that is known"
        raise InputError(f"input {shown(path)!r} is {what}, expected speech or a picture", "check the name")
    return by_name


def _has_sound(path: Path) -> bool:
    from gesturegen_cli.media.probe import probe_media

    try:
        return probe_media(path, "input").audio is not None
    except InputError:
        return False


def _pair(speeches: list[Path], pictures: list[Path], pair: str | None) -> list[tuple[Path, Path]]:
    counts = f"{len(speeches)} speech and {len(pictures)} picture file{'s' * (len(pictures) != 1)}"
    if pair is not None and pair not in PAIRINGS:
        raise ConfigError(f"--pair = {pair!r}, expected one of {', '.join(PAIRINGS)}", "see gesturegen generate --help")
    if not speeches or not pictures:
        missing = "no picture" if speeches else "no speech"
        raise ConfigError(
            f"the inputs hold {missing} ({counts})", "for example: gesturegen generate speech.wav ref.png"
        )
    if pair == "zip":
        if len(speeches) != len(pictures):
            raise ConfigError(f"--pair zip needs as many pictures as speeches, found {counts}", "use --pair product")
        return list(zip(speeches, pictures, strict=True))
    if pair == "name":
        return _pair_by_name(speeches, pictures)
    if pair is None and len(speeches) > 1 and len(pictures) > 1:
        raise ConfigError(f"{counts}: which belong together?", "say --pair zip, --pair name or --pair product")
    return [(speech, picture) for speech in speeches for picture in pictures]


def _pair_by_name(speeches: list[Path], pictures: list[Path]) -> list[tuple[Path, Path]]:
    by_stem: dict[str, Path] = {}
    for picture in pictures:
        if picture.stem in by_stem:
            raise ConfigError(f"--pair name: two pictures are called {picture.stem!r}", "rename one of them")
        by_stem[picture.stem] = picture
    single = [path for path in speeches if path.stem not in by_stem]
    single += [path for stem, path in by_stem.items() if stem not in {speech.stem for speech in speeches}]
    if single:
        names = ", ".join(shown(path) for path in single[:5]) + (" ..." if len(single) > 5 else "")
        raise ConfigError(f"--pair name: nothing goes with {names}", "rename them, or leave them out")
    return [(speech, by_stem[speech.stem]) for speech in speeches]
