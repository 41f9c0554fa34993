"""FGD, DIV and BAS of two sets of videos, from their motion."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gesturegen_cli.evaluation import beat
from gesturegen_cli.evaluation.diversity import MOST_WINDOWS, diversity
from gesturegen_cli.evaluation.fgd import fit_feature_space, frechet_distance, window_features
from gesturegen_cli.evaluation.measure import Measured

WINDOW = 64
"""Frames of a feature window."""
STRIDE = 16
"""Frames between the starts of windows."""
DIMS = 32
"""Most features of a window."""
KEPT_WINDOWS = 2048
"""Windows of one set; of more, evenly spaced ones are taken."""


@dataclass(frozen=True)
class MotionMetrics:
    """What the motion of two sets says."""

    metrics: dict[str, float | None]
    """fgd, div, bas; None where it could not be measured."""
    reference: dict[str, float | None]
    """div and bas of the reference itself."""
    reasons: dict[str, str]
    """Why a metric is None."""
    counts: dict[str, int]
    alignment: dict[str, float]
    """BAS of each generated video that has one."""
    protocol: dict[str, Any]


def motion_metrics(made: list[Measured], real: list[Measured], rng_seed: int) -> MotionMetrics:
    """Compare the motion of generated and real videos; neither list is empty."""
    made_windows, real_windows = cut_windows([m.motion for m in made]), cut_windows([m.motion for m in real])
    metrics: dict[str, float | None] = dict.fromkeys(("fgd", "div", "bas"))
    reference: dict[str, float | None] = dict.fromkeys(("div", "bas"))
    reasons: dict[str, str] = {}
    smallest, dims = min(len(made_windows), len(real_windows)), 0
    if smallest < 2:
        found = f"{len(made_windows)} generated and {len(real_windows)} reference windows of {WINDOW} frames"
        reasons = dict.fromkeys(("fgd", "div"), f"{found}, at least 2 each are needed")
    else:
        # fewer features than windows, so that no covariance is singular
        space = fit_feature_space(real_windows, min(DIMS, smallest - 1))
        dims = space.dims
        made_features, real_features = window_features(space, made_windows), window_features(space, real_windows)
        generator = torch.Generator().manual_seed(rng_seed)
        metrics["fgd"] = frechet_distance(made_features, real_features)
        metrics["div"] = diversity(made_features, generator)
        reference["div"] = diversity(real_features, generator)
    scale = torch.cat([m.motion for m in real]).double().std(dim=0, correction=0).clamp_min(1e-6)
    made_alignment, real_alignment = alignments(made, scale), alignments(real, scale)
    metrics["bas"] = fmean(made_alignment.values()) if made_alignment else None
    reference["bas"] = fmean(real_alignment.values()) if real_alignment else None
    if not made_alignment:
        reasons["bas"] = "no generated video has speech with onsets"
    counts = {"windows": len(made_windows), "reference_windows": len(real_windows)}
    return MotionMetrics(metrics, reference, reasons, counts, made_alignment, _protocol(dims))


def cut_windows(motions: list[Tensor]) -> Tensor:
    """Windows `n WINDOW d` of motions `t d`, every STRIDE frames, evenly thinned to KEPT_WINDOWS.

    A motion shorter than a window gives none.
    """
    starts = [(i, s) for i, motion in enumerate(motions) for s in range(0, len(motion) - WINDOW + 1, STRIDE)]
    if len(starts) > KEPT_WINDOWS:
        starts = [starts[k] for k in np.linspace(0, len(starts) - 1, KEPT_WINDOWS).round().astype(int)]
    if not starts:
        return torch.zeros(0, WINDOW, motions[0].shape[1])
    return torch.stack([motions[i][s : s + WINDOW] for i, s in starts])


def alignments(videos: list[Measured], scale: Tensor) -> dict[str, float]:
    """BAS of each video whose speech has onsets; motion numbers are divided by `scale` `d` before they add up."""
    found = {}
    for video in videos:
        if video.beats is not None:
            score = beat.beat_alignment(video.beats, beat.motion_beats(video.motion / scale))
            if score is not None:
                found[video.id] = score
    return found


def _protocol(dims: int) -> dict[str, Any]:
    return {
        "feature_space": "person-free motion of the bundle's deviation model, windows standardised with the reference "
        "and projected on its principal components; not comparable across bundles or references",
        "window": WINDOW,
        "stride": STRIDE,
        "features": dims,
        "fgd": "squared Frechet distance of Gaussians, float64",
        "div": f"mean L1 distance over pairs of at most {MOST_WINDOWS} windows",
        "bas": f"mean over audio onsets of exp(-d^2 / (2 x {beat.SIGMA:g}^2)), d in frames to the nearest minimum of "
        f"motion speed smoothed with sigma {beat.SMOOTHING:g}; mean over videos",
    }
