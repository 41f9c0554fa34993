"""Sounds, pictures and films for tests, drawn or computed here."""

from __future__ import annotations

import os
import struct
import subprocess
import wave
import zlib
from pathlib import Path

import numpy as np
import pytest

from gesturegen_cli.media.ffmpeg import executable


def tone(seconds: float, rate: int, channels: int = 1, hertz: float = 220.0, level: float = 0.5) -> np.ndarray:
    """`n c` float32: the same sine in each channel."""
    time = np.arange(round(seconds * rate)) / rate
    return np.repeat((level * np.sin(2 * np.pi * hertz * time))[:, None], channels, axis=1).astype(np.float32)


def pcm_wav(path: Path, samples: np.ndarray, rate: int) -> Path:
    """16-bit WAV of `n c` samples in [-1, 1]."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.round(samples * 32767).astype("<i2").tobytes())
    return path


def float_wav(path: Path, samples: np.ndarray, rate: int) -> Path:
    """32-bit float WAV of `n c` samples, any values."""
    data, channels = samples.astype("<f4").tobytes(), samples.shape[1]
    fmt = struct.pack("<HHIIHH", 3, channels, rate, rate * channels * 4, channels * 4, 32)
    body = b"WAVEfmt " + struct.pack("<I", len(fmt)) + fmt + b"data" + struct.pack("<I", len(data)) + data
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    return path


def convert(source: Path, target: Path, *options: str) -> Path:
    """`source` through ffmpeg, for the containers that Python cannot write."""
    command = [executable(), "-loglevel", "error", "-nostdin", "-y", "-i", str(source), *options, str(target)]
    subprocess.run(command, check=True, timeout=60)
    return target


def film(path: Path, *options: str, seconds: float = 1.0, size: str = "64x48", sound: bool = True) -> Path:
    """A film of a test pattern at 30 frames per second, with a tone."""
    command = [executable(), "-loglevel", "error", "-nostdin", "-y", "-f", "lavfi"]
    command += ["-i", f"testsrc=size={size}:rate=30:duration={seconds}"]
    if sound:
        command += ["-f", "lavfi", "-i", f"sine=frequency=220:sample_rate=44100:duration={seconds}"]
    subprocess.run([*command, "-pix_fmt", "yuv420p", *options, str(path)], check=True, timeout=60)
    return path


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_that_claims(path: Path, width: int, height: int) -> Path:
    """A PNG whose header states a size, with next to no pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(bytes(1000))) + png_chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    return path


def shared_media(kind: str) -> list[Path]:
    """Real files of one kind ("audio", "refs", "video"), or a skip: they are not part of the repository."""
    default = Path(__file__).parents[4] / "shared" / "media"
    folder = Path(os.environ.get("GESTUREGEN_MEDIA", default)) / kind
    if not folder.is_dir():
        pytest.skip("no real media: set GESTUREGEN_MEDIA to a folder with audio/, refs/ and video/")
    return sorted(folder.iterdir())
