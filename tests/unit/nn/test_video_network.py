import pytest
import torch
from torch.nn import functional

from gesturegen_cli.nn.video_network import FEATURES, SpaceTimeNetwork, shrink, with_changes


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    made = SpaceTimeNetwork()
    made.train()
    with torch.no_grad():  # statistics that are not those of a fresh network
        made(clips(9))
    return made.eval()


def clips(seed, n=2, size=64):
    return torch.rand(n, 16, 3, size, size, generator=torch.Generator().manual_seed(seed))


def test_clips_of_any_side_give_one_row_of_features_each(network):
    with torch.no_grad():
        assert network(clips(1)).shape == (2, FEATURES)
        assert network(clips(1, 1, 96)).shape == (1, FEATURES)
        assert network(clips(1, 1, 48)).shape == (1, FEATURES)


def test_whitening_is_applied_to_the_raw_features_and_large_ones_are_tamed(network):
    with torch.no_grad():
        raw = network.raw(clips(2))
        network.centre.copy_(raw.mean(0))
        network.whiten.copy_(200 * torch.eye(FEATURES).roll(1, 0))
        wanted = 200 * (raw - raw.mean(0)).roll(-1, 1)
        wanted = wanted.sign() * (wanted.abs() + (wanted**2 + 1).sqrt()).log()
        assert torch.allclose(network(clips(2)), wanted, atol=1e-3)
        assert wanted.abs().max() > 1


def test_changes_stand_beside_the_colours():
    held = clips(6, 1)[:, :1].expand(1, 16, 3, 64, 64).clone()
    assert not with_changes(held)[:, :, 3:].any()
    held[:, 5] += 0.01
    found = with_changes(held)
    assert torch.equal(found[:, :, :3], held * 4 - 2)
    assert found[:, 5, 3:].mean() == pytest.approx(2 / 6, rel=1e-3)  # 2 * 0.01 / (0.01 + 0.05)
    assert found[:, 6, 3:].mean() == pytest.approx(-2 / 6, rel=1e-3)
    assert not found[:, 7:, 3:].any()


def test_order_of_frames_place_and_colour_all_matter(network):
    with torch.no_grad():
        whole = clips(3, 1)
        whole[:, :, :, :32] *= torch.linspace(0, 1, 16)[None, :, None, None, None]
        changed = [whole.flip(1), whole.flip(3), whole.flip(2), whole[:, :1].expand_as(whole)]
        base = network.raw(whole)
        assert all((network.raw(other) - base).abs().max() > 1e-3 for other in changed)


def test_every_weight_learns(network):
    network.zero_grad()
    network.raw(clips(4)).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in network.parameters())


def test_shrinking_averages_and_leaves_the_right_size_alone():
    checks = torch.zeros(1, 16, 3, 256, 256)
    checks[..., ::2, ::2] = 1
    checks[..., 1::2, 1::2] = 1
    assert (shrink(checks)[..., 4:-4, 4:-4] - 0.5).abs().max() < 0.02  # without antialiasing it would be 0 or 1
    small = clips(5)
    assert shrink(small) is small
    ramp = torch.linspace(0, 1, 128).expand(1, 16, 3, 128, 128)
    assert torch.allclose(shrink(ramp)[..., 1:-1], functional.avg_pool2d(ramp[0], 2)[None, ..., 1:-1], atol=1e-3)


@pytest.mark.parametrize("shape", [(2, 15, 3, 64, 64), (2, 3, 16, 64, 64), (2, 16, 3, 64, 48), (16, 3, 64, 64)])
def test_other_shapes_are_refused(network, shape):
    with pytest.raises(ValueError, match="expected n 16 3 h h"):
        network(torch.zeros(shape))
