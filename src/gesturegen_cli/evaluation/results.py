"""What an evaluation found, as data: everything that the files and the report are made from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FORMAT = 2
KIND = "gesturegen-evaluation"


@dataclass(frozen=True)
class Score:
    """One metric of one system over all its clips."""

    value: float | None
    """None where it could not be measured; then `reason` says why."""
    low: float | None = None
    high: float | None = None
    """Bounds of the 95 % interval over clips; None where there are too few clips for one."""
    clips: int = 0
    """Clips it was measured on."""
    reason: str = ""


@dataclass(frozen=True)
class System:
    """A column of the table: one set of videos, and how it scored."""

    name: str
    role: str
    """`system`: what is judged. `reference`: the reference by itself. `still`: the first frame of each reference
    repeated, which is what a system that moves nothing reaches."""
    scores: dict[str, Score]
    """Metric -> score, in the order of METRICS."""
    clips: list[dict[str, Any]] = field(default_factory=list)
    """Per clip: `id`, `reference` (the id it was matched with, or null), `frames`, and its own scores by metric."""
    unmatched: list[str] = field(default_factory=list)
    """Ids without a partner in the reference."""
    failed: list[dict[str, str]] = field(default_factory=list)
    """Videos that could not be read: `id`, `message`, `hint`."""


@dataclass(frozen=True)
class Section:
    """One question asked: `videos` (given ones), `reconstruction` (real motion), `speech` (generated motion)."""

    name: str
    systems: list[System]
    """The reference first, then the still baseline where there is one, then the systems as they were named."""
    unused: list[str] = field(default_factory=list)
    """Reference ids that no system has a video for."""


@dataclass(frozen=True)
class Report:
    """The outcome of one evaluation."""

    sections: list[Section]
    protocol: dict[str, Any]
    """Settings, and networks with their hashes: numbers are comparable where `protocol_digest` agrees."""
    protocol_digest: str
    environment: dict[str, Any]
    notes: dict[str, str]
    """Metric -> how exactly it was measured."""
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Curves:
    """What the report draws of one clip; t frames at the protocol's frame rate."""

    speed: NDArray[np.float32]
    """Mean speed of the joints between frames, t - 1, in shoulder widths per second."""
    rests: NDArray[np.float64]
    """Motion beats, in frames."""
    onsets: NDArray[np.float64] | None
    """Speech onsets, in frames; None for a video without sound."""
    loudness: NDArray[np.float32] | None
    """Onset strength, 100 per second."""
    flicker: NDArray[np.float32]
    """Change of the still background between frames, t - 1, in grey levels; NaN where no background is seen."""
    seams: tuple[int, ...]
    """Frames at which a new window begins, as far as the video's record says so."""
    hands: NDArray[np.float32]
    """Centres and half sides of the speaker's left and right hand, t 2 3, in [-1, 1] of the square picture; NaN
    where it is known not to be seen."""


@dataclass(frozen=True)
class Exhibit:
    """A clip that the report shows: the reference beside the systems' videos."""

    section: str
    id: str
    why: str
    """Such as `best PSNR of ours`."""
    videos: dict[str, Path]
    """Column -> video file; the reference first, where there is one."""
    curves: dict[str, Curves]
    """Column -> curves."""
