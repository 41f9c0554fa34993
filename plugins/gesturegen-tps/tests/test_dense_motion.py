from __future__ import annotations

import torch

from gesturegen_tps.background import map_points
from gesturegen_tps.dense_motion import Shrink, _shares, candidate_grids, gaussians, moved_copies
from gesturegen_tps.sampling_grid import sample, warp
from gesturegen_tps.thin_plate import corner_grid, fit_thin_plates

from .small import pictures, tiny_tps

CPU = torch.device("cpu")
POINTS = 1.6 * torch.rand(2, 3, 5, 2, generator=torch.Generator().manual_seed(0)) - 0.8


def test_sampling_at_pixel_centres_is_exact_and_outside_is_black():
    frames = pictures(2)
    grid = corner_grid(64, CPU).expand(2, -1, -1, -1)
    torch.testing.assert_close(sample(frames, grid), frames, atol=1e-5, rtol=0)
    shifted = sample(frames[:1], grid - torch.tensor([2 * 5 / 63, 0]))
    torch.testing.assert_close(shifted[:, :, :, 5:], frames[[0, 0], :, :, :-5], atol=1e-4, rtol=0)
    assert shifted[..., :4].abs().max() == 0


def test_a_coarse_identity_grid_warps_to_the_same_picture():
    frames = pictures(1)
    torch.testing.assert_close(warp(frames, corner_grid(16, CPU)[None]), frames, atol=1e-5, rtol=0)


def test_transforms_follow_their_points():
    source = POINTS.flip(0)
    grids = candidate_grids(16, source, POINTS, None)
    grid = corner_grid(16, CPU)
    assert grids.shape == (2, 4, 16, 16, 2)
    assert torch.equal(grids[:, 0], grid.expand(2, -1, -1, -1))
    for item, k in ((0, 0), (1, 2)):
        expected = fit_thin_plates(POINTS[item, k], source[item, k])(grid.view(-1, 2))
        torch.testing.assert_close(grids[item, k + 1].view(-1, 2), expected, atol=1e-4, rtol=1e-4)
    turned = torch.tensor([[[0.9, 0.1, 0.2], [-0.1, 1.1, 0.0], [0.0, 0.0, 1.0]]] * 2)
    places = grid.view(-1, 2)
    expected = torch.cat([places, torch.ones(256, 1)], 1) @ turned[0, :2].T
    torch.testing.assert_close(map_points(turned, places)[1], expected)
    moved = candidate_grids(16, POINTS, POINTS, turned)[:, 0]
    torch.testing.assert_close(moved[0].reshape(-1, 2), expected)


def test_copies_lie_together_channel_by_channel():
    small = pictures(2, 16)
    grids = candidate_grids(16, POINTS.flip(0), POINTS, None)
    copies = moved_copies(small, grids)
    assert copies.shape == (2, 12, 16, 16)
    for k in range(4):
        torch.testing.assert_close(copies[:, 3 * k : 3 * k + 3], sample(small, grids[:, k]))
    one = moved_copies(small[:1], grids)
    torch.testing.assert_close(one[0], copies[0])


def test_heat_maps_are_gaussians_at_the_points():
    maps = gaussians(16, POINTS)
    assert maps.shape == (2, 15, 16, 16)
    place, point = corner_grid(16, CPU)[3, 9], POINTS[1, 2, 4]
    expected = torch.exp(-(place - point).square().sum() / 2 / 0.01)
    torch.testing.assert_close(maps[1, 14, 3, 9], expected)


def test_shares_leave_out_what_is_not_kept():
    keep = torch.tensor([[True, False, True], [True, True, True]])
    shares = _shares(torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)), keep)
    torch.testing.assert_close(shares.sum(1), torch.ones(2, 4, 4))
    assert (shares[0, 1] == 0).all()
    assert (shares[1] > 0).all()


def test_without_any_transform_the_flow_is_the_background():
    model = tiny_tps()
    source = model.encode_source(pictures(2))
    keep = torch.tensor([[True, False, False, False]] * 2)
    dense = model.dense_motion(source, POINTS, keep=keep)
    torch.testing.assert_close(dense.grid, corner_grid(16, CPU).expand(2, -1, -1, -1))
    assert [tuple(seen.shape[2:]) for seen in dense.occlusion] == [(8, 8), (16, 16), (32, 32), (64, 64)]
    assert all((seen > 0).all() and (seen < 1).all() for seen in dense.occlusion)


def test_the_flow_lies_among_the_candidates():
    model = tiny_tps()
    source = model.encode_source(pictures(2))
    with torch.no_grad():
        dense = model.dense_motion(source, POINTS)
    grids = candidate_grids(16, source.points, POINTS, None)
    assert (dense.grid <= grids.amax(1) + 1e-5).all()
    assert (dense.grid >= grids.amin(1) - 1e-5).all()


def test_the_order_of_what_dense_motion_sees_is_a_matter_of_its_first_weights():
    first, last = tiny_tps(heatmaps_first=True), tiny_tps(heatmaps_first=False)
    last.load_state_dict(first.state_dict())
    block = last.dense_motion_network.hourglass.encoder.down_blocks[0]
    before, maps = block.conv.weight.detach().clone(), 16  # 1 + 5 x 3
    block.conv.weight.data = torch.cat([before[:, maps:], before[:, :maps]], 1)
    source = pictures(1)
    motion = first.encode(pictures(2, seed=1))
    grids = [model.dense_motion(model.encode_source(source), model.unpack(motion)).grid for model in (first, last)]
    # What follows sees the input once more beside the last level, where nothing was reordered.
    levels = [model.dense_motion_network.hourglass.encoder.down_blocks[0] for model in (first, last)]
    assert torch.equal(levels[0].conv.weight[:, :maps], levels[1].conv.weight[:, -maps:])
    assert not torch.equal(*grids)


def test_shrinking_blurs_first():
    shrink = Shrink()
    assert shrink.weight.shape == (3, 1, 13, 13)
    torch.testing.assert_close(shrink.weight.sum((1, 2, 3)), torch.ones(3))
    centre = shrink.weight[0, 0, 6]
    torch.testing.assert_close(centre[4] / centre[6], torch.tensor(-4 / (2 * 1.5**2)).exp())
    checks = ((torch.arange(64)[:, None] + torch.arange(64)) % 2).float().expand(1, 3, -1, -1)
    small = shrink(checks)
    assert small.shape == (1, 3, 16, 16)
    assert (small[..., 2:-2, 2:-2] - 0.5).abs().max() < 1e-3
