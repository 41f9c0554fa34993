"""The coach of `rotation`: what it draws is what the model draws, and its terms say what they claim."""

from __future__ import annotations

import pytest
import torch

from gesturegen_cli.models.rotation_coach import depth_roughness
from gesturegen_cli.models.rotation_deviation import RotationDeviation
from gesturegen_cli.models.speaker_anatomy import JOINTS, LAYERS, MIRRORED_LAYERS

TINY = RotationDeviation.Config(
    size=64,
    extractor_channels=(8, 8, 16, 16),
    extractor_blocks=(1, 1, 1),
    source_channels=(8, 8, 16, 32),
    source_blocks=1,
    neutral_channels=(16, 24),
    field_channels=(8, 8, 16, 32),
    field_blocks=1,
    decoder_blocks=1,
)


@pytest.fixture
def model():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return RotationDeviation(TINY).eval()


def pairs(labelled: bool) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    batch = {name: torch.rand(2, 3, 64, 64, generator=draw) for name in ("source", "driving")}
    if labelled:
        for role in ("source", "driving"):
            batch[f"{role}_parts"] = torch.randint(len(LAYERS), (2, 16, 16), generator=draw)
            batch[f"{role}_joints"] = torch.rand(2, len(JOINTS), 2, generator=draw) * 2 - 1
        batch["mirrored"] = torch.tensor([False, True])
    return batch


@torch.no_grad()
def test_it_draws_what_the_model_draws(model):
    batch = pairs(labelled=False)
    motion = model.encode(batch["driving"])
    image, terms = model.coach()(model, batch, motion)
    torch.testing.assert_close(image, model.animate_pairs(batch["source"], motion))
    assert set(terms) == {"deviation", "depth"}


def test_labels_teach_motion_and_warp_but_not_each_other(model):
    batch, coach = pairs(labelled=True), model.coach()
    motion = model.encode(batch["driving"]).detach().requires_grad_()
    terms = coach(model, batch, motion)[1]
    assert set(terms) == {"deviation", "depth", "pose", "parts"}
    (by_pose,) = torch.autograd.grad(terms["pose"], motion, retain_graph=True)
    assert by_pose.abs().sum() > 0
    (by_parts,) = torch.autograd.grad(terms["parts"], motion)
    assert by_parts.abs().sum() > 0  # only through the warp can it reach the motion


@torch.no_grad()
def test_left_and_right_are_exchanged_in_mirrored_pairs(model):
    """A head that always says the layers of the original is right in the plain pair and wrong in the mirrored one."""
    batch, coach = pairs(labelled=True), model.coach()
    sure = torch.full((2, len(LAYERS), 16, 16), -30.0)
    sure.scatter_(1, batch["driving_parts"][:, None], 30.0)
    coach.layers.forward = lambda moved: sure
    motion = model.encode(batch["driving"])
    assert float(coach(model, batch, motion)[1]["parts"]) > 1
    swapped = torch.tensor(MIRRORED_LAYERS)[batch["driving_parts"][1]]
    sure[1] = -30.0
    sure[1].scatter_(0, swapped[None], 30.0)
    assert float(coach(model, batch, motion)[1]["parts"]) < 1e-3


def test_roughness_is_zero_for_equal_channels_and_two_for_unrelated_ones():
    alike = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)).expand(-1, 64, -1, -1)
    assert depth_roughness(alike) == 0
    noise = torch.randn(2, 64, 8, 8, generator=torch.Generator().manual_seed(0))
    assert float(depth_roughness(noise)) == pytest.approx(2, rel=0.05)


def test_a_fresh_volume_is_smooth_along_its_depth(model):
    picture = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        neutral = model.encode_source(picture).neutral
    assert float(depth_roughness(neutral)) < 0.2
