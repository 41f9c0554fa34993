"""Diversity: how much the motion of different windows differs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gesturegen_cli.errors import InputError

_BLOCK = 256
"""Windows compared with all others at a time, which bounds the memory."""


@dataclass(frozen=True, eq=False)
class DiversityTable:
    """L1 distances between the windows of c clips, added up clip by clip."""

    sums: NDArray[np.float64]
    """Sums of distances, `c c`, symmetric; on the diagonal over the pairs of different windows of one clip."""
    pairs: NDArray[np.float64]
    """Pairs of windows that each sum is over, `c c`."""
    windows: NDArray[np.int64]
    """Windows of each clip, `c`."""

    @property
    def diversity(self) -> float:
        """Mean distance over all pairs of different windows. Raises InputError below two windows.

        The measure of HA2G, which sums absolute differences over the features of 500 windows and as many permuted
        ones; taken over all pairs, it is the expectation of theirs without a window that meets itself.
        """
        if self.windows.sum() < 2:
            found = f"{self.windows.sum()} windows, expected at least 2 for diversity"
            raise InputError(found, "give more or longer videos")
        return float(np.triu(self.sums).sum() / np.triu(self.pairs).sum())


def diversity_table(clips: Sequence[Tensor]) -> DiversityTable:
    """Compare the windows of clips, features `n_c k` each (n_c may be 0), in float64; no window is left out.

    Time grows with the square of all windows.
    """
    windows = np.array([len(clip) for clip in clips], dtype=np.int64)
    sums = torch.zeros(len(clips), len(clips), dtype=torch.float64)
    if windows.sum():
        features = torch.cat([clip for clip in clips if len(clip)]).double()
        owner = torch.from_numpy(np.repeat(np.arange(len(clips)), windows))
        for rows, owners in zip(torch.split(features, _BLOCK), torch.split(owner, _BLOCK), strict=True):
            by_clip = torch.zeros(len(rows), len(clips), dtype=torch.float64)
            by_clip.index_add_(1, owner, torch.cdist(rows, features, p=1.0))
            sums.index_add_(0, owners, by_clip)
    pairs = np.outer(windows, windows).astype(np.float64)
    table = sums.numpy()
    # on the diagonal each pair has been met twice, and each window once with itself at distance 0
    np.fill_diagonal(table, np.diag(table) / 2)
    np.fill_diagonal(pairs, windows * (windows - 1) / 2)
    return DiversityTable(table, pairs, windows)
