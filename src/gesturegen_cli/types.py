"""Data that travels between the parts, and the legend of their axes.

b batch    t video frames    s seed frames    n audio samples    l audio feature steps
c channels    d motion size    h w pixels    k attention heads
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

SAMPLE_RATE = 16_000
"""Speech is 16 kHz mono everywhere inside gesturegen."""

FPS = 25
"""Frames per second of every model shipped; bundles state their own."""


@dataclass(frozen=True)
class AudioClip:
    """Mono speech at 16 kHz: `samples` `n`, float32 in [-1, 1], always finite."""

    samples: NDArray[np.float32]
    name: str = "speech"
    warnings: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """Duration in seconds, from the samples."""
        return len(self.samples) / SAMPLE_RATE

    def frames(self, fps: float = FPS) -> int:
        """Number of video frames this speech asks for: round(duration x fps), at least 1."""
        return max(1, round(len(self.samples) * fps / SAMPLE_RATE))


@dataclass(frozen=True)
class MotionSequence:
    """Motion features `t d` of one person at `fps`, with the digest of the bundle that made them."""

    motion: Tensor
    fps: float = FPS
    bundle_digest: str = ""


@dataclass(frozen=True)
class Conditioning:
    """What a denoiser knows besides the noised motion. All tensors share b.

    Positions of time: the seed frames come directly before frame 0 of the motion, oldest first.
    """

    audio: Tensor
    """Audio features aligned to frames, `b t c`."""
    seed: Tensor
    """Motion of the frames before the window, `b s d`."""
    seed_valid: Tensor
    """1.0 where a seed frame is real, 0.0 where there was none, `b s`."""
    source: Tensor
    """The picture's own motion, `b d`."""
    audio_keep: Tensor
    """1.0 to use the audio, 0.0 to use the learned "no audio" condition (guidance), `b`."""


@dataclass(frozen=True)
class ImportedComponent:
    """One part of another project's model, in the terms of the plugin that takes it over."""

    plugin: str
    params: Mapping[str, Any]
    """For the plugin's `Config`."""
    tensors: Mapping[str, Tensor]
    """Weights under the plugin's own names."""


@dataclass(frozen=True)
class ImportedModel:
    """What an importer made of a checkpoint. Nothing is checked yet: the core holds it against the plugins."""

    components: Mapping[str, ImportedComponent]
    """Role in a bundle (`deviation`, `audio_encoder`, `denoiser`) -> part. Without stored weights it has no tensors."""
    names: Mapping[str, str]
    """Name in the checkpoint -> `role: name` here, for the report."""
    origin: str
    """Whose weights these are, in a few words."""
    licence: str = "unstated"
    """What the origin says about using the weights."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """For the bundle's manifest: `fps`, and mappings `window`, `diffusion`, `sampling` as in config.schema."""
    normalizer: Mapping[str, Tensor] | None = None
    """`mean` and `std` `d` of the denoiser's motion; None: it works on motion as it is."""
