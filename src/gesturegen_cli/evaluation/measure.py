"""Single videos: their motion as the bundle's deviation model sees it, their beats, their pictures against others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, islice, zip_longest
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gesturegen_cli.evaluation.beat import Times, audio_beats
from gesturegen_cli.evaluation.image_quality import image_scores
from gesturegen_cli.evaluation.items import Item
from gesturegen_cli.media.audio import load_audio
from gesturegen_cli.media.framing import frame_speaker
from gesturegen_cli.media.video import iter_frames, probe_video

BATCH = 16
"""Frames in memory at a time."""
SCORES = ("psnr", "ssim", "l1")

OnFrames = Callable[[int], None]
"""Called with the number of frames done since the last call."""


@dataclass(frozen=True)
class View:
    """How every video is looked at: frames per second, side of the square in pixels, device of the computation."""

    fps: float
    size: int
    device: torch.device


@dataclass(frozen=True)
class Measured:
    """What is kept of one video: person-free motion `t d` on the CPU, and its audio beats in frames, if it speaks."""

    id: str
    motion: Tensor
    beats: Times | None


def iter_batches(item: Item, view: View) -> Iterator[Tensor]:
    """The video as batches `b 3 size size` in [0, 1]; of a video that is not square, the square around the speaker."""
    info = probe_video(item.video)
    crop = None
    if info.width != info.height:
        crop = frame_speaker(next(iter(iter_frames(item.video, fps=view.fps, seconds=1 / view.fps))))
    frames = iter_frames(item.video, fps=view.fps, size=view.size, crop=crop)
    while batch := list(islice(frames, BATCH)):
        yield _as_tensor(batch, view.device)


def _as_tensor(frames: list[NDArray[np.uint8]], device: torch.device) -> Tensor:
    stacked = torch.from_numpy(np.stack(frames)).to(device)
    return stacked.permute(0, 3, 1, 2).float() / 255


def expected_frames(item: Item, fps: float) -> int:
    """Frames the video will give, by its header. Raises InputError for a file that is no video."""
    return max(1, round(probe_video(item.video).seconds * fps))


@torch.inference_mode()
def measure_motion(model: Any, item: Item, view: View, on_frames: OnFrames) -> Measured:
    """Motion of every frame, made person-free about the video's mean motion; and the beats of its speech."""
    parts = []
    for batch in iter_batches(item, view):
        parts.append(model.encode(batch).float())
        on_frames(len(batch))
    motion = torch.cat(parts)
    beats = None
    if item.audio is not None or probe_video(item.video).has_audio:
        beats = audio_beats(load_audio(item.audio or item.video), view.fps)
    return Measured(item.id, model.neutralize(motion, motion.mean(dim=0)).cpu(), beats)


def compare_videos(made: Item, real: Item, view: View, on_frames: OnFrames) -> tuple[dict[str, float], int, int]:
    """Mean scores over the frames both have, and the number of frames each has beyond them."""
    totals, spare = _Totals(), [0, 0]
    waiting: list[tuple[Tensor, Tensor]] = []
    for made_frame, real_frame in zip_longest(_single(made, view), _single(real, view)):
        if made_frame is None or real_frame is None:
            spare[made_frame is None] += 1
            continue
        waiting.append((made_frame, real_frame))
        if len(waiting) == BATCH:
            totals.add_pairs(waiting)
            on_frames(len(waiting))
            waiting.clear()
    if waiting:
        totals.add_pairs(waiting)
        on_frames(len(waiting))
    return totals.means(), spare[0], spare[1]


def _single(item: Item, view: View) -> Iterator[Tensor]:
    return chain.from_iterable(iter_batches(item, view))


@torch.inference_mode()
def reconstruct_video(
    model: Any, item: Item, view: View, on_frames: OnFrames
) -> tuple[dict[str, float], dict[str, float]]:
    """Stage 1 alone: the first frame as the picture, every frame's own motion.

    Gives the mean scores of the model, and those of repeating the first frame.
    """
    rendered, copied = _Totals(), _Totals()
    source: Tensor | None = None
    state: Any = None
    for batch in iter_batches(item, view):
        if source is None:
            source = batch[:1]
            state = model.encode_source(source)
        rendered.add(model.animate(state, model.encode(batch)).float().clamp(0, 1), batch)
        copied.add(source.expand_as(batch), batch)
        on_frames(len(batch))
    return rendered.means(), copied.means()


class _Totals:
    """Running sums of scores over frames."""

    def __init__(self) -> None:
        self.sums = dict.fromkeys(SCORES, 0.0)
        self.count = 0

    def add_pairs(self, pairs: list[tuple[Tensor, Tensor]]) -> None:
        self.add(torch.stack([made for made, _ in pairs]), torch.stack([real for _, real in pairs]))

    def add(self, made: Tensor, real: Tensor) -> None:
        scores = image_scores(made, real)
        for name in SCORES:
            self.sums[name] += float(getattr(scores, name).double().sum())
        self.count += len(made)

    def means(self) -> dict[str, float]:
        return {name: value / max(self.count, 1) for name, value in self.sums.items()}
