import dataclasses
import hashlib
import json
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from gesturegen_cli import registry
from gesturegen_cli.config.load import load_config
from gesturegen_cli.errors import ConfigError
from gesturegen_cli.models.rotation_deviation import RotationDeviation
from gesturegen_cli.models.rotation_field import deviation_grid, field_penalty, rotation_matrices, warp_volume
from gesturegen_cli.testing import check_deviation_model

TINY = RotationDeviation.Config(
    size=64,
    extractor_channels=(8, 8, 16, 16),
    extractor_blocks=(1, 1, 1),
    source_channels=(8, 8, 16, 16),
    source_blocks=1,
    neutral_channels=(16, 24),
    field_channels=(8, 8, 16, 32),
    field_blocks=1,
    decoder_blocks=1,
)
LAYOUT = Path(__file__).parents[3].parent / "shared" / "layouts" / "ssl.json"
LAYOUT_SHA256 = "31e6da0f9bc2d038411276aeb63ec8c7d71cab4cd89e93fa5f201daf3a778a61"
"""Of the published layout: lines `name d1xd2x...`, sorted."""


def build(config=TINY, disturb=0.05):
    torch.manual_seed(0)
    model = RotationDeviation(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(disturb * torch.randn_like(parameter))
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(0, 0.2)
            elif name.endswith("running_var"):
                buffer.uniform_(0.5, 1.5)
    return model


def pictures(count, size=64, seed=1):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def published():
    """The model of preset `paper`, with shapes and without numbers."""
    with torch.device("meta"):
        return RotationDeviation(RotationDeviation.Config()).eval()


def flops(run):
    with FlopCounterMode(display=False) as counter:
        result = run()
    return counter.get_total_flops() / 1e9, result


def test_the_paper_has_the_published_names_and_shapes(published):
    lines = sorted(f"{name} {'x'.join(map(str, tensor.shape))}" for name, tensor in published.state_dict().items())
    assert len(lines) == 651
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == LAYOUT_SHA256


@pytest.mark.skipif(not LAYOUT.exists(), reason="the list of published tensors is not here")
def test_the_digest_is_that_of_the_published_layout():
    entries = json.loads(LAYOUT.read_text())
    lines = sorted(f"{entry['key']} {'x'.join(map(str, entry['shape']))}" for entry in entries)
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == LAYOUT_SHA256


def test_the_paper_has_the_published_number_of_parameters(published):
    parts = {"pose_base": published.pose_base, **dict(published.generator.named_children())}
    sizes = {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()}
    assert sizes == {
        "pose_base": 10_256_073,
        "first": 9_600,
        "down_blocks": 1_550_976,
        "res_ms": 18_886_656,
        "Res_Feat": 98_471_424,
        "pose_up": 25_853_321,
        "decoder": 55_617_283,
    }
    assert sum(sizes.values()) == 210_645_333
    assert published.motion_dim == 2307


def test_the_paper_costs_what_was_published_less_the_gates(published):
    frame = torch.zeros(1, 3, 256, 256, device="meta")
    extract, motion = flops(lambda: published.encode(frame))
    encode, source = flops(lambda: published.encode_source(frame))
    gates, _ = flops(
        lambda: published.generator.decoder.encode_still(
            torch.zeros(1, 128, 128, 128, device="meta"), torch.zeros(1, 256, 64, 64, device="meta")
        )
    )
    field, _ = flops(lambda: published.deviation_field(motion))
    render, images = flops(lambda: published.animate(source, motion))
    assert images.shape == frame.shape
    assert extract == pytest.approx(11.99, rel=0.01)
    assert encode - gates == pytest.approx(140.11, rel=0.01)
    assert field == pytest.approx(3.55, rel=0.01)
    assert render + gates == pytest.approx(393.24, rel=0.01)
    assert gates > 55


@pytest.mark.parametrize("preset", ["paper", "small", "rotation-tiny"])
def test_presets_build_the_model(preset):
    config = load_config(preset, None, (), {})
    with torch.device("meta"):
        model = registry.build("deviation_models", config.deviation.name, config.deviation.params)
    millions = sum(p.numel() for p in model.parameters()) / 1e6
    assert {"paper": 210, "small": 13, "rotation-tiny": 3}[preset] == int(millions)
    assert model.motion_dim == {"paper": 2307, "small": 2307, "rotation-tiny": 147}[preset]


@pytest.mark.parametrize("config", [TINY, dataclasses.replace(TINY, compact=True, align_corners=True)])
def test_it_conforms(config):
    check_deviation_model(build(config, disturb=0.0))


def test_rendering_from_motion_equals_rendering_from_the_driving_picture():
    model, frames = build(), pictures(3)
    with torch.inference_mode():
        source, motion = model.encode_source(frames[:1]), model.encode(frames)
        images = model.animate(source, motion)
        angles, translation = model.pose_base(frames)  # and on, without ever making a motion feature of them
        field = model.generator.pose_up(rotation_matrices(angles, 3.14))
        moved = warp_volume(source.neutral, field, translation, align_corners=False)
        assert (images - model.generator.decoder(moved, source.still)).abs().max() == 0
        pairs = model.animate_pairs(frames[:1].expand(3, -1, -1, -1), motion)
        torch.testing.assert_close(pairs, images, atol=1e-5, rtol=0)


def test_the_compact_form_renders_the_same_for_valid_rotations():
    full = build()
    compact = RotationDeviation(dataclasses.replace(TINY, compact=True)).eval()
    compact.load_state_dict(full.state_dict())
    frames = pictures(3)
    with torch.inference_mode():
        long, short = full.encode(frames), compact.encode(frames)
        images = [
            model.animate(model.encode_source(frames[:1]), motion) for model, motion in ((full, long), (compact, short))
        ]
    assert (long.shape[1], short.shape[1]) == (16 * 9 + 3, 16 * 3 + 3)
    assert (images[0] - images[1]).abs().max() == 0


def test_motion_lists_matrices_cell_by_cell_and_then_the_translation():
    model, frames = build(), pictures(2)
    with torch.inference_mode():
        angles, translation = model.pose_base(frames)
        motion = model.encode(frames)
    matrix = rotation_matrices(angles[1, 2, 3], 3.14)
    start = 9 * (2 * 4 + 3)
    torch.testing.assert_close(motion[1, start : start + 9].view(3, 3), matrix)
    torch.testing.assert_close(motion[:, -3:], translation)
    assert motion.abs().max() <= 1


def test_heads_of_yaw_and_roll_bear_each_others_names():
    model = build()
    with torch.no_grad():
        for head in (model.pose_base.fc_yaw_down8, model.pose_base.fc_pitch_down8, model.pose_base.fc_roll_down8):
            head.weight.zero_(), head.bias.fill_(-50.0)
            head.bias[33] = 50.0
        model.pose_base.fc_roll_down8.bias[33], model.pose_base.fc_roll_down8.bias[43] = -50.0, 50.0
        angles, _ = model.pose_base(pictures(1))
    pitch, yaw, roll = (angles[0, 0, 0] * 99).tolist()
    assert (pitch, yaw, roll) == (pytest.approx(0, abs=1e-3), pytest.approx(30, abs=1e-3), pytest.approx(0, abs=1e-3))


def test_uniform_logits_are_one_and_a_half_degrees_off():
    model = build()
    with torch.no_grad():
        for head in (model.pose_base.fc_yaw_down8, model.pose_base.fc_pitch_down8, model.pose_base.fc_roll_down8):
            head.weight.zero_(), head.bias.zero_()
        angles, _ = model.pose_base(pictures(1))
    torch.testing.assert_close(angles * 99, torch.full_like(angles, -1.5), atol=1e-3, rtol=0)


def test_the_warp_equals_the_literal_one():
    model, frames = build(disturb=0.2), pictures(2)
    features = torch.randn(2, 16, 8, 8, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        field, translation = model.deviation_field(model.encode(frames))
        field = field + 0.3 * torch.randn(field.shape, generator=torch.Generator().manual_seed(4))
        for align in (False, True):
            literal = literal_warp(features, field, translation, align)
            torch.testing.assert_close(warp_volume(features, field, translation, align), literal, atol=1e-4, rtol=0)


def literal_warp(features, field, translation, align):
    """As the method has it: a matrix product for every voxel, in float64."""
    depth, height, width = features.shape[1:]
    axes = [torch.linspace(-1, 1, n, dtype=torch.float64) for n in (depth, height, width)]
    z, y, x = torch.meshgrid(*axes, indexing="ij")
    identity = torch.stack([x, y, z], -1)
    moved = torch.einsum("bhwij,dhwj->bdhwi", field.double(), identity) + translation.double()[:, None, None, None]
    volume = features.double()[:, None]
    sampled = torch.nn.functional.grid_sample(volume, identity + moved, padding_mode="zeros", align_corners=align)
    return sampled[:, 0].float()


def test_no_deviation_is_the_identity_with_aligned_corners_only():
    features = torch.randn(1, 32, 8, 8, generator=torch.Generator().manual_seed(5))
    still = torch.zeros(1, 8, 8, 3, 3), torch.zeros(1, 3)
    torch.testing.assert_close(warp_volume(features, *still, True), features, atol=1e-5, rtol=1e-5)
    released = warp_volume(features, *still, False)
    assert (released - features).norm() / features.norm() > 0.3


def test_the_released_convention_reads_between_channels():
    """Index k * D / (D - 1) - 1/2: the first channel is half padding, the middle ones read themselves."""
    depth = 512
    ramp = torch.arange(depth, dtype=torch.float32)[None, :, None, None].expand(1, -1, 4, 4)
    found = warp_volume(ramp.contiguous() + 1, torch.zeros(1, 4, 4, 3, 3), torch.zeros(1, 3), False)[0, :, 1, 1]
    inner = warp_volume(torch.ones(1, depth, 4, 4), torch.zeros(1, 4, 4, 3, 3), torch.zeros(1, 3), False)[0, :, 1, 1]
    index = torch.arange(depth) * depth / (depth - 1) - 0.5
    assert inner[0] / inner[256] == pytest.approx(0.5, abs=1e-3)
    torch.testing.assert_close(found[1:-1] / inner[1:-1] - 1, index[1:-1], atol=2e-2, rtol=0)


def test_the_grid_is_the_identity_without_deviation():
    grid = deviation_grid(torch.zeros(1, 3, 5, 3, 3), torch.zeros(1, 3), 7)
    assert grid.shape == (1, 7, 3, 5, 3)
    assert grid[0, 0, 0, 0].tolist() == [-1, -1, -1]
    assert grid[0, 6, 2, 4].tolist() == [1, 1, 1]
    assert grid[0, 3, 1, 2].abs().max() < 1e-6


def test_rotation_matrices_are_rotations_in_the_published_order():
    angles = torch.tensor([[0.1, 0.4, -0.7], [0.0, 0.0, 0.0]])
    found = rotation_matrices(angles, torch.pi)
    pitch, yaw, roll = (torch.tensor(float(a)) * 0.55 * torch.pi for a in angles[0])
    rx = torch.tensor([[1, 0, 0], [0, pitch.cos(), -pitch.sin()], [0, pitch.sin(), pitch.cos()]])
    ry = torch.tensor([[yaw.cos(), 0, yaw.sin()], [0, 1, 0], [-yaw.sin(), 0, yaw.cos()]])
    rz = torch.tensor([[roll.cos(), -roll.sin(), 0], [roll.sin(), roll.cos(), 0], [0, 0, 1]])
    torch.testing.assert_close(found[0], rx @ ry @ rz, atol=1e-6, rtol=0)
    torch.testing.assert_close(found[1], torch.eye(3))
    torch.testing.assert_close(found[0] @ found[0].T, torch.eye(3), atol=1e-6, rtol=0)


def test_a_fresh_model_starts_at_no_motion():
    torch.manual_seed(0)
    model = RotationDeviation(TINY).eval()
    with torch.inference_mode():
        field, translation = model.deviation_field(model.encode(pictures(2)))
    assert field.abs().max() < 0.05
    assert translation.abs().max() < 0.05


def test_the_penalty_sees_size_and_roughness():
    smooth, rough = torch.full((1, 4, 4, 3, 3), 0.1), 0.1 * torch.ones(1, 4, 4, 3, 3)
    rough[:, ::2] *= -1
    still = torch.zeros(1, 3)
    assert field_penalty(smooth, still) == pytest.approx(0.01)
    assert field_penalty(rough, still) == pytest.approx(0.01 + 0.2)
    assert field_penalty(torch.zeros_like(smooth), torch.full((1, 3), 0.5)) == pytest.approx(0.25)


def test_published_motion_belongs_to_no_person_and_is_limited():
    model = build()
    motion = torch.tensor([[0.5, -2.0], [3.0, 0.1]])
    assert torch.equal(model.neutralize(motion, motion[0]), motion)
    source = model.encode_source(pictures(1))
    assert source.motion is None
    assert model.retarget(motion, source).tolist() == [[0.5, -1.0], [1.0, pytest.approx(0.1)]]


def test_relative_motion_is_carried_over_to_the_person_in_the_picture():
    model = build(dataclasses.replace(TINY, transfer="relative"))
    check_deviation_model(model)
    with torch.no_grad():
        driver, other = model.encode(pictures(3, seed=5)), pictures(1, seed=6)
        source, own = model.encode_source(other), model.encode(other)[0]
        way = model.neutralize(driver, driver[0])
    assert torch.equal(way[0], torch.zeros_like(own))
    torch.testing.assert_close(model.retarget(way, source), (own + driver - driver[0]).clamp(-1, 1))
    assert model.retarget(way + 9, source).max() == 1


def test_bfloat16_where_autocast_keeps_group_norms_in_float32(monkeypatch):
    """As on CUDA, whose autocast runs group norms in float32; the CPU's does not."""
    plain = torch.nn.functional.group_norm

    def exact_norm(x, *rest):
        with torch.autocast("cpu", enabled=False):
            return plain(x.float(), *rest)

    monkeypatch.setattr(torch.nn.functional, "group_norm", exact_norm)
    model, frames = RotationDeviation(TINY).train(), pictures(2)
    with torch.autocast("cpu", torch.bfloat16):
        image = model.animate_pairs(frames, model.encode(frames))
    image.mean().backward()
    assert image.dtype == torch.float32


def test_geometry_stays_in_float32_under_autocast():
    model, frames = build(), pictures(2)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        field, translation = model.deviation_field(model.encode(frames))
        moved = warp_volume(torch.ones(1, 16, 8, 8, dtype=torch.bfloat16), field, translation, True)
    assert (field.dtype, translation.dtype, moved.dtype) == (torch.float32,) * 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 100}, "size is 100, expected a multiple of 64"),
        ({"source_channels": (8, 8, 16)}, r"source_channels is \(8, 8, 16\), expected 4 whole numbers"),
        ({"extractor_channels": (8, 6, 16, 16)}, "expected multiples of 4 after the first"),
        ({"decoder_blocks": -1}, "decoder_blocks is -1"),
        ({"half_turn": 180.0}, "half_turn is 180.0, expected about pi"),
    ],
)
def test_impossible_settings_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(TINY, **change)
