"""Diversity of sets whose answer is known."""

from __future__ import annotations

import pytest
import torch

from gesturegen_cli.errors import InputError
from gesturegen_cli.evaluation.diversity import diversity


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_equal_windows_have_no_diversity():
    assert diversity(torch.ones(7, 3), generator()) == 0.0


def test_diversity_is_the_mean_l1_distance_over_pairs():
    features = torch.tensor([[0.0, 0.0], [1.0, 2.0], [0.0, 5.0]])
    assert diversity(features, generator()) == pytest.approx((3.0 + 5.0 + 4.0) / 3)


def test_large_sets_are_sampled_repeatably_and_near_the_whole():
    features = torch.randn(900, 4, generator=generator())
    drawn = diversity(features, generator())
    assert drawn == diversity(features, generator())
    assert drawn == pytest.approx(float(torch.pdist(features.double(), p=1.0).mean()), rel=0.05)


def test_one_window_is_refused():
    with pytest.raises(InputError, match="1 windows"):
        diversity(torch.ones(1, 3), generator())
