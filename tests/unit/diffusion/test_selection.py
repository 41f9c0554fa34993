"""Scores of continuations against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from gesturegen_cli.diffusion.selection import best_continuation, continuation_scores

RISING = torch.arange(5.0)[:, None] * torch.tensor([1.0, 0.0])
"""Five frames that move along the first number."""


def _score(candidate: torch.Tensor, before: torch.Tensor = RISING) -> float:
    return float(continuation_scores(candidate[None], before)[0])


def test_going_on_alike_costs_nothing():
    assert _score(RISING) == pytest.approx(0.0, abs=1e-3)


def test_position_is_the_sum_of_differences_per_frame_in_their_order():
    away = RISING + torch.tensor([0.5, -1.5])
    assert _score(away) == pytest.approx(2.0, abs=1e-3)


def test_angle_is_that_between_the_mean_velocities():
    aside = RISING.flip(1)
    assert _score(aside) == pytest.approx(2 * 2 + math.pi / 2, abs=1e-3)  # both numbers are off by 0 1 2 3 4
    assert _score(RISING.flip(0)) == pytest.approx(12 / 5 + math.pi, abs=1e-3)  # one number is off by 4 2 0 2 4


@pytest.mark.parametrize("still", ["candidate", "before"])
def test_standing_still_has_the_angle_of_no_direction(still):
    held = torch.zeros(5, 2)
    candidate, before = (held, RISING) if still == "candidate" else (RISING, held)
    assert _score(candidate, before) == pytest.approx(2.0 + math.pi / 2, abs=1e-3)


def test_the_first_frames_of_a_candidate_count_and_no_others():
    """The released code looks at the last ones: there the wrong candidate would win."""
    smooth_then_back = torch.cat([RISING, RISING.flip(0)])
    back_then_smooth = torch.cat([RISING.flip(0), RISING])
    candidates = torch.stack([back_then_smooth, smooth_then_back])
    assert torch.equal(best_continuation(candidates, RISING), smooth_then_back)


def test_of_equals_the_first_is_kept_and_a_single_one_needs_no_frames_before():
    candidates = torch.stack([RISING, RISING])
    assert best_continuation(candidates, RISING).data_ptr() == candidates.data_ptr()
    assert torch.equal(best_continuation(RISING[None], RISING[:0]), RISING)


def test_scores_are_computed_in_full_precision():
    steps = torch.randn(5, 7, generator=torch.Generator().manual_seed(0)).half()
    scores = continuation_scores(torch.stack([steps, -steps]), steps)
    assert scores.dtype == torch.float32
    assert scores[0] < 0.01
    assert scores[1] == pytest.approx(float((2 * steps.float()).abs().sum()) / 5 + math.pi, abs=1e-2)
