"""Diversity: how much the motion of different windows differs."""

from __future__ import annotations

import torch
from torch import Tensor

from gesturegen_cli.errors import InputError

MOST_WINDOWS = 500
"""Windows compared with each other; more are drawn down to these."""


def diversity(features: Tensor, generator: torch.Generator) -> float:
    """Mean L1 distance between two different windows of features `n k`.

    The measure of HA2G (500 stored windows against 500 permuted ones), taken over all pairs of at most 500 windows
    instead of one random pairing, so that it is the expectation of theirs without a window paired with itself. Random
    only above 500 windows. Raises InputError below two windows.
    """
    if len(features) < 2:
        raise InputError(f"{len(features)} windows, expected at least 2 for diversity", "give more or longer videos")
    if len(features) > MOST_WINDOWS:
        features = features[torch.randperm(len(features), generator=generator)[:MOST_WINDOWS]]
    return float(torch.pdist(features.double(), p=1.0).mean())
