"""Stage 2 batches: windows of motion and speech. A batch depends on the data, the seed, the step and the rank only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gesturegen_cli.config.schema import Window
from gesturegen_cli.data.cache import open_array
from gesturegen_cli.data.motion_cache import MotionStore
from gesturegen_cli.data.normalizer import Normalizer
from gesturegen_cli.errors import InputError


def plan_windows(stores: Sequence[MotionStore], window: Window) -> tuple[tuple[int, int], ...]:
    """(clip, first frame) of every training window: every `stride` frames, the last one at the end of the clip.

    Clips shorter than a window give none. InputError when none gives any.
    """
    plan = []
    for index, store in enumerate(stores):
        last = store.frames - window.frames
        plan += [(index, start) for start in range(0, last + 1, window.stride)]
        if last > 0 and last % window.stride:
            plan.append((index, last))
    if not plan:
        longest = max((store.frames for store in stores), default=0)
        message = (
            f"no clip is as long as a window of {window.frames} frames, the longest of {len(stores)} has {longest}"
        )
        raise InputError(message, "preprocess with longer clips, or lower window.frames")
    return tuple(plan)


@dataclass(frozen=True)
class MotionWindows:
    """Random windows of these clips, in normalised motion."""

    stores: tuple[MotionStore, ...]
    plan: tuple[tuple[int, int], ...]
    window: Window
    normalizer: Normalizer
    batch_size: int
    rng_seed: int
    static_start: float
    """Probability that a window follows the source held still, as at the start of a video."""

    def batch(self, step: int, rank: int = 0) -> dict[str, Tensor]:
        """`clean` `b t d`, and what the denoiser knows: `audio` `b t c`, `seed` `b s d`, `source` `b d`."""
        rng = np.random.default_rng([self.rng_seed, step, rank])
        drawn = rng.integers(len(self.plan), size=self.batch_size)
        samples = [self._sample(*self.plan[int(index)], rng) for index in drawn]
        return {name: torch.stack([sample[name] for sample in samples]) for name in samples[0]}

    def _sample(self, index: int, start: int, rng: np.random.Generator) -> dict[str, Tensor]:
        store = self.stores[index]
        motion, audio = open_array(store.motion), open_array(store.audio)
        stop = start + self.window.frames
        # Before the clip there is its first frame, held: the same as at the start of a video.
        history = np.maximum(np.arange(start - self.window.seed_frames, start), 0)
        source = int(rng.integers(store.frames))
        if rng.random() < self.static_start:
            source = max(start - 1, 0)
            history = np.full(self.window.seed_frames, source)
        rows = {"clean": motion[start:stop], "seed": motion[history], "source": motion[source]}
        sample = {name: self.normalizer.normalize(torch.from_numpy(np.array(value))) for name, value in rows.items()}
        sample["audio"] = torch.from_numpy(np.array(audio[start:stop]))
        return sample
