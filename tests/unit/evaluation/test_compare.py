"""Scores of pictures against closed forms, and against a computation in plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gesturegen_cli.evaluation.compare import Comparison, Wanted
from gesturegen_cli.evaluation.metrics import METRICS

ALL = Wanted(frozenset(METRICS))
BOXES = torch.tensor([[[-1.0, -1.0, -0.5, -0.5], [0.5, 0.5, 1.0, 1.0], [-0.25, -0.25, 0.25, 0.25]]])


def clip(frames=3, side=64, seed=0):
    return torch.rand(frames, 3, side, side, generator=torch.Generator().manual_seed(seed))


def scores(made, real, boxes=BOXES, wanted=ALL, batch=2):
    comparison = Comparison(wanted, real[:1])
    for start in range(0, len(made), batch):
        part = slice(start, start + batch)
        comparison.add(made[part], real[part], boxes.expand(len(made), -1, -1)[part])
    return comparison.scores()


def test_equal_pictures_have_perfect_scores():
    real = clip()
    found = scores(real, real)
    assert found["psnr"] == 100.0
    assert found["ssim"] == pytest.approx(1.0, abs=1e-6)
    assert found["l1"] == found["hand_l1"] == found["mouth_l1"] == found["moving_l1"] == 0.0
    assert found["sharpness"] == found["hand_sharpness"] == 1.0
    assert "lpips" not in found  # no weights


def test_regions_are_scored_by_themselves():
    real = clip()
    made = real.clone()
    made[:, :, :16, :16] += 0.25  # the whole box of the left hand, nothing of the right one
    found = scores(made, real)
    assert found["hand_l1"] == pytest.approx(0.125, rel=1e-5)
    assert found["hand_psnr"] == pytest.approx(-10 * np.log10(0.5 * 0.25**2), rel=1e-5)
    assert found["mouth_l1"] == 0.0
    assert found["l1"] == pytest.approx(0.25 / 16, rel=1e-5)


def test_scores_are_means_over_frames_whatever_the_batches():
    made, real = clip(5, seed=1), clip(5, seed=2)
    a, b = scores(made, real, batch=1), scores(made, real, batch=4)
    assert a == pytest.approx(b, rel=1e-5)
    error = (made - real).numpy().astype(np.float64)
    assert a["psnr"] == pytest.approx(np.mean(-10 * np.log10((error**2).mean(axis=(1, 2, 3)))), rel=1e-6)
    assert a["l1"] == pytest.approx(np.abs(error).mean(), rel=1e-6)


def test_a_still_clip_has_no_moving_region_and_a_clip_without_hands_no_hands():
    still = clip(1).expand(4, -1, -1, -1)
    away = torch.full((1, 3, 4), 2.0)
    found = scores(still * 0.9, still, boxes=away)
    assert {"moving_l1", "hand_l1", "hand_psnr", "mouth_l1", "hand_sharpness"}.isdisjoint(found)
    assert "l1" in found


def test_blur_shows_as_less_sharpness():
    real = clip(2, 64)
    blurred = torch.nn.functional.avg_pool2d(real, 3, stride=1, padding=1, count_include_pad=False)
    assert scores(blurred, real)["sharpness"] < 0.2


def test_only_what_is_wanted_is_given():
    assert set(scores(clip(seed=1), clip(), wanted=Wanted(frozenset({"l1", "ssim"})))) == {"l1", "ssim"}
