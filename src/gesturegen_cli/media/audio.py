"""Speech: anything ffmpeg reads -> mono at 16 kHz, exact in length, checked, in memory that only holds the result."""

from __future__ import annotations

import os
import struct
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gesturegen_cli.errors import InputError
from gesturegen_cli.media import ffmpeg
from gesturegen_cli.media.files import printable, replacing
from gesturegen_cli.media.probe import MediaFile, probe_media
from gesturegen_cli.media.resample import iter_resampled, resampled_length
from gesturegen_cli.types import SAMPLE_RATE, AudioClip

MIN_RATE, MAX_RATE = 4_000, 768_000
MAX_CHANNELS = 64
_SILENCE = 1e-3
"""Peak (-60 dB of full scale) under which a recording counts as silent."""
_CANCELLED = 1e-3
"""Energy of the mix relative to its channels under which they cancel each other: recorded with opposite polarity."""
_BLOCK_NUMBERS = 65_536


@dataclass
class _Tally:
    """What is learned about a recording while its blocks pass by. Counts are samples of the mono mix."""

    rate: int = 0
    channels: int = 0
    samples: int = 0
    not_finite: int = 0
    clipped: int = 0
    peak: float = 0.0
    mix_energy: float = 0.0
    channel_energy: float = 0.0
    report: str = ""


def load_audio(path: str | os.PathLike[str], *, max_seconds: float = 7200.0, min_seconds: float = 0.1) -> AudioClip:
    """Read the speech of a sound or video file as mono float32 at 16 kHz, clamped to [-1, 1].

    Channels are averaged; `len(samples) == round(n * 16000 / rate)` for n samples at `rate` Hz in the file. The sound
    track of a video that starts later than its pictures is preceded by silence, so that both stay together. A file
    whose end is missing or damaged gives what could be decoded, with a warning; so do silence and heavy clipping.

    Raises InputError: no such file, not sound, no sound track, nothing decodable, shorter than `min_seconds` or longer
    than `max_seconds`, a rate outside 4-768 kHz, more than 64 channels, NaN or infinite samples.
    """
    media = probe_media(Path(path), "speech")
    _check_header(media, max_seconds)
    samples, tally = _decode(media, max_seconds, channel=None)
    warnings = []
    if tally.channels > 1 and tally.mix_energy < _CANCELLED * tally.channel_energy:
        samples, tally = _decode(media, max_seconds, channel=0)
        warnings.append("its channels cancel each other: only the first one is used")
    seconds = tally.samples / tally.rate
    if tally.not_finite:
        raise InputError(
            f"speech {media.name!r} has {tally.not_finite} samples that are NaN or infinite, of {tally.samples}",
            "export it again as 16-bit WAV",
        )
    if seconds < min_seconds:
        raise InputError(
            f"speech {media.name!r} is {seconds:.3f} s long, expected at least {min_seconds:g} s",
            "is it cut off, or the wrong file?",
        )
    warnings += _warnings(media, tally, seconds)
    return AudioClip(samples, media.name, tuple(f"speech {media.name!r}: {warning}" for warning in warnings))


def save_wav(path: str | os.PathLike[str], samples: NDArray[np.float32]) -> None:
    """Write mono `samples` `n` at 16 kHz in [-1, 1] as 16-bit WAV; the file appears under its name when complete."""
    with replacing(path, ".wav") as partial:
        write_wav(partial, samples)


def write_wav(path: Path, samples: NDArray[np.float32]) -> None:
    """Write `samples` `n` to `path` directly, block by block: for temporary files."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        for start in range(0, len(samples), _BLOCK_NUMBERS):
            block = np.round(samples[start : start + _BLOCK_NUMBERS] * 32768.0)
            file.writeframesraw(np.clip(block, -32768, 32767).astype("<i2").tobytes())


def in_step_filters(media: MediaFile) -> list[str]:
    """Audio filters that put silence before a track starting later than its pictures, so that both stay together."""
    late = media.video is not None and media.audio is not None and media.audio.delay > 0
    return ["aresample=async=1:first_pts=0"] if late else []


def _check_header(media: MediaFile, max_seconds: float) -> None:
    """Refuse what the header already tells, before anything is decoded."""
    if media.audio is None:
        raise InputError(
            f"speech {media.name!r} has no sound track ({media.container})", "name a file with speech in it"
        )
    if not MIN_RATE <= media.audio.rate <= MAX_RATE:
        raise InputError(
            f"speech {media.name!r} has {media.audio.rate} samples per second, expected {MIN_RATE} to {MAX_RATE}",
            "its header may be damaged; export it again at 16000 or 48000",
        )
    if media.seconds is not None and media.seconds > max_seconds:
        raise _too_long(media, f"{media.seconds:.1f} s", max_seconds)


def _too_long(media: MediaFile, found: str, max_seconds: float) -> InputError:
    return InputError(
        f"speech {media.name!r} is {found} long, at most {max_seconds:g} s are taken",
        "cut it, or raise the limit with --max-seconds",
    )


def _decode(media: MediaFile, max_seconds: float, channel: int | None) -> tuple[NDArray[np.float32], _Tally]:
    """Decode and resample; the result's length is exact. `channel` picks one channel, None averages them."""
    tally = _Tally()
    # AU because its header is 24 plain bytes that tell rate and channels as decoded, and it may be streamed.
    filters = in_step_filters(media)
    arguments = [
        *ffmpeg.input_arguments(media.path),
        *["-map", "0:a:0", *(["-af", ",".join(filters)] if filters else [])],
        "-c:a",
        "pcm_f32be",
        "-f",
        "au",
        "pipe:1",
    ]
    result = bytearray()
    with ffmpeg.running(arguments) as child:
        _read_header(child, media, tally)
        for block in iter_resampled(_iter_mono(child, media, tally, max_seconds, channel), tally.rate):
            result += np.clip(block, -1.0, 1.0).astype(np.float32, copy=False).tobytes()
    length = resampled_length(tally.samples, tally.rate)
    missing = 4 * length - len(result)
    if missing > 0:
        result += bytes(missing)
    samples: NDArray[np.float32] = np.frombuffer(result, np.float32)[:length]
    return samples, tally


def _read_header(child: ffmpeg.Child, media: MediaFile, tally: _Tally) -> None:
    """Read the AU header: magic, offset of the samples, size, encoding, rate, channels; all big-endian, 4 bytes."""
    header = child.read(24)
    if len(header) < 24:
        try:
            reason = child.finish()
        except ffmpeg.FfmpegFailure as failure:
            reason = failure.text
        lines = ffmpeg.messages(reason)
        raise InputError(
            f"speech {media.name!r}: nothing in it could be decoded" + (f" ({printable(lines[0])})" if lines else ""),
            "the file is damaged or cut off; export it again",
        )
    _magic, offset, _size, _encoding, tally.rate, tally.channels = struct.unpack(">6I", header)
    child.read(offset - 24)
    if not MIN_RATE <= tally.rate <= MAX_RATE or not 1 <= tally.channels <= MAX_CHANNELS:
        raise InputError(
            f"speech {media.name!r} has {tally.channels} channels at {tally.rate} Hz, expected 1 to {MAX_CHANNELS} "
            f"channels at {MIN_RATE} to {MAX_RATE} Hz",
            "export it again as mono at 16000 or 48000 Hz",
        )


def _iter_mono(
    child: ffmpeg.Child, media: MediaFile, tally: _Tally, max_seconds: float, channel: int | None
) -> Iterator[NDArray[np.float32]]:
    """Yield mono blocks `n` at the file's own rate and count what passes."""
    frame_bytes = 4 * tally.channels
    block_bytes = max(1, _BLOCK_NUMBERS // tally.channels) * frame_bytes
    while len(data := child.read(block_bytes)) >= frame_bytes:
        usable = len(data) - len(data) % frame_bytes
        block = np.frombuffer(data[:usable], ">f4").astype(np.float32).reshape(-1, tally.channels)
        tally.samples += len(block)
        if tally.samples > max_seconds * tally.rate:
            raise _too_long(media, f"more than {max_seconds:g} s", max_seconds)
        finite = np.isfinite(block).all(axis=1)
        if not bool(finite.all()):
            tally.not_finite += int(np.count_nonzero(~finite))
            block[~finite] = 0.0
        mono = block.mean(axis=1, dtype=np.float32) if channel is None else block[:, channel].copy()
        tally.peak = max(tally.peak, float(np.abs(mono).max()))
        tally.clipped += int(np.count_nonzero(np.abs(mono) > 1.0))
        tally.mix_energy += float(np.square(mono, dtype=np.float64).sum())
        tally.channel_energy += float(np.square(block, dtype=np.float64).sum()) / tally.channels
        yield mono
    try:
        tally.report = child.finish()
    except ffmpeg.FfmpegFailure as failure:
        tally.report = failure.text  # what was decoded before is the good part


def _warnings(media: MediaFile, tally: _Tally, seconds: float) -> list[str]:
    """Everything a user should know about a recording that is used nevertheless."""
    warnings = []
    declared = _declared_seconds(media)
    problems = ffmpeg.messages(tally.report)
    # A video's header gives the length of the film, and its sound may be shorter by intent.
    may_end_early = media.video is not None and not problems
    if declared is not None and declared - seconds > max(0.1, 0.002 * declared) and not may_end_early:
        warnings.append(f"its header says {declared:.2f} s, only {seconds:.2f} s could be decoded; these are used")
    elif problems:
        first = printable(problems[0])[:120]
        warnings.append(f"parts could not be decoded ({first}); the {seconds:.2f} s that could are used")
    if tally.peak < _SILENCE:
        warnings.append("it is silent: the speaker will rest")
    if tally.clipped > 0.001 * tally.samples:
        warnings.append(f"{tally.clipped} of {tally.samples} samples exceed full scale and were clipped")
    return warnings


def _declared_seconds(media: MediaFile) -> float | None:
    """Length by the file's header; for WAV read here, as ffmpeg tells what is there and not what should be."""
    if media.container != "wav":
        return media.seconds
    with media.path.open("rb") as file:
        riff = file.read(12)
        byte_rate = 0
        while riff[:4] == b"RIFF" and len(chunk := file.read(8)) == 8:
            name, size = struct.unpack("<4sI", chunk)
            if name == b"data":
                # 0 and the largest numbers stand for "not known while writing".
                return size / byte_rate if byte_rate and 0 < size < 0xFFFF_FF00 else None
            if name == b"fmt ":
                body = file.read(size + size % 2)
                byte_rate = struct.unpack_from("<I", body, 8)[0] if len(body) >= 12 else 0
            else:
                file.seek(size + size % 2, os.SEEK_CUR)
    return None
