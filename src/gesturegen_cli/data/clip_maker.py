"""One source video to its clips on disk, with a record of what was kept and what was dropped, and why."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gesturegen_cli.config.schema import Preprocess
from gesturegen_cli.data.cutting import (
    ChangeMeter,
    Loudness,
    Stretch,
    divide,
    find_cuts,
    measure_loudness,
    split_scenes,
)
from gesturegen_cli.data.manifest import CLIPS, Clip, Dropped
from gesturegen_cli.data.sources import Source
from gesturegen_cli.data.speaker_crop import fixed_square, place_crop
from gesturegen_cli.errors import InputError
from gesturegen_cli.media.audio import load_audio, save_wav
from gesturegen_cli.media.framing import CropBox
from gesturegen_cli.media.probe import probe_media
from gesturegen_cli.media.video import VideoInfo, iter_frames, probe_video, write_video
from gesturegen_cli.types import SAMPLE_RATE

MAX_SECONDS = 7200.0
"""Longer videos are refused: their sound is held in memory."""
UNREADABLE = "unreadable"
NO_VIDEO = "no video stream"
_SIDE = 96
"""Longer side, in pixels, of the small pictures on which cuts and motion are looked for."""
_KEEP_EVERY = 0.2
"""Seconds between the small pictures kept for finding the speaker."""
_STILL = 6
"""Grey levels under which nothing moved: a still picture with sound."""
_THUMBNAIL = 96
_THUMBNAILS = 3
"""Clips of one source that carry a thumbnail for the report."""
_ENDING = 2
"""Frames that may be missing at a clip's end, as a seek is a frame off; the last one is repeated."""


@dataclass(frozen=True)
class Made:
    """What became of one source."""

    sha256: str
    seconds: float
    clips: tuple[Clip, ...] = ()
    """Split is `train` in all of them: splits are assigned when all sources are known."""
    dropped: tuple[Dropped, ...] = ()
    thumbnails: tuple[tuple[str, str], ...] = ()
    """Clip id and a JPEG in base64."""


@dataclass(frozen=True)
class _Survey:
    """One look at the whole source: `frames` at the dataset's rate, cuts, and some small pictures."""

    frames: int
    cuts: list[int]
    pictures: list[NDArray[np.uint8]]
    """Grey, `h w 1`, one every `step` frames."""
    step: int
    square: CropBox | None
    """What was looked at, where the source says where the speaker is; None is the whole picture."""

    def within(self, stretch: Stretch) -> list[NDArray[np.uint8]]:
        """The small pictures of a stretch."""
        return self.pictures[-(-stretch[0] // self.step) : -(-stretch[1] // self.step)]


def make_clips(source: Source, root: Path, settings: Preprocess) -> Made:
    """Cut one source into clips below `root`. What a bad video causes becomes a record, never an error.

    Raises EnvironmentFault when the clips cannot be written.
    """
    digest = ""
    try:
        digest = _digest(source.path, _version(source.path))
        return _make_clips(source, digest, root, settings)
    except InputError as error:
        return _nothing(source, digest, UNREADABLE, error.message)
    except OSError as error:
        if error.filename is None or Path(error.filename) != source.path:
            raise
        return _nothing(source, digest, UNREADABLE, error.strerror or str(error))


def _version(path: Path) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns


# A process gets many parts of one video: its content is hashed and its sound decoded once.
@lru_cache(maxsize=1)
def _digest(path: Path, version: tuple[int, int]) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@lru_cache(maxsize=1)
def _load_samples(path: Path, version: tuple[int, int]) -> NDArray[np.float32]:
    return load_audio(path, max_seconds=2 * MAX_SECONDS).samples


def _nothing(source: Source, digest: str, reason: str, detail: str, seconds: float = 0.0) -> Made:
    return Made(digest, seconds, dropped=(Dropped(source.title, source.start, source.end, reason, detail),))


def _make_clips(source: Source, digest: str, root: Path, settings: Preprocess) -> Made:
    if probe_media(source.path, "video").video is None:
        return _nothing(source, digest, NO_VIDEO, "it has no picture track")
    info = probe_video(source.path)
    length = min(info.seconds, source.end or info.seconds) - source.start
    if info.seconds > MAX_SECONDS:
        detail = f"{info.seconds:.0f} s, at most {MAX_SECONDS:.0f} s are taken: cut it into parts"
        return _nothing(source, digest, "too long", detail, length)
    if length <= 0:
        return _nothing(source, digest, "too short", f"the video ends at {info.seconds:.2f} s, before this part")
    if length < settings.min_seconds:
        return _nothing(source, digest, "too short", f"{length:.2f} s, expected {settings.min_seconds:g} s", length)
    if not info.has_audio and settings.min_speech > 0:
        return _nothing(source, digest, "no audio", "no sound track; preprocess.min_speech=0 keeps it", length)
    samples = _load_samples(source.path, _version(source.path)) if info.has_audio else None
    survey = _survey(source, info, settings)
    loudness = measure_loudness(samples if samples is not None else np.zeros(0, np.float32))
    made = Made(digest, survey.frames / settings.fps)
    for scene in split_scenes(survey.frames, survey.cuts):
        stretches, rests = divide(scene, settings.fps, settings.min_seconds, settings.max_seconds)
        found = [_drop(source, rest, settings, "too short", _short_detail(survey, settings)) for rest in rests]
        made = replace(made, dropped=(*made.dropped, *found))
        for stretch in stretches:
            refused = _refuse(source, stretch, survey, loudness, settings)
            if refused is not None:
                made = replace(made, dropped=(*made.dropped, refused))
                continue
            made = _add(made, *_write_clip(source, digest, stretch, survey, samples, root, settings))
    return made


def _add(made: Made, clip: Clip, thumbnail: str) -> Made:
    thumbnails = made.thumbnails
    if len(thumbnails) < _THUMBNAILS:
        thumbnails = (*thumbnails, (clip.id, thumbnail))
    return replace(made, clips=(*made.clips, clip), thumbnails=thumbnails)


def _survey(source: Source, info: VideoInfo, settings: Preprocess) -> _Survey:
    """Read the whole source once, small and grey."""
    square = None if source.square is None else fixed_square(source.square, info.width, info.height)
    width, height = (info.width, info.height) if square is None else (square.side, square.side)
    scale = _SIDE / max(width, height)
    size = (max(2, round(width * scale)), max(2, round(height * scale)))
    length = None if source.end is None else source.end - source.start
    step = max(1, round(_KEEP_EVERY * settings.fps))
    meter = ChangeMeter()
    pictures: list[NDArray[np.uint8]] = []
    count = 0
    fps, start = settings.fps, source.start
    for frame in iter_frames(source.path, fps=fps, size=size, crop=square, start=start, seconds=length):
        grey = frame.mean(axis=2, dtype=np.float32)
        meter.add(grey)
        if count % step == 0:
            pictures.append(np.round(grey).astype(np.uint8)[..., None])
        count += 1
    return _Survey(count, find_cuts(meter.changes(), settings.scene_threshold), pictures, step, square)


def _drop(source: Source, stretch: Stretch, settings: Preprocess, reason: str, detail: str) -> Dropped:
    start, end = (round(source.start + frame / settings.fps, 3) for frame in stretch)
    return Dropped(source.title, start, end, reason, detail)


def _short_detail(survey: _Survey, settings: Preprocess) -> str:
    between = "between scene cuts, " if survey.cuts else ""
    return f"{between}expected at least {settings.min_seconds:g} s"


def _refuse(
    source: Source, stretch: Stretch, survey: _Survey, loudness: Loudness, settings: Preprocess
) -> Dropped | None:
    """Why a stretch does not become a clip; None when it does."""
    pictures = survey.within(stretch)
    # Pictures are unsigned: the difference needs room for its sign.
    if all(np.abs(p.astype(np.int16) - pictures[0]).max() < _STILL for p in pictures):
        return _drop(source, stretch, settings, "still picture", "nothing moves")
    if settings.min_speech <= 0:
        return None
    start, seconds = source.start + stretch[0] / settings.fps, (stretch[1] - stretch[0]) / settings.fps
    if loudness.is_silent(start, seconds):
        return _drop(source, stretch, settings, "silent", "nothing is louder than -60 dB; min_speech=0 keeps it")
    share = loudness.speech_share(start, seconds)
    if share < settings.min_speech:
        detail = f"{share:.0%} is louder than the noise floor, expected {settings.min_speech:.0%}"
        return _drop(source, stretch, settings, "little speech", detail)
    return None


def _write_clip(
    source: Source,
    digest: str,
    stretch: Stretch,
    survey: _Survey,
    samples: NDArray[np.float32] | None,
    root: Path,
    settings: Preprocess,
) -> tuple[Clip, str]:
    """Write video and sound of one clip; returns it with its thumbnail."""
    fps, size, frames = settings.fps, settings.size, stretch[1] - stretch[0]
    start = source.start + stretch[0] / fps
    name = f"{_slug(source.label or source.path.stem)}-{digest[:8]}-{round(start * fps):06d}-{frames:03d}"
    box = survey.square
    if box is None:
        one = next(iter_frames(source.path, fps=fps, start=start, seconds=1 / fps))
        box = place_crop(survey.within(stretch), one)
    video, audio = (root / CLIPS / f"{name}{suffix}" for suffix in (".mp4", ".wav"))
    save_wav(audio, _sound(samples, start, frames, fps))
    pictures = iter_frames(source.path, fps=fps, size=size, crop=box, start=start, seconds=frames / fps)
    thumbnail = _Thumbnail(frames // 2)
    watched = thumbnail.watch(_exactly(pictures, frames, source.path))
    write_video(video, watched, fps=fps, size=(size, size), frame_count=frames, comment="")
    digests = {key: hashlib.sha256(path.read_bytes()).hexdigest() for key, path in (("video", video), ("audio", audio))}
    clip = Clip(
        id=name,
        video=video,
        audio=audio,
        labels=None,
        split="train",
        source=source.name,
        start=round(start, 6),
        frames=frames,
        seconds=frames / fps,
        fps=fps,
        size=size,
        sha256=digests,
        crop=(box.left, box.top, box.side),
        speaker=source.speaker,
        consent=source.consent,
    )
    return clip, thumbnail.jpeg


def _slug(stem: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]+", "-", stem)[:60].strip("-") or "video"


def _sound(samples: NDArray[np.float32] | None, start: float, frames: int, fps: float) -> NDArray[np.float32]:
    """round(frames / fps * 16000) samples from `start` seconds on; silence where there is no sound."""
    sound = np.zeros(round(frames / fps * SAMPLE_RATE), np.float32)
    if samples is not None:
        first = round(start * SAMPLE_RATE)
        part = samples[first : first + len(sound)]
        sound[: len(part)] = part
    return sound


def _exactly(frames: Iterator[NDArray[np.uint8]], count: int, path: Path) -> Iterator[NDArray[np.uint8]]:
    """Exactly `count` frames; the last one is repeated where up to two are missing."""
    given = 0
    last = None
    for last in frames:
        given += 1
        yield last
    if last is None or count - given > _ENDING:
        raise InputError(f"video {path.name!r}: {given} of {count} frames of a clip could be decoded", "is it damaged?")
    yield from chain.from_iterable([last] for _ in range(count - given))


class _Thumbnail:
    """Keeps a small JPEG of one of the frames that pass by."""

    def __init__(self, index: int) -> None:
        self._index = index
        self.jpeg = ""

    def watch(self, frames: Iterator[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
        """Yield `frames` unchanged."""
        for index, frame in enumerate(frames):
            if index == self._index:
                picture = Image.fromarray(frame).resize((_THUMBNAIL, _THUMBNAIL), Image.Resampling.LANCZOS)
                buffer = io.BytesIO()
                picture.save(buffer, "JPEG", quality=70)
                self.jpeg = base64.b64encode(buffer.getvalue()).decode("ascii")
            yield frame
