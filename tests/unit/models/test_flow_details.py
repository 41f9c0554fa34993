import dataclasses

import pytest
import torch

from gesturegen_cli.errors import ConfigError
from gesturegen_cli.models.flow_crops import FLIPS, SIDE, Crops, paste_crops, place_crops
from gesturegen_cli.models.flow_details import Details
from gesturegen_cli.models.flow_deviation import FlowDeviation
from gesturegen_cli.models.flow_losses import exchange_sides, flow_losses
from gesturegen_cli.models.speaker_anatomy import CODE_JOINTS, JOINTS, joint_index
from gesturegen_cli.nn.warp import pixel_grid, warp

from .flow_maker import build, pairs

TINY = FlowDeviation.Config(
    size=64, code_dim=4, extractor_channels=(8, 8, 8, 8), head_channels=8, feature_channels=4,
    motion_channels=(8, 8, 8), code_channels=4, decoder_channels=(8, 8, 8), reader_channels=(4, 8, 8),
    painter_channels=(4, 8, 8),
)  # fmt: skip


def poses(count, seed=0):
    return torch.rand(count, len(JOINTS), 2, generator=torch.Generator().manual_seed(seed)) * 1.2 - 0.6


def crops_at(x, y, half):
    return Crops(torch.tensor([[[x, y]] * 3]), torch.tensor([half]))


def test_crops_lie_around_the_joints_of_the_codes():
    joints = poses(2)
    crops = place_crops(joints)
    for part, names in enumerate(CODE_JOINTS):
        middle = joints[:, [joint_index(name) for name in names]].mean(1)
        torch.testing.assert_close(crops.centres[:, part], middle)
    assert crops.grid.shape == (2, 3 * SIDE, SIDE, 2)


def test_the_crop_of_the_right_hand_is_mirrored():
    picture = pixel_grid(128).permute(2, 0, 1)[None]  # every pixel shows where it is
    seen = crops_at(0.1, -0.2, 0.25).sample(picture)[0]
    face, left, right = seen
    torch.testing.assert_close(face, left)
    torch.testing.assert_close(right, face.flip(-1), atol=1e-5, rtol=0)
    assert face[0, 0, 0] == pytest.approx(0.1 - 0.25 * (SIDE - 1) / SIDE, abs=0.01)


def test_local_coordinates_are_the_inverse_of_picture_coordinates():
    crops = place_crops(poses(3))
    local = torch.rand(1, 3, 4, 5, 2) * 2 - 1
    points = crops.to_picture(local)
    back = crops.to_local(points.flatten(2, 3))
    torch.testing.assert_close(back, local.flatten(2, 3).expand(3, -1, -1, -1), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("x", "y", "half"),
    [
        (0.1, -0.2, 0.3),
        (-0.55, 0.6, 0.21),
        (0.0, 0.0, 0.9),
        (1.1, -1.05, 0.4),
        (0.9, 0.2, 0.5),
        (-1.0, 0.9, 0.3),
        (0.0, 0.0, 1.4),
    ],
)
def test_pasting_puts_back_what_sampling_took(x, y, half):
    size = 96
    grid = pixel_grid(size)
    smooth = torch.stack([torch.sin(3 * grid[..., 0]), torch.cos(2 * grid[..., 1])])[None]
    crops = crops_at(x, y, half)
    for part in range(3):
        maps = torch.zeros(1, 3, 2, SIDE, SIDE)
        maps[:, part] = crops.sample(smooth)[:, part]
        pasted = paste_crops(maps, crops, size)[:, part]
        inside = ((grid - torch.tensor([x, y])).abs().amax(-1) < half - 0.1) & (grid.abs().amax(-1) < 0.95)
        outside = (grid - torch.tensor([x, y])).abs().amax(-1) > half + 0.1
        assert inside.sum() > 20
        assert (pasted - smooth)[0][:, inside].abs().max() < 0.03
        assert (pasted[0][:, outside] == 0).all()


def test_crops_outside_the_picture_add_nothing_and_do_not_fail():
    pasted = paste_crops(torch.ones(1, 3, 1, SIDE, SIDE), crops_at(3.0, -5.0, 0.3), 64)
    assert pasted.abs().max() == 0


def test_a_new_painter_changes_next_to_nothing():
    torch.manual_seed(0)
    plain = FlowDeviation(dataclasses.replace(TINY, reader_channels=(), painter_channels=()))
    with_details = FlowDeviation(TINY)
    with_details.load_state_dict(plain.state_dict() | {
        name: value for name, value in with_details.state_dict().items() if name not in plain.state_dict()
    }, strict=False)  # fmt: skip
    pictures = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        images = []
        for model in (plain.eval(), with_details.eval()):
            source = model.encode_source(pictures[:1])
            images.append(model.animate(source, source.motion))
    assert (images[0] - images[1]).abs().max() < 0.06


def test_pictures_one_by_one_are_those_of_a_batch():
    model = build(TINY)
    pictures = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        source, motion = model.encode_source(pictures[:1]), model.encode(pictures)
        together = model.animate(source, motion)
        for index in range(3):
            alone = model.animate(source, motion[index : index + 1])
            torch.testing.assert_close(together[index : index + 1], alone, atol=2e-4, rtol=1e-3)


def test_fused_draws_the_same():
    model = build(TINY)
    pictures = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        motion = model.encode(pictures)
        image, fast = (m.animate(m.encode_source(pictures[:1]), motion) for m in (model, model.fused()))
    torch.testing.assert_close(image, fast, atol=1e-4, rtol=1e-3)


def test_codes_change_face_and_hands_and_little_else():
    model = build(TINY, disturb=0.3)
    picture = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(4))
    with torch.inference_mode():
        source = model.encode_source(picture)
        motion = source.motion.clone()
        motion[:, :50] = poses(1).flatten(1) * 0.7
        other = motion.clone()
        other[:, 50:] = -other[:, 50:]
        details = [
            model.refine(source.picture, source.details, model.motion(source.layers, m), m) for m in (motion, other)
        ]
    assert (details[0].share - details[1].share)[:, 0].abs().max() > 1e-3
    for part in range(3):
        assert (details[0].flow - details[1].flow)[:, part].abs().max() > 1e-4
    assert torch.equal(details[0].crops.centres, details[1].crops.centres)


def test_codes_do_not_saturate_however_large_the_weights_get():
    reader = build(TINY).train().extractor.reader
    frames, joints = torch.rand(8, 3, 64, 64, generator=torch.Generator().manual_seed(5)), poses(8, seed=6)
    with torch.no_grad():
        before = reader(frames, joints)
        for network in (reader.face, reader.hand):
            network[-2].weight.mul_(1000)
            network[-2].bias.mul_(1000)
        codes = reader(frames, joints)
    torch.testing.assert_close(codes, before, atol=2e-3, rtol=0)
    assert codes.abs().max() < 1


def test_only_mouths_are_painted():
    model = build(TINY, disturb=0.3)
    picture = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(4))
    joints = poses(1) * 0.3
    places = {"left_eye": (0.1, -0.2), "right_eye": (-0.1, -0.2), "chin": (0.0, 0.1)}
    places |= {"left_shoulder": (0.5, 0.5), "right_shoulder": (-0.5, 0.5), "head_top": (0.0, -0.4), "neck": (0.0, 0.3)}
    for name, place in places.items():
        joints[0, joint_index(name)] = torch.tensor(place)
    with torch.inference_mode():
        source = model.encode_source(picture)
        motion = torch.cat([joints.flatten(1), source.motion[:, 50:]], 1)
        details = model.refine(source.picture, source.details, model.motion(source.layers, motion), motion)
        pixels = details.crops.grid.view(3, SIDE, SIDE, 2)[0]
        share = details.share[0, 0, 0]
        shares = model.details._mouth(model.details._local(details.crops, joints)[:, 0])[0, 0]
    assert details.share[0, 1:].abs().max() == 0
    assert details.paint[0, 1:].abs().max() == 0
    row, column = divmod(int(shares.argmax()), SIDE)
    assert (pixels[row, column] - torch.tensor([0.0, -0.2 + 0.6 * 0.3])).norm() < 0.02
    eyes = (pixels - torch.tensor([0.1, -0.2])).norm(dim=-1) < 0.03
    assert eyes.any()
    assert share[eyes].max() < 0.05
    assert share.max() > 0.05


def test_each_crop_moves_its_own_sheet_as_it_was_drawn():
    size = 64
    grid = pixel_grid(size)
    picture = torch.stack([torch.sin(3 * grid[..., 0]), torch.cos(2 * grid[..., 1]), grid.sum(-1) / 4])[None]
    crops = Crops(torch.tensor([[[0.0, -0.4], [0.45, 0.4], [-0.45, 0.4]]]), torch.tensor([0.4]))
    shifts = torch.tensor([[0.0, 0.0], [0.05, 0.0], [-0.1, 0.02], [0.02, 0.1]])  # of background, body, left, right arm
    grids = grid + shifts[None, :, None, None]
    places = crops.grid.view(1, 3, SIDE, SIDE, 2) + shifts[None, 1:, None, None]
    smooth = torch.stack([torch.sin(2 * pixel_grid(SIDE)[..., 0]), torch.cos(pixel_grid(SIDE)[..., 1])])
    flow = 0.1 * smooth * torch.tensor([1.0, -1.0, 0.5])[None, :, None, None, None]
    empty = torch.zeros(1, 3, 1, SIDE, SIDE)
    details = Details(crops, places, flow, empty.expand(-1, -1, 3, -1, -1), empty)
    pasted = details.pasted(size)[:, :6].view(1, 3, 2, size, size).permute(0, 1, 3, 4, 2)
    drawn = details.drawn(picture)
    for part in range(3):
        moved = crops.sample(warp(picture, grids[:, part + 1] + pasted[:, part]))[:, part]
        assert (moved - drawn[:, part])[..., 6:-6, 6:-6].abs().max() < 0.03
        still = crops.sample(warp(picture, grids[:, part + 1]))[:, part]
        assert (still - drawn[:, part])[..., 6:-6, 6:-6].abs().max() > 0.03


def labelled_pairs():
    draw = torch.Generator().manual_seed(0)
    batch = pairs(labelled=True)
    for role in ("source", "driving"):
        batch[f"{role}_face"] = torch.rand(2, 8, generator=draw)
        batch[f"{role}_hands"] = torch.rand(2, 2, 8, generator=draw)
    return batch


def test_every_parameter_learns_from_labelled_pairs():
    model = build(TINY).train()
    terms = flow_losses(model, labelled_pairs(), {"hand_weight": 3.0}, torch.Generator().manual_seed(0))
    assert {"details", "articulation"} <= terms.keys()
    sum(term for term in terms.values() if term.requires_grad).backward()
    still = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert still == []


def test_without_labels_only_the_readout_of_the_codes_stays():
    model = build(TINY).train()
    terms = flow_losses(model, pairs(labelled=False), {"equivariance": 1.0}, torch.Generator().manual_seed(0))
    assert "details" in terms
    assert "articulation" not in terms
    sum(terms.values()).backward()
    still = {name.split(".")[2] for name, p in model.named_parameters() if p.grad is None}
    assert still == {"tell_face", "tell_hand"}


def test_in_mirrored_pairs_hands_are_exchanged_and_the_gaze_turns():
    batch = labelled_pairs()
    exchanged = exchange_sides(batch)
    assert torch.equal(exchanged["driving_hands"][0], batch["driving_hands"][0])
    assert torch.equal(exchanged["driving_hands"][1], batch["driving_hands"][1].flip(0))
    turned = batch["driving_face"][1].clone()
    turned[6] *= -1
    assert torch.equal(exchanged["driving_face"][1], turned)
    assert len(FLIPS) == 3


@pytest.mark.parametrize("key", ["reader_channels", "painter_channels"])
def test_two_widths_are_refused(key):
    with pytest.raises(ConfigError, match=f"{key} is .*expected 3 whole numbers"):
        FlowDeviation.Config(**{key: (8, 8)})


@pytest.mark.parametrize("change", [{"painter_channels": ()}, {"reader_channels": ()}])
def test_reader_and_painter_do_without_each_other(change):
    model = build(dataclasses.replace(TINY, **change))
    pictures = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(7))
    with torch.inference_mode():
        source = model.encode_source(pictures[:1])
        image = model.animate(source, model.encode(pictures))
    assert (source.details is None) == ("painter_channels" in change)
    assert image.isfinite().all()
