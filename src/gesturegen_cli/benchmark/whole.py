"""How fast the parts of a bundle are on this machine, and how much memory a whole `generate` takes."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch.utils.flop_counter import FlopCounterMode

from gesturegen_cli import __version__
from gesturegen_cli.errors import EnvironmentFault
from gesturegen_cli.media.audio import write_wav
from gesturegen_cli.media.image import load_image
from gesturegen_cli.pipeline import Pipeline
from gesturegen_cli.types import SAMPLE_RATE, AudioClip

BATCH = 8
"""Frames rendered at once when rendering is timed."""
TIMED_SECONDS = 4.0
"""How long rendering is repeated for."""
STARTS = 5
"""How often the start-up is timed; the median counts."""


@dataclass(frozen=True)
class Row:
    """One measurement. `bar` is the number it should not miss, None where there is none."""

    name: str
    value: float
    unit: str
    bar: float | None = None
    more_is_better: bool = False

    @property
    def met(self) -> bool | None:
        """Whether the bar is met; None without one."""
        if self.bar is None:
            return None
        return self.value >= self.bar if self.more_is_better else self.value <= self.bar


def measure(
    bundle: str, device: str, seconds: float, speech: Path | None = None, picture: Path | None = None
) -> Iterator[Row]:
    """Yield the measurements one after the other, each as soon as it is there.

    Without `speech` and `picture`, `seconds` of synthetic speech and a drawn figure are used; time and memory do not
    depend on what is said or shown. Only the first `seconds` of a given speech are taken for the parts, and all of it
    for the whole `generate`.
    """
    yield Row("start-up of gesturegen --help", _startup(), "s", 0.2)
    with tempfile.TemporaryDirectory(prefix="gesturegen-bench-") as name:
        folder = Path(name)
        wave = speech or folder / "speech.wav"
        if speech is None:
            write_wav(wave, synthetic_speech(seconds).samples)
        image = picture or folder / "picture.png"
        if picture is None:
            _draw_figure().save(image)
        took, peak = _whole_generate(bundle, device, wave, image, folder / "out.mp4")
        sixty = speech is None and seconds == 60
        yield Row(
            f"generate, {seconds:g} s of speech" if speech is None else "generate", took, "s", 90 if sixty else None
        )
        yield Row("peak memory of that", peak / 1e9, "GB", 1.5)
        yield from _parts(Pipeline.from_pretrained(bundle, device=device), synthetic_speech(seconds), image)


def machine() -> dict[str, Any]:
    """What the numbers depend on."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cores": cores,
        "threads": torch.get_num_threads(),
        "processor": platform.machine(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "gesturegen": __version__,
    }


def synthetic_speech(seconds: float) -> AudioClip:
    """A buzzing voice: harmonics of a gliding pitch, four syllables a second, pauses."""
    time_axis = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    phase = 2 * np.pi * np.cumsum(120 + 25 * np.sin(2 * np.pi * 0.6 * time_axis)) / SAMPLE_RATE
    voice = np.zeros_like(time_axis)
    for k in range(1, 8):
        voice += np.sin(k * phase) / k
    loudness = np.clip(np.sin(2 * np.pi * 4 * time_axis), 0, 1) * (np.sin(2 * np.pi * 0.3 * time_axis) > -0.7)
    return AudioClip((0.15 * voice * loudness).astype(np.float32), "synthetic speech")


def _draw_figure() -> Image.Image:
    image = Image.new("RGB", (256, 256), (190, 200, 205))
    draw = ImageDraw.Draw(image)
    draw.rectangle((88, 90, 168, 255), fill=(45, 60, 110))
    draw.ellipse((104, 24, 152, 88), fill=(220, 175, 145))
    for x in (70, 186):
        draw.line([(x, 100), (x, 190), (128, 200)], fill=(45, 60, 110), width=20)
    return image


def _parts(pipeline: Pipeline, speech: AudioClip, image: Path) -> Iterator[Row]:
    model: Any = pipeline.deviation
    source = pipeline.load_source(load_image(image))
    one = source.motion[None]
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        model.animate(source.state, one)
    small = model.size == 256
    yield Row("one frame", counter.get_total_flops() / 1e9, "GFLOP", 6.0 if small else None)
    batch = one.expand(BATCH, -1).contiguous()
    with torch.inference_mode():
        seconds = repeat(lambda: model.animate(source.state, batch), at_least=TIMED_SECONDS)
    bar = 25.0 if small and pipeline.device.type == "cpu" else None
    yield Row(f"rendering, batch {BATCH}, fp32", BATCH / seconds, "frames/s", bar, more_is_better=True)
    yield Row("audio features", _timed(lambda: pipeline.encode_audio(speech)), "s")
    draw = _timed(lambda: pipeline.sample_motion(speech, source))
    yield Row(f"audio features and motion, {pipeline.bundle.sampling.steps} steps", draw, "s")


def repeat(action: Callable[[], Any], at_least: float) -> float:
    """Median seconds of one call, over calls that fill `at_least` seconds; the first call does not count."""
    _timed(action)
    times: list[float] = []
    while sum(times) < at_least or len(times) < 3:
        times.append(_timed(action))
    return statistics.median(times)


def _timed(action: Callable[[], Any]) -> float:
    started = time.perf_counter()
    action()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def _startup() -> float:
    command = [sys.executable, "-m", "gesturegen_cli", "--help"]
    return statistics.median(_timed(lambda: _run(command)) for _ in range(STARTS))


def _whole_generate(bundle: str, device: str, speech: Path, picture: Path, output: Path) -> tuple[float, float]:
    """Seconds, and peak memory in bytes, of `gesturegen generate` as a process of its own."""
    arguments = ["generate", str(speech), str(picture), "-o", str(output), "-m", bundle, "--device", device, "--quiet"]
    started = time.perf_counter()
    peak = _run([sys.executable, "-m", "gesturegen_cli", *arguments])
    return time.perf_counter() - started, peak


_REPORT_PEAK = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""
"""Runs its arguments as a child. A forked child counts its parent's memory as its own until it starts its program,
so the parent has to be as small as this one."""


def _run(command: list[str]) -> float:
    """Run a child to its end; the largest resident size in bytes of it or one of its own children."""
    done = subprocess.run(
        [sys.executable, "-c", _REPORT_PEAK, *command], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip()[-500:]
        name = " ".join(command[1:4])
        raise EnvironmentFault(f"{name} ended with {done.returncode}: {said}", "run it alone to see more")
    # Linux counts kilobytes, macOS bytes
    return int(done.stdout) * (1.0 if sys.platform == "darwin" else 1024.0)
