"""Thin-plate splines against a float64 solution and against what they must do exactly."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gesturegen_tps.thin_plate import corner_grid, fit_thin_plates, random_thin_plates

POINTS = torch.tensor([[-0.6, -0.5], [0.7, -0.4], [0.1, 0.05], [-0.5, 0.6], [0.4, 0.7]])
AFFINE = torch.tensor([[0.9, 0.2], [-0.15, 1.1], [0.1, -0.05]])


def affine(points: torch.Tensor) -> torch.Tensor:
    return points @ AFFINE[:2] + AFFINE[2]


def oracle(points: np.ndarray, values: np.ndarray, places: np.ndarray, regularizer: float) -> np.ndarray:
    """The definition, one number at a time, in float64."""

    def bend(one: np.ndarray, other: np.ndarray) -> float:
        squared = float(((one - other) ** 2).sum())
        return squared * np.log(squared + 1e-9)

    count = len(points)
    system = np.zeros((count + 3, count + 3))
    for i, p in enumerate(points):
        for j, q in enumerate(points):
            system[i, j] = bend(p, q)
        system[i, count:] = system[count:, i] = [p[0], p[1], 1]
    solved = np.linalg.solve(system + regularizer * np.eye(count + 3), np.concatenate([values, np.zeros((3, 2))]))
    rows = [[*(bend(place, p) for p in points), place[0], place[1], 1] for place in places]
    return np.array(rows) @ solved


@pytest.mark.parametrize("regularizer", [0.0, 0.01])
def test_agrees_with_the_definition_in_float64(regularizer):
    draw = torch.Generator().manual_seed(1)
    points, values = 2 * torch.rand(2, 3, 5, 2, generator=draw) - 1
    places = corner_grid(7, torch.device("cpu")).view(-1, 2)
    moved = fit_thin_plates(points, values, regularizer)(places)
    for i in range(3):
        expected = oracle(points[i].double().numpy(), values[i].double().numpy(), places.double().numpy(), regularizer)
        np.testing.assert_allclose(moved[i].numpy(), expected, atol=2e-4)


@pytest.mark.parametrize("values", [POINTS, POINTS + torch.tensor([0.3, -0.2]), affine(POINTS)])
def test_affine_maps_are_recovered(values):
    places = corner_grid(16, torch.device("cpu")).view(-1, 2)
    solution = torch.linalg.lstsq(torch.cat([POINTS, torch.ones(5, 1)], 1), values).solution
    expected = places @ solution[:2] + solution[2]
    torch.testing.assert_close(fit_thin_plates(POINTS, values, 0.0)(places), expected, atol=1e-5, rtol=0)
    # The regulariser acts on the affine part as well, and so costs a few hundredths.
    assert 0.005 < (fit_thin_plates(POINTS, values)(places) - expected).abs().max() < 0.03


def test_control_points_are_met_within_the_regulariser():
    values = POINTS + 0.2 * torch.randn(5, 2, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(fit_thin_plates(POINTS, values, 0.0)(POINTS), values, atol=1e-5, rtol=0)
    plates = fit_thin_plates(POINTS, values)
    # First rows of the system: what is missed is the regulariser times the weight.
    missed = values - plates(POINTS)
    torch.testing.assert_close(missed, 0.01 * plates.bending, atol=1e-5, rtol=0)
    assert missed.abs().max() < 0.05


def test_coincident_points_do_no_harm():
    points = torch.zeros(1, 5, 2, requires_grad=True)
    moved = fit_thin_plates(points, points + 0.1)(corner_grid(4, torch.device("cpu")).view(-1, 2))
    moved.sum().backward()
    assert moved.isfinite().all()
    assert points.grad.isfinite().all()


def test_random_transforms_are_near_the_identity_and_repeatable():
    device, places = torch.device("cpu"), corner_grid(16, torch.device("cpu")).view(-1, 2)
    once = random_thin_plates(200, torch.Generator().manual_seed(0), device)(places)
    again = random_thin_plates(200, torch.Generator().manual_seed(0), device)(places)
    assert torch.equal(once, again)
    shift = once - places
    assert 0.05 < shift.std() < 0.15  # three affine entries of 0.05 each, and a little bending
    assert shift.mean().abs() < 0.02
