"""Person-free motion and audio features of clips, computed once per model and kept in the cache."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from gesturegen_cli.data.cache import cached_array, open_array
from gesturegen_cli.data.features import encode_audio
from gesturegen_cli.data.manifest import Clip
from gesturegen_cli.errors import InputError
from gesturegen_cli.media.audio import load_audio
from gesturegen_cli.media.video import iter_frames
from gesturegen_cli.protocols import AudioEncoder, DeviationModel

BATCH = 32
FORMAT = 1
"""Part of every name in the cache; to be raised when the computation changes."""


@dataclass(frozen=True)
class MotionStore:
    """One clip in the cache: `motion` `t d` (person-free) and `audio` `t c` as `.npy`, with the same t."""

    clip: str
    motion: Path
    audio: Path
    frames: int


def cache_motion(
    clips: Sequence[Clip],
    folder: Path,
    *,
    deviation: DeviationModel,
    deviation_key: str,
    encoder: AudioEncoder,
    encoder_key: str,
    device: torch.device,
    on_clip: Callable[[int, int], None] | None = None,
) -> tuple[MotionStore, ...]:
    """Compute what is missing in `folder`. The keys say which weights the models have. InputError names a bad clip."""
    stores = []
    for done, clip in enumerate(clips):
        stores.append(_cache_clip(clip, folder, deviation, deviation_key, encoder, encoder_key, device))
        if on_clip is not None:
            on_clip(done + 1, len(clips))
    return tuple(stores)


def _cache_clip(
    clip: Clip,
    folder: Path,
    deviation: DeviationModel,
    deviation_key: str,
    encoder: AudioEncoder,
    encoder_key: str,
    device: torch.device,
) -> MotionStore:
    motion_path = folder / "motion" / f"{clip.sha256['video']}-{cache_key(FORMAT, deviation_key, clip.fps)}.npy"
    motion_path = cached_array(motion_path, lambda: clip_motion(clip, deviation, device).numpy())
    frames = len(open_array(motion_path))

    def features() -> NDArray[np.float32]:
        found: NDArray[np.float32] = encode_audio(encoder, load_audio(clip.audio), frames, clip.fps).numpy()
        return found

    audio_path = folder / "audio" / f"{clip.sha256['audio']}-{cache_key(FORMAT, encoder_key, clip.fps, frames)}.npy"
    return MotionStore(clip.id, motion_path, cached_array(audio_path, features), frames)


def cache_key(*parts: Any) -> str:
    """A short name for plain values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


@torch.no_grad()
def clip_motion(clip: Clip, deviation: DeviationModel, device: torch.device) -> Tensor:
    """Person-free motion `t d` of a clip, smoothed; its own typical pose is its mean motion."""
    frames = iter_frames(clip.video, fps=clip.fps, size=deviation.size)
    pieces = [deviation.encode(batch.to(device)).float().cpu() for batch in _batches(frames)]
    motion = smooth_motion(torch.cat(pieces))
    if not bool(torch.isfinite(motion).all()):
        raise InputError(f"clip {clip.id}: the deviation model gives motion that is not finite", "use another bundle")
    return deviation.neutralize(motion, motion.mean(0)).contiguous()


def _batches(frames: Iterator[NDArray[np.uint8]]) -> Iterator[Tensor]:
    """Frames `h w 3` -> batches `b 3 h w` in [0, 1]."""
    while batch := list(islice(frames, BATCH)):
        yield torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2).float().div(255).contiguous()


def smooth_motion(motion: Tensor) -> Tensor:
    """Motion `t d` under the binomial 1 4 6 4 1 over time, the ends held: joints of single frames jump."""
    kernel = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    padded = F.pad(motion.T[:, None], (2, 2), mode="replicate")
    return F.conv1d(padded, kernel[None, None])[:, 0].T
