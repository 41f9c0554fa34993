"""Which sources train, validate and test: all clips of one video go the same way."""

from __future__ import annotations

import hashlib
from collections.abc import Collection

_SOURCES_FOR_VALIDATION = 3
"""From this many sources on, one validates even when chance would give none."""


def assign_splits(sources: Collection[str], validation: float, test: float) -> dict[str, str]:
    """Source (a digest of its content) -> `train`, `val` or `test`, in about the given shares.

    A source's place depends on its own digest, so more videos do not move it; with two exceptions: at least one source
    trains, and from three sources on at least one validates if `validation` > 0.
    """
    place = {source: _place(source) for source in sorted(sources)}
    order = sorted(place, key=lambda source: place[source])
    split = {
        source: "test" if place[source] < test else "val" if place[source] < test + validation else "train"
        for source in order
    }
    if order and "train" not in split.values():
        split[order[-1]] = "train"
    if validation > 0 and len(order) >= _SOURCES_FOR_VALIDATION and "val" not in split.values():
        training = [source for source in order if split[source] == "train"]
        if len(training) > 1:
            split[training[0]] = "val"
    return split


def _place(source: str) -> float:
    """A number in [0, 1) that looks random and depends on the text only."""
    return int.from_bytes(hashlib.sha256(f"split:{source}".encode()).digest()[:8], "big") / 2**64
