from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from gesturegen_cli.errors import ConfigError
from gesturegen_tps.tps_deviation import TpsDeviation

from .layouts import S2G, TPSM, described
from .small import TINY, pictures, tiny_tps


@pytest.mark.parametrize(
    ("layout", "config"),
    [
        (TPSM, TpsDeviation.Config(transforms=10, background=True)),
        (TPSM, TpsDeviation.Config(transforms=10, background=True, size=384)),
        (S2G, TpsDeviation.Config(transforms=20, refine=True)),
    ],
)
def test_names_shapes_and_parameters_are_the_published_ones(layout, config):
    with torch.device("meta"):
        model = TpsDeviation(config)
    assert {name for name, _ in model.named_children()} == set(layout)
    for name, (tensors, digest, parameters) in layout.items():
        part = model.get_submodule(name)
        assert described(part.state_dict()) == (tensors, digest), name
        assert sum(p.numel() for p in part.parameters()) == parameters, name
    assert model.motion_dim == config.transforms * 10


def test_one_source_serves_many_frames_as_pairs_do():
    model = tiny_tps(refine=True)
    frames = pictures(3)
    with torch.inference_mode():
        motion = model.encode(frames)
        alone = model.animate(model.encode_source(frames[:1]), motion)
        pairs = model.animate_pairs(frames[:1].expand(3, -1, -1, -1), motion)
    torch.testing.assert_close(alone, pairs, atol=1e-5, rtol=1e-4)
    assert not torch.equal(alone[0], alone[1])


def test_motion_is_x_and_y_of_point_after_point():
    model = tiny_tps()
    motion = torch.arange(60.0).view(2, 30)
    points = model.unpack(motion)
    assert points.shape == (2, 3, 5, 2)
    assert points[1, 2, 4].tolist() == [58.0, 59.0]
    assert torch.equal(points.flatten(1), motion)
    assert model.encode(pictures(2)).abs().max() <= 1


def test_transfer_is_of_points_or_of_their_way():
    frames = pictures(4)
    absolute, relative = tiny_tps(), tiny_tps(transfer="relative")
    motion = absolute.encode(frames)
    source = absolute.encode_source(frames[1:2])
    assert torch.equal(absolute.retarget(absolute.neutralize(motion, motion[0]), source), motion)
    moved = relative.retarget(relative.neutralize(motion, motion[0]), source)
    torch.testing.assert_close(moved[0], motion[1])
    torch.testing.assert_close(moved - motion, (motion[1] - motion[0]).expand_as(motion))


def test_the_background_predictor_starts_at_no_motion_and_is_quiet_until_training():
    model = tiny_tps(background=True)
    assert not any(p.requires_grad for p in model.bg_predictor.parameters())
    matrices = model.bg_predictor(pictures(2), pictures(2, seed=1))
    torch.testing.assert_close(matrices, torch.eye(3).expand(2, -1, -1))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"size": 100}, "multiple of 32"),
        ({"size": 96, "refine": True}, "power of two"),
        ({"image_channels": (4, 8, 12, 0)}, "image_channels"),
        ({"dropout_start": 0.6}, "dropout_start"),
    ],
)
def test_sizes_that_cannot_be_are_refused(changes, said):
    with pytest.raises(ConfigError, match=said):
        replace(TINY, **changes)
