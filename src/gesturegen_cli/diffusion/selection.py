"""Choosing among continuations of one motion: the one that goes on most smoothly (method: S2G-MDDiffusion)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

COMPARED = 5
"""Frames on each side of a seam that are compared where windows overlap by fewer: those of S2G-MDDiffusion."""


def best_continuation(candidates: Tensor, before: Tensor) -> Tensor:
    """The one of `candidates` `b t d` with the lowest score, `t d`; the first of equals. `before` is `n d`, n <= t."""
    if len(candidates) == 1:
        return candidates[0]
    return candidates[int(continuation_scores(candidates[:, : len(before)], before).argmin())]


def continuation_scores(candidates: Tensor, before: Tensor) -> Tensor:
    """How abruptly each of the candidates' first frames `b n d` follows on `before` `n d` (n >= 2): `b`, 0 is best.

    Score = position + angle, after the "optimal motion selection" of S2G-MDDiffusion (He et al. 2024): the absolute
    differences of the frames in their order, summed over the d numbers and averaged over the n frames, plus the angle
    in radians between the two mean velocities. The release takes the angle from the last steps of a candidate; the
    ones at the seam, the first, are meant.
    """
    # In normalised motion every number is in standard deviations, so the score need not know what the numbers mean: it
    # serves points, rotations and plugins alike. A geodesic distance of rotations would need a hook in every deviation
    # model; and near each other, where it matters, the entries of two rotations differ in proportion to their angle.
    # As in the release, the sum lets position decide and leaves close calls to the angle: with the mean over numbers
    # the angle decided, and jumps at seams came out larger (base bundle, 30 s of speech).
    candidates, before = candidates.float(), before.float()
    position = (candidates - before).abs().sum(dim=-1).mean(dim=-1)
    velocities = candidates[:, -1] - candidates[:, 0]
    cosine = F.cosine_similarity(velocities, (before[-1] - before[0])[None], dim=-1)
    return position + torch.acos(cosine.clamp(-1, 1))
