from __future__ import annotations

import torch

from gesturegen_tps.dense_motion import DenseMotion
from gesturegen_tps.thin_plate import corner_grid
from gesturegen_tps.tps_losses import feature_loss, masked_l1

from .small import pictures, tiny_tps


def _motion(seen: float, shift: float = 0.0) -> DenseMotion:
    grid = corner_grid(16, torch.device("cpu"))[None] + shift
    return DenseMotion(grid, tuple(torch.full((1, 1, side, side), seen) for side in (8, 16, 32, 64)))


def test_what_is_seen_and_not_moved_is_the_picture_itself():
    model, frames = tiny_tps(), pictures(1)
    network = model.inpainting_network
    with torch.no_grad():
        image = network(frames, network.encode(frames), _motion(1.0))
    torch.testing.assert_close(image, frames, atol=1e-5, rtol=0)


def test_what_is_hidden_owes_nothing_to_the_picture():
    network = tiny_tps().inpainting_network
    with torch.no_grad():
        images = [network(p, network.encode(p), _motion(0.0)) for p in (pictures(1), pictures(1, seed=1))]
    torch.testing.assert_close(*images)


def test_the_feature_loss_is_zero_for_the_right_flow_and_teaches_the_flow_alone():
    network, frames = tiny_tps().inpainting_network, pictures(1)
    features = network.encode(frames)
    assert feature_loss(features, features, _motion(0.7)) < 1e-5
    motion = _motion(0.7, shift=0.1)
    grid = motion.grid.clone().requires_grad_()
    seen = tuple(level.clone().requires_grad_() for level in motion.occlusion)
    loss = feature_loss(features, features, DenseMotion(grid, seen))
    loss.backward()
    assert loss > 0.01
    assert grid.grad.abs().max() > 0
    assert all(level.grad is None for level in seen)
    assert all(parameter.grad is None for parameter in network.parameters())


def test_masked_errors_are_means_over_the_mask():
    image, target = torch.full((2, 3, 4, 4), 0.75), torch.full((2, 3, 4, 4), 0.25)
    mask = torch.zeros(2, 1, 4, 4)
    mask[0, :, :2] = 1
    torch.testing.assert_close(masked_l1(image, target, mask), torch.tensor(0.25))  # 0.5 in one, nothing in the other
