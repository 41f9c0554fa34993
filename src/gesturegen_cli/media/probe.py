"""What a sound or film file says about itself, read from what `ffmpeg -i` prints (there is no ffprobe here)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from gesturegen_cli.errors import InputError
from gesturegen_cli.media import ffmpeg
from gesturegen_cli.media.files import describe_content, printable, require_file, shown

_PROBE_SECONDS = 60.0
_STREAM = re.compile(r"  Stream #0:(\d+)(?:\[0x[0-9a-fA-F]+\])?(?:\([^)]*\))?: (Audio|Video): (.*)")
_DURATION = re.compile(r"  Duration: (?:N/A|(\d+):(\d\d):(\d\d(?:\.\d+)?))(?:, start: (-?[\d.]+))?")
_ROTATION = re.compile(r"\s+(?:displaymatrix|Display Matrix): rotation of (-?[\d.]+) degrees")


@dataclass(frozen=True)
class AudioStream:
    """The first sound track: samples per second, and seconds by which it starts after the file's start."""

    rate: int
    delay: float


@dataclass(frozen=True)
class VideoStream:
    """The first film track as stored: pixels, frames per second (0 if unknown), pixel aspect, clockwise rotation."""

    index: int
    width: int
    height: int
    fps: float
    pixel_aspect: float
    rotation: int


@dataclass(frozen=True)
class MediaFile:
    """A file that ffmpeg can open. `seconds` is what its header says, None if it says nothing reliable."""

    path: Path
    container: str
    seconds: float | None
    audio: AudioStream | None
    video: VideoStream | None

    @property
    def name(self) -> str:
        """Base name, fit for messages."""
        return shown(self.path)


def probe_media(path: Path | str, what: str) -> MediaFile:
    """Read the header of the sound or film `path`; `what` names its role in messages.

    Raises InputError: not a regular file, empty, text, a picture, or nothing that ffmpeg opens.
    """
    file, head = require_file(path, what)
    content = describe_content(head)
    if content is not None:
        hint = "the speech comes first, then the picture" if "picture" in content else "name a sound or video file"
        raise InputError(f"{what} {shown(file)!r} is {content}, expected sound or video", hint)
    arguments = ffmpeg.input_arguments(file)
    with ffmpeg.running(arguments, stall_seconds=_PROBE_SECONDS, loglevel="info") as child:
        try:
            text = child.finish()
        except ffmpeg.FfmpegFailure as failure:
            # Without an output file it always ends with an error; what it printed tells whether it could open the file.
            text = failure.text
    # The name is the user's text and may hold line breaks that look like ours.
    return _parse(text.replace(str(file), "INPUT"), file, what)


def _parse(text: str, path: Path, what: str) -> MediaFile:
    lines = text.splitlines()
    opened = next((re.match(r"Input #0, (.+), from '", line) for line in lines if line.startswith("Input #0, ")), None)
    if opened is None:
        raise InputError(f"{what} {shown(path)!r} cannot be opened: {_reason(text)}", "convert it to WAV or MP4 first")
    duration = next(filter(None, (_DURATION.match(line) for line in lines)), None)
    seconds, start = None, 0.0
    if duration is not None:
        if duration[1] is not None:
            seconds = int(duration[1]) * 3600 + int(duration[2]) * 60 + float(duration[3])
        start = float(duration[4] or 0.0)
    if "Estimating duration from bitrate" in text:
        seconds = None
    audio, video = None, None
    for number, line in enumerate(lines):
        stream = _STREAM.match(line)
        if stream is None:
            continue
        if stream[2] == "Audio" and audio is None:
            audio = _audio(stream[3], start)
        elif stream[2] == "Video" and video is None and "(attached pic)" not in stream[3]:
            video = _video(int(stream[1]), stream[3], lines[number + 1 :])
    return MediaFile(path, opened[1], seconds, audio, video)


def _audio(facts: str, file_start: float) -> AudioStream | None:
    rate = re.search(r", (\d+) Hz", facts)
    start = re.search(r", start (-?[\d.]+)", facts)
    if rate is None:
        return None
    return AudioStream(int(rate[1]), max(0.0, float(start[1]) - file_start) if start else 0.0)


def _video(index: int, facts: str, following: list[str]) -> VideoStream | None:
    size = re.search(r", (\d{1,6})x(\d{1,6})(?=[ ,]|$)", facts)
    if size is None:
        return None
    rate = re.search(r", ([\d.]+)(k?) fps", facts) or re.search(r", ([\d.]+)(k?) tbr", facts)
    aspect = re.search(r"SAR (\d+):(\d+)", facts)
    rotation = 0
    for line in following:
        if line.startswith("  Stream #"):
            break
        if turned := _ROTATION.match(line):
            rotation = round(-float(turned[1])) % 360
    return VideoStream(
        index,
        int(size[1]),
        int(size[2]),
        float(rate[1]) * (1000 if rate[2] else 1) if rate else 0.0,
        int(aspect[1]) / int(aspect[2]) if aspect and int(aspect[1]) and int(aspect[2]) else 1.0,
        rotation,
    )


def _reason(text: str) -> str:
    """The words of ffmpeg for a file that it did not open, in ours where the cause is known."""
    known = {
        "moov atom not found": "it is cut off, its index is missing (moov atom not found)",
        "Format not on whitelist": "it is not a sound or video container that gesturegen opens",
        "no progress": "reading its header takes too long",
    }
    for key, words in known.items():
        if key in text:
            return words
    lines = [line for line in ffmpeg.messages(text) if not line.startswith("Error opening input")]
    return printable(lines[0])[:200] if lines else "no known sound or video format"
