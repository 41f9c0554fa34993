"""Videos: what is in one, its frames at a constant rate, and writing one that is complete or not there at all."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gesturegen_cli import __version__
from gesturegen_cli.errors import ConfigError, EnvironmentFault, InputError
from gesturegen_cli.media import ffmpeg
from gesturegen_cli.media.audio import in_step_filters, write_wav
from gesturegen_cli.media.files import output_fault, printable, replacing, shown
from gesturegen_cli.media.framing import CropBox, crop_and_resize
from gesturegen_cli.media.probe import MediaFile, probe_media
from gesturegen_cli.types import AudioClip

MARK_PREFIX = "AI-generated"
AI_MARK = f"{MARK_PREFIX} video (gesturegen {__version__})"
"""The comment in every video written: says in machine-readable form that it is AI-generated."""

MAX_PIXELS = 36_000_000
"""Pixels of one frame, a little more than 8K."""

_THREADS = 4
"""libx264 gives other pictures for other thread counts, so the count is not left to the machine."""
_AUDIO_RATES = (32_000, 44_100, 48_000)


@dataclass(frozen=True)
class VideoInfo:
    """What a video shows: upright `width` and `height` in square pixels, `fps` as stored, `seconds`."""

    width: int
    height: int
    fps: float
    seconds: float
    has_audio: bool
    rotation: int
    """Degrees clockwise by which players turn it; `width` and `height` are after the turn."""
    container: str


def probe_video(path: str | os.PathLike[str]) -> VideoInfo:
    """Read what a video file says about itself; counts its packets where the header gives no length.

    Raises InputError: no such file, no video, no picture track, frames larger than 36 million pixels.
    """
    media = probe_media(Path(path), "video")
    width, height = _upright_size(media)
    video = media.video
    assert video is not None  # noqa: S101 - `_upright_size` refuses files without
    seconds = media.seconds if media.seconds is not None else _count(media.path, media.name)[1]
    return VideoInfo(width, height, video.fps, seconds, media.audio is not None, video.rotation, media.container)


def iter_frames(
    path: str | os.PathLike[str],
    *,
    fps: float,
    size: int | tuple[int, int] | None = None,
    crop: CropBox | None = None,
    start: float = 0.0,
    seconds: float | None = None,
) -> Iterator[NDArray[np.uint8]]:
    """Yield the frames `h w 3` of a video, upright, at a constant `fps` from `start` for `seconds` (None: all).

    Frames are repeated or left out to keep time, whatever the rate of the file. `crop` is in pixels of the upright
    video, `size` (side, or width and height) is that of the frames yielded. One frame is in memory at a time; closing
    the generator ends the decoder.

    Raises InputError on the first step: as `probe_video`, or when not one frame can be decoded.
    """
    media = probe_media(Path(path), "video")
    width, height = _upright_size(media)
    target = (size, size) if isinstance(size, int) else size
    cut_here = crop is not None and not crop.inside(width, height)
    shape = target or ((crop.side, crop.side) if crop is not None else (width, height))
    out_width, out_height = (width, height) if cut_here else shape
    filters = [f"fps={_rate(fps)}:start_time=0", f"scale={width}:{height}"]
    if crop is not None and not cut_here:
        filters.append(f"crop={crop.side}:{crop.side}:{crop.left}:{crop.top}:exact=1")
    filters.append(f"scale={out_width}:{out_height}:flags=lanczos+accurate_rnd+full_chroma_int")
    arguments = ffmpeg.input_arguments(media.path, *(["-ss", f"{start:.6f}"] if start > 0 else []))
    arguments += ["-map", f"0:{media.video.index if media.video else 0}", "-vf", ",".join(filters), "-an", "-sn", "-dn"]
    if seconds is not None:
        arguments += ["-frames:v", str(max(1, round(seconds * fps)))]
    arguments += ["-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1"]
    with ffmpeg.running(arguments) as child:
        count = 0
        while len(data := child.read(out_width * out_height * 3)) == out_width * out_height * 3:
            frame = np.frombuffer(data, np.uint8).reshape(out_height, out_width, 3)
            count += 1
            yield crop_and_resize(frame, crop, shape) if cut_here and crop is not None else frame
        if count == 0:
            raise InputError(
                f"video {media.name!r}: not one frame could be decoded from {start:g} s on{_why(child)}",
                "is it damaged, or shorter than that?",
            )


def write_video(
    path: str | os.PathLike[str],
    frames: Iterable[NDArray[np.uint8]],
    *,
    fps: float,
    size: tuple[int, int],
    frame_count: int,
    audio: AudioClip | None = None,
    audio_path: Path | None = None,
    comment: str = AI_MARK,
    on_frame: Callable[[int], None] | None = None,
) -> None:
    """Write `frames` (each `h w 3` of `size` = width, height) as H.264 in MP4, with the speech, `frame_count / fps` s.

    The sound is the first track of `audio_path` as it was recorded, else the samples of `audio`, else none. Frames are
    taken one at a time. The file appears under its name when all `frame_count` frames are in it and on the disk; after
    any error or interrupt there is no trace of it, and an older file of that name is untouched. The same frames give
    the same file on one machine and version. `on_frame` is called with the number of frames taken so far.

    Raises ConfigError: odd or empty size, output equal to the speech file, not one frame asked for. EnvironmentFault:
    folder missing, read-only, full. ValueError: a frame of another shape or type, fewer or more frames than announced.
    Whatever `frames` raises comes through unchanged.
    """
    width, height = size
    if width < 2 or height < 2 or width % 2 or height % 2:
        raise ConfigError(
            f"video size {width} x {height}: both must be even and at least 2", "round them to even numbers"
        )
    if frame_count < 1 or not 0 < fps <= 1000:
        raise ConfigError(f"{frame_count} frames at {fps:g} per second: expected at least one, at 0 to 1000")
    target = Path(path)
    if audio_path is not None and target.exists() and os.path.samefile(target, audio_path):
        raise ConfigError(f"output {shown(target)!r} is the speech file itself", "name another output file")
    with ExitStack() as stack:
        sound = _sound_arguments(audio, audio_path, stack)
        partial = stack.enter_context(replacing(target, ".mp4"))
        arguments = [
            *["-f", "rawvideo", "-pix_fmt", "rgb24", "-video_size", f"{width}x{height}", "-framerate", _rate(fps)],
            *["-i", "pipe:0", *sound, "-map_metadata", "-1", "-map_chapters", "-1"],
            *["-c:v", "libx264", "-preset", "veryfast", "-crf", "18", "-pix_fmt", "yuv420p", "-threads", str(_THREADS)],
            *[
                "-vf",
                "scale=out_color_matrix=bt709:out_range=tv:flags=accurate_rnd+full_chroma_int,"
                "setparams=color_primaries=bt709:color_trc=bt709",
            ],
            *["-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-color_range", "tv"],
            *["-frames:v", str(frame_count), "-t", f"{frame_count / fps:.6f}"],
            *["-fflags", "+bitexact", "-flags:v", "+bitexact", "-flags:a", "+bitexact", "-movflags", "+faststart"],
            *(["-metadata", f"comment={comment}"] if comment else []),
            *["-f", "mp4", "-y", f"file:{os.path.abspath(partial)}"],
        ]
        _encode(arguments, frames, frame_count, (height, width, 3), target, on_frame)
        written, _seconds = _count(partial, shown(target))
        if written != frame_count:
            raise EnvironmentFault(
                f"only {written} of {frame_count} frames reached {shown(target)!r}", "is the disk full?"
            )


def read_mark(path: str | os.PathLike[str]) -> str | None:
    """The statement in a video's comment that it is AI-generated, or None when it carries none.

    Raises InputError when the file is no video.
    """
    media = probe_media(Path(path), "video")
    arguments = [*ffmpeg.input_arguments(media.path), "-map_metadata", "0", "-f", "ffmetadata", "pipe:1"]
    with ffmpeg.running(arguments) as child:
        text = child.read(1 << 20).decode("utf-8", "replace")
    for line in text.splitlines():
        key, _, value = line.partition("=")
        if key.lower() in {"comment", "description", "title"} and value.startswith(MARK_PREFIX):
            return printable(value.replace("\\", ""))
    return None


def _encode(
    arguments: list[str],
    frames: Iterable[NDArray[np.uint8]],
    frame_count: int,
    shape: tuple[int, int, int],
    target: Path,
    on_frame: Callable[[int], None] | None,
) -> None:
    """Give all frames to ffmpeg and wait for its end."""
    count = 0
    with ffmpeg.running(arguments, feed=True) as child:
        try:
            for frame in frames:
                if frame.shape != shape or frame.dtype != np.uint8:
                    raise ValueError(f"frame {count} is {frame.dtype} {frame.shape}, expected uint8 {shape}")
                count += 1
                if count > frame_count:
                    break
                child.write(np.ascontiguousarray(frame).data)
                if on_frame is not None:
                    on_frame(count)
            if count == frame_count:
                child.finish()
        except ffmpeg.FfmpegFailure as failure:
            raise output_fault(target, printable("; ".join(ffmpeg.messages(failure.text))[-300:])) from failure
    if count != frame_count:
        more = "more than " if count > frame_count else ""
        raise ValueError(
            f"{more}{min(count, frame_count)} frames came for {shown(target)!r}, {frame_count} were announced"
        )


def _sound_arguments(audio: AudioClip | None, audio_path: Path | None, stack: ExitStack) -> list[str]:
    """Arguments for input 1 and its encoder. Samples travel through a temporary file that `stack` removes."""
    tracks, encoder = ["-map", "0:v:0", "-map", "1:a:0"], ["-c:a", "aac", "-b:a", "128k"]
    if audio_path is not None:
        media = probe_media(audio_path, "speech")
        if media.audio is None:
            raise InputError(f"speech {media.name!r} has no sound track", "name a file with speech in it")
        rate = media.audio.rate if media.audio.rate in _AUDIO_RATES else 48_000
        filters = ",".join([*in_step_filters(media), "aformat=channel_layouts=mono|stereo"])
        return [*ffmpeg.input_arguments(media.path), *tracks, "-af", filters, *encoder, "-ar", str(rate)]
    if audio is None:
        return ["-map", "0:v:0"]
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="gesturegen-"))
    wave = Path(folder, "speech.wav")
    write_wav(wave, audio.samples)
    return [*ffmpeg.input_arguments(wave), *tracks, *encoder, "-ar", "48000"]


def _upright_size(media: MediaFile) -> tuple[int, int]:
    """Width and height as a player shows them: turned, with square pixels."""
    video = media.video
    if video is None:
        raise InputError(f"video {media.name!r} has no picture track ({media.container})", "name a video file")
    if video.width * video.height > MAX_PIXELS or min(video.width, video.height) < 1:
        raise InputError(
            f"video {media.name!r} has frames of {video.width} x {video.height} pixels, "
            f"at most {MAX_PIXELS // 1_000_000} million are taken",
            "scale it down first",
        )
    width, height = max(1, round(video.width * min(max(video.pixel_aspect, 0.1), 10.0))), video.height
    return (height, width) if video.rotation in (90, 270) else (width, height)


def _count(path: Path, name: str) -> tuple[int, float]:
    """Frames and seconds of the first picture track, by reading all its packets without decoding them."""
    arguments = [
        *ffmpeg.input_arguments(path),
        "-map",
        "0:v:0",
        "-c",
        "copy",
        "-f",
        "null",
        "-progress",
        "pipe:1",
        os.devnull,
    ]
    with ffmpeg.running(arguments) as child:
        pairs = [line.partition("=") for line in child.read(1 << 24).decode("ascii", "replace").splitlines()]
        why = _why(child)
    facts = {key: value.strip() for key, _, value in pairs}
    try:
        return int(facts["frame"]), float(facts["out_time_us"]) / 1e6
    except (KeyError, ValueError) as error:
        raise InputError(f"video {name!r} cannot be read to its end{why}", "is it damaged or cut off?") from error


def _why(child: ffmpeg.Child) -> str:
    lines = ffmpeg.messages(child.report())
    return f" ({printable(lines[0])[:160]})" if lines else ""


def _rate(fps: float) -> str:
    """`fps` as the fraction that ffmpeg keeps exactly: 25, 30000/1001."""
    if not math.isfinite(fps) or fps <= 0:
        raise ConfigError(f"frames per second: {fps}, expected a positive number")
    fraction = Fraction(fps).limit_denominator(1001)
    return f"{fraction.numerator}/{fraction.denominator}"
