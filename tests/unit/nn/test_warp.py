import pytest
import torch

from gesturegen_cli.nn.warp import exact, expected_position, gaussian, pixel_grid, warp


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_pixel_grid_is_the_identity():
    picture = noise(2, 3, 16, 16)
    torch.testing.assert_close(warp(picture, pixel_grid(16).expand(2, -1, -1, -1)), picture, atol=1e-6, rtol=0)


def test_a_shift_by_whole_pixels_moves_pixels():
    picture = noise(1, 2, 8, 8)
    shifted = warp(picture, pixel_grid(8)[None] + torch.tensor([2 / 8, 0.0]))
    torch.testing.assert_close(shifted[..., :-1], picture[..., 1:], atol=1e-6, rtol=0)
    torch.testing.assert_close(shifted[..., -1], picture[..., -1], atol=1e-6, rtol=0)


def test_linear_pictures_are_sampled_exactly():
    grid = pixel_grid(12)[None] * 0.7 + 0.05
    ramp = pixel_grid(32).permute(2, 0, 1)[None]
    torch.testing.assert_close(warp(ramp, grid), grid.permute(0, 3, 1, 2), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("width", "height"), [(9, 9), (12, 7), (2, 2)])
def test_the_shared_source_is_gathered_like_it_is_sampled(width, height):
    features = noise(1, 20, height, width)
    grid = 1.2 * noise(3, 5, 6, 2, seed=1)
    gathered = warp(features, grid)
    sampled = warp(features.expand(3, -1, -1, -1), grid)
    torch.testing.assert_close(gathered, sampled, atol=1e-5, rtol=0)
    assert gathered.is_contiguous(memory_format=torch.channels_last)


def test_gradients_reach_source_and_grid_of_a_shared_source():
    features, grid = noise(1, 20, 8, 8).requires_grad_(), (0.5 * noise(2, 4, 4, 2)).requires_grad_()
    warp(features, grid).square().sum().backward()
    assert features.grad.any()
    assert grid.grad.any()


def test_warps_stay_exact_under_bfloat16_autocast():
    picture, grid = noise(1, 3, 64, 64), pixel_grid(64)[None]
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(warp(picture, grid), picture, atol=1e-5, rtol=0)
        with exact(picture):
            assert (picture[0, 0] @ picture[0, 0]).dtype == torch.float32


def test_the_expected_position_of_one_pixel_is_its_centre():
    weights = torch.zeros(1, 2, 8, 8)
    weights[0, 0, 3, 6] = 1
    weights[0, 1, :, :] = 1 / 64
    expected = torch.stack([pixel_grid(8)[3, 6], torch.zeros(2)])[None]
    torch.testing.assert_close(expected_position(weights), expected, atol=1e-6, rtol=0)


def test_gaussians_have_no_denormal_tails_not_even_in_products():
    far = gaussian(torch.linspace(0, 400, 500))
    torch.testing.assert_close(far[:40], torch.exp(-torch.linspace(0, 400, 500) / 2)[:40])
    assert far.min() * far.min() > torch.finfo(torch.float32).tiny
    assert far.max() == 1
    assert far[-1] < 1e-8
