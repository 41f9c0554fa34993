"""Sections I and J: what rendering costs, and what a short fit to one person without labels gains."""

from __future__ import annotations

import hashlib
import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measures import BATCH, Frames, Row, Say, animate, as_pictures, encode, in_batches, load_pipeline, mean, moving_psnr
from torch.utils.flop_counter import FlopCounterMode

from gesturegen_cli.benchmark.whole import repeat
from gesturegen_cli.config.load import load_config
from gesturegen_cli.data.frames import STRIDE
from gesturegen_cli.data.manifest import Clip, write_dataset
from gesturegen_cli.media.audio import save_wav
from gesturegen_cli.media.video import write_video
from gesturegen_cli.pipeline import Pipeline
from gesturegen_cli.training.deviation_stage import pretrain_deviation
from gesturegen_cli.types import SAMPLE_RATE, AudioClip

THREADS, TIMED_SECONDS, TIMED_CALLS = 2, 8.0, 7
LEARNED, TESTED = 36, 12
"""Frames of the person that the fit sees, and others that it is tested on."""
FIT_SECONDS, FIT_BATCH, TRIAL_STEPS = 100.0, 6, 6
FIT_SETTINGS = {"learning_rate": 3e-4, "warmup": 10, "ema_decay": 0.98, "save_every": 10_000, "sample_every": 10_000}
"""Few steps: a mean over many of them would still be the start."""


def measure_cost(pipeline: Pipeline, picture: Frames) -> list[Row]:
    """I: `animate` of a picture `h w 3` that is ready, and the size of the bundle's files."""
    model, threads = pipeline.deviation, torch.get_num_threads()
    source = as_pictures(picture[None], pipeline.device)
    state, motion = model.encode_source(source), model.encode(source)
    with FlopCounterMode(display=False) as counter:
        model.animate(state, motion)
    batch = motion.expand(BATCH, -1).contiguous()
    torch.set_num_threads(THREADS)
    try:
        seconds = repeat(lambda: model.animate(state, batch), at_least=TIMED_SECONDS)
        torch.set_num_threads(1)
        busy = _cpu_seconds(lambda: model.animate(state, batch))
    finally:
        torch.set_num_threads(threads)
    size = sum(path.stat().st_size for path in pipeline.bundle.path.iterdir() if path.is_file()) / 1e6
    load = f"{THREADS} threads, batch {BATCH}, fp32; load average {os.getloadavg()[0]:.1f}"
    return [
        Row("I", "rendering", BATCH / seconds, "frames/s", 25.0, True, load),
        Row(
            "I", "rendering per CPU second, one thread", BATCH / busy, "frames/s", note="what other work disturbs least"
        ),
        Row("I", "one frame", counter.get_total_flops() / 1e9, "GFLOP", 6.0),
        Row("I", "the bundle's files", size, "MB", 20.0),
    ]


def _cpu_seconds(action: Callable[[], Any]) -> float:
    """Median CPU seconds of a call, over TIMED_CALLS of them."""
    times = []
    for _ in range(TIMED_CALLS):
        started = time.process_time()
        action()
        times.append(time.process_time() - started)
    return statistics.median(times)


def measure_fit(
    pipeline: Pipeline, clip: Clip, frames: Frames, folder: Path, device: str, steps: int, say: Say
) -> list[Row]:
    """J: `pretrain-deviation` on 36 frames of a clip, without its labels; 12 other frames tell the gain.

    As many steps as 100 s hold, by a trial of a few, unless `steps` says how many.
    """
    chosen = frames[np.linspace(0, len(frames) - 1, LEARNED + TESTED).round().astype(int)]
    every = (LEARNED + TESTED) // TESTED
    tested = np.arange(LEARNED + TESTED) % every == every - 1
    learned, others = chosen[~tested], chosen[tested]
    _write_person(folder / "data", clip, learned)
    settings: dict[str, Any] = {f"pretrain.{key}": value for key, value in FIT_SETTINGS.items()}
    settings["pretrain.batch"] = FIT_BATCH
    settings |= {"deviation.name": pipeline.bundle.components["deviation"].name, "device": device}
    settings |= {"pretrain.threads": torch.get_num_threads()}
    start, cache = str(pipeline.bundle.path), folder / "cache"

    def fit(name: str, steps: int) -> float:
        config = load_config(flags={**settings, "pretrain.steps": steps})
        with torch.inference_mode(False), torch.enable_grad():
            return pretrain_deviation(folder / "data", folder / name, config, init=start, cache=cache).seconds

    steps = steps or max(1, round(FIT_SECONDS / fit("trial", TRIAL_STEPS) * TRIAL_STEPS))
    say(f"fitting {steps} steps")
    seconds = fit("run", steps)
    before = _moving(pipeline, learned[0], others)
    with torch.inference_mode():
        after = _moving(load_pipeline(str(folder / "run" / "bundle"), device), learned[0], others)
    note = f"{before:.2f} to {after:.2f} dB, {steps} steps of {FIT_BATCH} in {seconds:.0f} s, {clip.id}"
    return [Row("J", "gain of a fit to one person, moving PSNR", after - before, "dB", 1.5, True, note)]


def _write_person(folder: Path, clip: Clip, frames: Frames) -> None:
    """A dataset of one clip without labels. Frames are held, as of clips without labels every 5th is taken."""
    (folder / "clips").mkdir(parents=True)
    video, audio = folder / "clips" / "person.mp4", folder / "clips" / "person.wav"
    count = STRIDE * len(frames)

    def held() -> Iterator[Frames]:
        for frame in frames:
            yield from [frame] * STRIDE

    write_video(video, held(), fps=clip.fps, size=(clip.size, clip.size), frame_count=count)
    save_wav(audio, AudioClip(np.zeros(round(count / clip.fps * SAMPLE_RATE), np.float32)).samples)
    digests = {"video": _digest(video), "audio": _digest(audio)}
    seconds = count / clip.fps
    person = replace(clip, id="person", video=video, audio=audio, labels=None, split="train", start=0.0)
    person = replace(person, frames=count, seconds=seconds, sha256=digests)
    write_dataset(folder, [person], fps=clip.fps, size=clip.size, source="one person, without labels")


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _moving(pipeline: Pipeline, source: Frames, frames: Frames) -> float:
    """Mean PSNR of what moves, over frames `t h w 3` driven by themselves."""
    model: Any = pipeline.deviation
    picture = as_pictures(source[None], pipeline.device)
    state, motion = model.encode_source(picture), encode(model, frames, pipeline.device)
    each = zip(animate(model, state, motion), in_batches(frames, pipeline.device), strict=True)
    return mean([value for made, real in each for value in moving_psnr(made, real, picture)]) or 0.0
