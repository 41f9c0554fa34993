"""How near two pictures are, on RGB in [0, 1]; and how sharp one is."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from gesturegen_cli.errors import InputError

SSIM_WINDOW = 11
SSIM_SIGMA = 1.5
SSIM_K1, SSIM_K2 = 0.01, 0.03
MAX_PSNR = 100.0
"""PSNR of identical pictures in dB; the formula has no finite value for them."""


def psnr(made: Tensor, real: Tensor) -> Tensor:
    """Peak signal-to-noise ratio `b` in dB, 10 log10(1 / MSE) over all channels, at most MAX_PSNR."""
    return psnr_of((made - real).square().mean(dim=(1, 2, 3)))


def psnr_of(error: Tensor) -> Tensor:
    """PSNR in dB of mean squared errors."""
    return (-10.0 * torch.log10(error.clamp_min(10 ** (-MAX_PSNR / 10)))).clamp_max(MAX_PSNR)


def ssim(made: Tensor, real: Tensor) -> Tensor:
    """Structural similarity `b`: Gaussian windows of 11 x 11 and sigma 1.5 that lie wholly inside, channels averaged.

    Formula (13) of Wang, Bovik, Sheikh and Simoncelli, Image quality assessment, IEEE TIP 13(4), 2004, data range 1.
    Raises InputError when the shapes differ or a side is under 11 pixels.
    """
    if made.shape != real.shape or made.ndim != 4 or min(made.shape[-2:]) < SSIM_WINDOW:
        found = f"{tuple(made.shape)} and {tuple(real.shape)}"
        raise InputError(
            f"cannot compare pictures {found}, expected equal b 3 h w of at least {SSIM_WINDOW} pixels", ""
        )
    mean_made, mean_real = _blur(made), _blur(real)
    variance_made = _blur(made * made) - mean_made**2
    variance_real = _blur(real * real) - mean_real**2
    covariance = _blur(made * real) - mean_made * mean_real
    c1, c2 = SSIM_K1**2, SSIM_K2**2
    luminance = (2 * mean_made * mean_real + c1) / (mean_made**2 + mean_real**2 + c1)
    structure = (2 * covariance + c2) / (variance_made + variance_real + c2)
    return (luminance * structure).mean(dim=(1, 2, 3))


def _blur(images: Tensor) -> Tensor:
    """Gaussian window over `b c h w`, one axis after the other, without padding."""
    offsets = torch.arange(SSIM_WINDOW, dtype=images.dtype, device=images.device) - SSIM_WINDOW // 2
    weights = torch.exp(-offsets.square() / (2 * SSIM_SIGMA**2))
    channels = images.shape[1]
    kernel = (weights / weights.sum()).expand(channels, 1, SSIM_WINDOW)
    rows = functional.conv2d(images, kernel.unsqueeze(-1), groups=channels)
    return functional.conv2d(rows, kernel.unsqueeze(-2), groups=channels)


def laplacian(images: Tensor) -> Tensor:
    """Second differences `b 1 h w` of the grey values of `b 3 h w`, edges repeated; their mean square tells sharpness.

    The "variance of the Laplacian" of Pech-Pacheco et al., Diatom autofocusing in brightfield microscopy, ICPR 2000: a
    Laplacian has mean 0 but for the edges.
    """
    grey = functional.pad(images.mean(dim=1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    middle = grey[..., 1:-1, 1:-1]
    return grey[..., :-2, 1:-1] + grey[..., 2:, 1:-1] + grey[..., 1:-1, :-2] + grey[..., 1:-1, 2:] - 4 * middle
