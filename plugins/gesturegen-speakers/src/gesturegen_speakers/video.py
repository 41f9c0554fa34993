"""Writing frames to an h264 file through the ffmpeg program that imageio-ffmpeg brings."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

import imageio_ffmpeg

from gesturegen_cli.errors import EnvironmentFault

from .arrays import Array


def write_video(path: Path, frames: Iterable[Array], size: int, fps: int) -> None:
    """Encode rgb frames [size, size, 3] uint8 (h264, yuv420p, crf 16, a key frame per second at least, no sound).

    Raises EnvironmentFault when ffmpeg fails. When `frames` raises, ffmpeg is stopped and the error passes on.
    """
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24"]
    command += ["-s", f"{size}x{size}", "-r", str(fps), "-i", "-", "-an", "-c:v", "libx264", "-preset", "veryfast"]
    command += ["-crf", "16", "-g", str(fps), "-pix_fmt", "yuv420p", "-threads", "1", "-f", "mp4", str(path)]
    with tempfile.TemporaryFile() as log, subprocess.Popen(command, stdin=subprocess.PIPE, stderr=log) as process:
        try:
            for frame in frames:
                _feed(process, frame)
        except BrokenPipeError:
            process.kill()
        except BaseException:
            process.kill()
            raise
        process.communicate()
        log.seek(0)
        detail = log.read().decode(errors="replace").strip()
    if process.returncode != 0:
        raise EnvironmentFault(f"ffmpeg could not write {path.name}: {detail}", hint="check the free disk space")


def _feed(process: subprocess.Popen[bytes], frame: Array) -> None:
    if process.stdin is not None:
        process.stdin.write(frame.tobytes())
