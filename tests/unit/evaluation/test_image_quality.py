"""Image scores against what mathematics says they are."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from gesturegen_cli.errors import InputError
from gesturegen_cli.evaluation.image_quality import MAX_PSNR, laplacian, psnr, ssim


def pictures(seed: int, *shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def slow_ssim(made: np.ndarray, real: np.ndarray) -> float:
    """Definition of SSIM, window by window, in float64; `3 h w` each."""
    offsets = np.arange(11) - 5
    weights = np.exp(-(offsets[:, None] ** 2 + offsets[None, :] ** 2) / (2 * 1.5**2))
    weights /= weights.sum()
    values = []
    for channel_made, channel_real in zip(made, real, strict=True):
        for y in range(made.shape[1] - 10):
            for x in range(made.shape[2] - 10):
                a, b = channel_made[y : y + 11, x : x + 11], channel_real[y : y + 11, x : x + 11]
                mean_a, mean_b = (weights * a).sum(), (weights * b).sum()
                spread_a, spread_b = (weights * (a - mean_a) ** 2).sum(), (weights * (b - mean_b) ** 2).sum()
                shared = (weights * (a - mean_a) * (b - mean_b)).sum()
                top = (2 * mean_a * mean_b + 1e-4) * (2 * shared + 9e-4)
                values.append(top / ((mean_a**2 + mean_b**2 + 1e-4) * (spread_a + spread_b + 9e-4)))
    return float(np.mean(values))


def test_identical_pictures_get_the_best_scores():
    image = pictures(0, 2, 3, 20, 24)
    assert psnr(image, image).tolist() == [MAX_PSNR, MAX_PSNR]
    assert torch.allclose(ssim(image, image), torch.ones(2), atol=1e-6)


def test_a_constant_error_has_the_psnr_of_the_formula():
    real = torch.full((1, 3, 16, 16), 0.5)
    assert float(psnr(real + 0.1, real)) == pytest.approx(20.0, abs=1e-5)


def test_psnr_equals_the_definition_in_float64():
    made, real = pictures(6, 1, 3, 40, 40), pictures(7, 1, 3, 40, 40)
    error = np.mean((made.double().numpy() - real.double().numpy()) ** 2)
    assert float(psnr(made, real)) == pytest.approx(10 * math.log10(1 / error), abs=1e-5)


def test_noise_of_known_strength_has_its_psnr():
    real = torch.full((1, 3, 128, 128), 0.5)
    noise = 0.05 * torch.randn(real.shape, generator=torch.Generator().manual_seed(1))
    assert float(psnr(real + noise, real)) == pytest.approx(-20 * math.log10(0.05), abs=0.1)


def test_ssim_equals_the_definition_computed_window_by_window():
    real = pictures(2, 1, 3, 17, 19)
    made = (real + 0.2 * pictures(3, 1, 3, 17, 19)).clamp(0, 1)
    expected = slow_ssim(made[0].double().numpy(), real[0].double().numpy())
    assert float(ssim(made, real)) == pytest.approx(expected, abs=1e-5)


def test_scores_of_a_picture_do_not_depend_on_its_batch():
    made, real = pictures(4, 3, 3, 16, 16), pictures(5, 3, 3, 16, 16)
    assert float(ssim(made, real)[1]) == pytest.approx(float(ssim(made[1:2], real[1:2])), abs=1e-6)


@pytest.mark.parametrize("shape", [(1, 3, 16, 18), (1, 3, 10, 16)])
def test_pictures_that_cannot_be_compared_are_refused(shape):
    with pytest.raises(InputError, match="at least 11 pixels"):
        ssim(torch.zeros(shape), torch.zeros((1, 3, shape[2], 16)))


def test_the_laplacian_of_a_plane_is_nothing_and_of_a_dot_known():
    plane = torch.linspace(0, 1, 16).expand(1, 3, 16, 16)
    assert laplacian(plane)[..., 1:-1].abs().max() < 1e-6
    dot = torch.zeros(1, 3, 5, 5)
    dot[:, :, 2, 2] = 1.0
    assert laplacian(dot)[0, 0, 1:4, 1:4].tolist() == [[0, 1, 0], [1, -4, 1], [0, 1, 0]]
