"""Smooth movement as a sum of minimum-jerk sub-movements: no position or velocity ever jumps."""

from __future__ import annotations

import numpy as np

from .arrays import Array


def minimum_jerk(u: Array) -> Array:
    """Progress 0..1 of the smoothest reach at relative time u (Flash and Hogan 1985)."""
    u = np.clip(u, 0, 1)
    return np.asarray(u * u * u * (10 - 15 * u + 6 * u * u))


class Track:
    """A vector over time: it starts somewhere and is sent to new places; moves that overlap add up."""

    def __init__(self, start: Array) -> None:
        """Rest at `start` [d]."""
        self.start = np.asarray(start, float)
        self.last = self.start.copy()
        self._moves: list[tuple[float, float, Array]] = []

    def to(self, begin: float, end: float, target: Array) -> None:
        """Move to `target` [d] between the times `begin` and `end` in seconds."""
        target = np.asarray(target, float)
        self._moves.append((begin, max(end - begin, 0.04), target - self.last))
        self.last = target.copy()

    def sample(self, times: Array) -> Array:
        """Values [t, d] at `times` [t] in seconds."""
        out = np.tile(self.start, (len(times), 1))
        for begin, duration, change in self._moves:
            out += minimum_jerk((times - begin) / duration)[:, None] * change
        return out


def wander(rng: np.random.Generator, times: Array, frequency: float, dims: int) -> Array:
    """Slow smooth idle noise [t, dims] of about unit size: five sines per dimension around `frequency` Hz."""
    out = np.zeros((len(times), dims))
    for _ in range(5):
        phase = 2 * np.pi * frequency * rng.uniform(0.3, 1.6, dims) * times[:, None] + rng.uniform(0, 2 * np.pi, dims)
        out += np.sin(phase) * rng.uniform(0.2, 0.6, dims)
    return out / 1.2
