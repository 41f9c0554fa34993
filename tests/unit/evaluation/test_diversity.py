"""Diversity of sets whose answer is known."""

from __future__ import annotations

import pytest
import torch

from gesturegen_cli.errors import InputError
from gesturegen_cli.evaluation.diversity import diversity_table


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_equal_windows_have_no_diversity():
    assert diversity_table([torch.ones(7, 3)]).diversity == 0.0


def test_diversity_is_the_mean_l1_distance_over_pairs():
    features = torch.tensor([[0.0, 0.0], [1.0, 2.0], [0.0, 5.0]])
    assert diversity_table([features]).diversity == pytest.approx((3.0 + 5.0 + 4.0) / 3)


def test_the_table_of_clips_gives_the_mean_over_all_pairs_of_different_windows():
    features = torch.randn(700, 5, generator=generator())
    table = diversity_table(features.split([0, 300, 1, 399]))
    assert table.diversity == pytest.approx(float(torch.pdist(features.double(), p=1.0).mean()), rel=1e-12)
    assert table.windows.tolist() == [0, 300, 1, 399]


def test_the_table_adds_distances_up_clip_by_clip():
    clips = [torch.tensor([[0.0, 0.0], [1.0, 2.0]]), torch.tensor([[0.0, 5.0]])]
    table = diversity_table(clips)
    assert table.sums.tolist() == [[3.0, 9.0], [9.0, 0.0]]
    assert table.pairs.tolist() == [[1.0, 2.0], [2.0, 0.0]]


@pytest.mark.parametrize("clips", [[], [torch.zeros(0, 3)], [torch.zeros(1, 3), torch.zeros(0, 3)]])
def test_a_table_of_fewer_than_two_windows_has_no_diversity(clips: list[torch.Tensor]):
    with pytest.raises(InputError, match="at least 2 for diversity"):
        _ = diversity_table(clips).diversity
