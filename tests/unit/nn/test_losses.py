import math

import pytest
import torch

from gesturegen_cli.nn import losses


def test_joint_loss_is_zero_for_equal_joints_and_linear_far_away():
    joints = torch.rand(2, 5, 2)
    weight = torch.ones(2, 5)
    assert losses.joint_loss(joints, joints, weight) == 0
    far = losses.joint_loss(joints + torch.tensor([0.5, 0.0]), joints, weight)
    assert far == pytest.approx(0.5 - 0.02 / 2, abs=1e-5)


def test_joint_loss_takes_no_weight_from_joints_without_weight():
    target = torch.zeros(1, 2, 2)
    wrong = torch.tensor([[[0.0, 0.0], [0.7, 0.7]]])
    assert losses.joint_loss(wrong, target, torch.tensor([[1.0, 0.0]])) == 0


def test_heatmap_loss_is_the_entropy_of_the_split_when_the_map_is_perfect():
    """A joint in the middle between four cells: the best map gives a quarter to each, at a loss of log 4."""
    logits = torch.full((1, 1, 8, 8), -30.0)
    logits[0, 0, 3:5, 3:5] = 0
    middle = torch.zeros(1, 1, 2)
    assert losses.heatmap_loss(logits, middle, torch.ones(1, 1)) == pytest.approx(math.log(4), abs=1e-4)
    centre_of_cell = torch.full((1, 1, 2), (2 * 3 + 1) / 8 - 1)
    assert losses.heatmap_loss(logits, centre_of_cell, torch.ones(1, 1)) == pytest.approx(math.log(4), abs=1e-4)
    logits[0, 0, 3, 3] = 60
    assert losses.heatmap_loss(logits, centre_of_cell, torch.ones(1, 1)) == pytest.approx(0, abs=1e-4)


def test_flow_loss_is_in_cells_and_bounded():
    grid = torch.zeros(1, 8, 8, 2)
    one_cell = grid + torch.tensor([2 / 8, 0.0])
    weight = torch.ones(1, 8, 8)
    assert losses.flow_loss(one_cell, grid, weight) == pytest.approx(1)
    assert losses.flow_loss(grid + 100, grid, weight) == 12


def test_gradient_loss_ignores_brightness_and_sees_edges():
    picture = torch.rand(1, 3, 16, 16)
    assert losses.gradient_loss(picture + 0.2, picture) == pytest.approx(0, abs=1e-5)
    assert losses.gradient_loss(picture.flip(3), picture) > 0.1


def test_texture_loss_is_least_for_as_much_contrast_wherever_it_lies():
    draw = torch.Generator().manual_seed(0)
    stripes = torch.arange(32) % 2 * 0.5
    target = stripes.expand(1, 3, 32, 32)
    blurred, shifted = torch.full_like(target, 0.25), target.roll(1, -1)
    assert losses.texture_loss(target, target) == 0
    assert losses.texture_loss(shifted, target) < 0.02
    assert losses.texture_loss(blurred, target) == pytest.approx(0.25, abs=0.02)  # their standard deviation
    weight = torch.rand(1, 1, 32, 32, generator=draw)
    assert losses.texture_loss(blurred, target, weight) == pytest.approx(0.24 * float(weight.mean()), abs=0.01)


def test_weighted_mean_of_nothing_is_zero():
    assert losses.weighted_mean(torch.ones(3), torch.zeros(3)) == 0
    assert losses.weighted_mean(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 3.0])) == 2.5
