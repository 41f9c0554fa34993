from __future__ import annotations

import pytest
import torch

from gesturegen_tps.refinement import RefinementNetwork
from gesturegen_tps.released_order import heatmaps_first, skips_first

from .small import pictures, tiny_tps


def test_only_hidden_places_are_painted_again():
    model = tiny_tps(refine=True)
    frames = pictures(2)
    seen = torch.ones(2, 1, 64, 64)
    seen[:, :, :20] = 0
    with torch.no_grad():
        painted, merged = model.refined(frames, seen)
    assert painted.shape == frames.shape
    assert torch.equal(merged[:, :, 20:], frames[:, :, 20:])
    assert torch.equal(merged[:, :, :20], painted[:, :, :20])


def test_the_network_sees_what_is_hidden():
    network = tiny_tps(refine=True).e2e_generator
    frames = pictures(1)
    with torch.no_grad():
        assert not torch.equal(network(frames, torch.ones(1, 1, 64, 64)), network(frames, torch.zeros(1, 1, 64, 64)))


@pytest.mark.parametrize("order", [False, True])
def test_trained_weights_tell_their_order(order):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = RefinementNetwork(64, 8, skips_first=order)
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = None  # the plain mean
                torch.nn.init.normal_(module.weight, 1, 0.3)
                torch.nn.init.normal_(module.bias, 0, 1)
    for step in range(6):
        with torch.no_grad():
            network(pictures(4, seed=step), pictures(4, seed=100 + step)[:, :1])
    tensors = network.state_dict()
    assert skips_first(tensors) == order
    del tensors["model8.1.weight"]
    assert skips_first(tensors) is False


def test_untrained_or_foreign_weights_tell_nothing():
    assert skips_first(RefinementNetwork(64, 4, skips_first=False).state_dict()) is False
    assert skips_first({}) is False


def test_dense_motion_tells_its_order_by_the_channel_that_saw_nothing():
    weight = torch.randn(16, 8 * 3 + 4, 3, 3, generator=torch.Generator().manual_seed(0))
    assert heatmaps_first(weight, 3) is True
    silent = weight.clone()
    silent[:, 12] *= 1e-4
    assert heatmaps_first(silent, 3) is False
    silent = weight.clone()
    silent[:, 0] *= 1e-4
    assert heatmaps_first(silent, 3) is True
