import dataclasses

import pytest
import torch

from gesturegen_cli.errors import ConfigError
from gesturegen_cli.models.flow_decoder import Window
from gesturegen_cli.models.flow_deviation import FlowDeviation
from gesturegen_cli.models.flow_extractor import joint_certainty
from gesturegen_cli.models.flow_plates import layer_plates
from gesturegen_cli.models.speaker_anatomy import JOINTS, LAYERS, SHEETS
from gesturegen_cli.nn.warp import pixel_grid

from . import flow_maker

TINY = FlowDeviation.Config(
    size=64,
    code_dim=4,
    extractor_channels=(8, 8, 12, 12),
    head_channels=8,
    feature_channels=4,
    motion_channels=(8, 8, 12),
    code_channels=4,
    decoder_channels=(8, 8, 12),
)


def build(config=TINY, disturb=0.05):
    model = flow_maker.build(config, disturb)
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(0, 0.2)
            elif name.endswith("running_var"):
                buffer.uniform_(0.5, 1.5)
    return model


def test_certainty_is_one_for_a_peak_and_small_for_a_flat_map():
    heatmaps = torch.zeros(1, 3, 16, 16)
    heatmaps[0, 1, 4, 7] = 30
    heatmaps[0, 2, 2, 2] = heatmaps[0, 2, 12, 12] = 30  # two places: the mean lies between them
    flat, peak, torn = joint_certainty(heatmaps)[0].tolist()
    assert peak == pytest.approx(1, abs=1e-5)
    assert flat == pytest.approx(29 / 256, abs=0.02)
    assert torn < 0.01


def pictures(count, size=64, seed=1):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", [64, 128])
def test_shapes_follow_the_size(size):
    model = build(dataclasses.replace(TINY, size=size))
    frames = pictures(3, size)
    with torch.inference_mode():
        seen = model.extract(frames)
        field = model.compose(seen, seen.motion)
        image = model.animate_parts(model.encode_source(frames[:1]), seen.motion)
    assert model.motion_dim == 50 + 3 * 4
    assert model.encode(frames).shape == (3, model.motion_dim)
    assert seen.joints.shape == (3, 25, 2)
    assert seen.codes.shape == (3, 3, 4)
    assert seen.heatmaps.shape == (3, 25, size // 4, size // 4)
    assert seen.layer_logits.shape == field.layer_logits.shape == (3, 13, size // 4, size // 4)
    assert field.grid.shape == (3, size // 4, size // 4, 2)
    assert image.image.shape == image.warped.shape == image.synthetic.shape == (3, 3, size, size)
    assert image.mask.shape == (3, 1, size, size)
    assert image.grids.shape == (3, 4, size, size, 2)
    assert image.shares.shape == (3, 4, size, size)
    torch.testing.assert_close(image.shares.sum(1), torch.ones(3, size, size))
    assert image.image.min() >= 0
    assert image.image.max() <= 1


def test_one_source_animates_like_as_many_sources_as_frames():
    model = build()
    frames = pictures(3)
    with torch.inference_mode():
        motion = model.encode(frames)
        shared = model.animate(model.encode_source(frames[:1]), motion)
        copies = frames[:1].expand(3, -1, -1, -1)
        field = model.compose(model.extract(copies), motion)
        plates = layer_plates(copies, model.extract(copies).layer_logits)
        separate = model.decode(copies, model.encode_pyramid(copies), plates, field).image
    torch.testing.assert_close(shared, separate, atol=1e-5, rtol=0)


def test_a_window_is_a_part_of_the_whole_away_from_its_border():
    model = build()
    frames = pictures(2)
    with torch.inference_mode():
        seen = model.extract(frames)
        field = model.compose(seen, seen.motion.flip(0))
        once = frames, model.encode_pyramid(frames), layer_plates(frames, seen.layer_logits)
        whole = model.decode(*once, field)
        part = model.decode(*once, field, window=Window(top=2, left=1, cells=4))
    assert part.image.shape == (2, 3, 32, 32)
    torch.testing.assert_close(part.grids[..., 3:-3, 3:-3, :], whole.grids[..., 19:45, 11:37, :], atol=0.02, rtol=0)
    torch.testing.assert_close(part.shares[..., 3:-3, 3:-3], whole.shares[..., 19:45, 11:37], atol=1e-5, rtol=0)
    torch.testing.assert_close(part.image[:, :, 4:-4, 4:-4], whole.image[:, :, 20:44, 12:36], atol=0.1, rtol=0)
    assert model.decode(*once, field, window=Window(0, 0, 8)).image.equal(whole.image)


def test_folding_batch_norms_changes_no_output():
    model = build()
    fast = model.fused()
    frames = pictures(4)
    with torch.inference_mode():
        motion = model.encode(frames)
        torch.testing.assert_close(fast.encode(frames), motion, atol=1e-4, rtol=0)
        one = model.animate(model.encode_source(frames[:1]), motion)
        other = fast.animate(fast.encode_source(frames[:1]), motion)
    torch.testing.assert_close(other, one, atol=1e-4, rtol=0)
    assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in fast.modules())
    assert any(isinstance(part, torch.nn.BatchNorm2d) for part in model.modules())


def test_bfloat16_autocast_moves_no_pixel():
    model = build()
    frames = pictures(2)
    with torch.inference_mode():
        seen = model.extract(frames)
        with torch.autocast("cpu", torch.bfloat16):
            field = model.compose(seen, seen.motion.flip(0))
            plates = layer_plates(frames, seen.layer_logits)
            image = model.decode(frames, model.encode_pyramid(frames), plates, field)
    assert field.grid.dtype == image.image.dtype == torch.float32
    exact = model.compose(seen, seen.motion.flip(0))
    assert (field.grids - exact.grids).abs().max() < 1 / 64


def test_without_correction_a_frame_drives_itself_to_the_identity():
    model = build(disturb=0.0)
    frames = pictures(2)
    with torch.inference_mode():
        seen = model.extract(frames)
        field = model.compose(seen, seen.motion)
    torch.testing.assert_close(field.grids, pixel_grid(16).expand(2, 4, -1, -1, -1), atol=1e-5, rtol=0)


def test_an_arm_moves_its_own_sheet_only():
    model = build(disturb=0.0)
    with torch.inference_mode():
        seen = model.extract(pictures(1))
        motion = seen.motion.clone()
        for name in JOINTS:
            if name.startswith("left") and name not in ("left_shoulder", "left_eye"):
                motion[:, 2 * JOINTS.index(name)] += 0.2
        moved = (model.compose(seen, motion).grids - pixel_grid(16)).abs().amax((0, 2, 3, 4))
    names = dict(zip(SHEETS, moved.tolist(), strict=True))
    assert names["left_arm"] > 0.1
    assert max(names["background"], names["body"], names["right_arm"]) < 1e-5


def test_flow_is_asked_of_the_sheet_that_is_seen():
    model = build()
    batch = flow_maker.pairs(labelled=True) | {"mirrored": torch.tensor([False, False])}
    batch["driving_parts"][:] = LAYERS.index("right_palm")
    model.train()
    terms = model.losses(batch, {}, torch.Generator().manual_seed(0))
    (slopes,) = torch.autograd.grad(terms["flow"], model.motion.correction.bias)
    offsets = slopes[len(LAYERS) : -1].view(len(SHEETS), 2).abs().sum(1)
    assert offsets[SHEETS.index("right_arm")] > 0
    assert offsets.sum() == offsets[SHEETS.index("right_arm")]


def test_the_default_model_is_small():
    from torch.utils.flop_counter import FlopCounterMode

    model = FlowDeviation(FlowDeviation.Config()).eval()
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(3.193e6, rel=0.01)
    assert model.motion_dim == 98
    picture = pictures(1, 256)
    with torch.inference_mode():
        source = model.encode_source(picture)
        with FlopCounterMode(display=False) as counter:
            model.animate(source, source.motion)
    assert counter.get_total_flops() <= 6e9


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [("size", 100, "multiple of 64"), ("code_dim", 0, "at least 1"), ("motion_channels", (8, 8), "3 whole numbers")],
)
def test_impossible_widths_are_refused_by_name_and_value(key, value, says):
    with pytest.raises(ConfigError, match=key) as caught:
        FlowDeviation.Config(**{key: value})
    assert str(value) in str(caught.value)
    assert says in str(caught.value)
