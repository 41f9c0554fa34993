"""Small models of the plugin, and pictures for them."""

from __future__ import annotations

from dataclasses import replace

import torch

from gesturegen_tps.lmdm import Lmdm
from gesturegen_tps.tps_deviation import TpsDeviation

TINY = TpsDeviation.Config(
    size=64,
    transforms=3,
    keypoint_width=4,
    motion_width=8,
    motion_widest=32,
    motion_blocks=3,
    image_channels=(4, 8, 12, 16),
    refine_width=4,
)
TINY_LMDM = Lmdm.Config(motion_dim=6, audio_dim=5, frames=20, width=16, layers=2, heads=2, feedforward=24, dropout=0.1)


def tiny_tps(**changes: object) -> TpsDeviation:
    """A tiny deviation model in eval mode."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return TpsDeviation(replace(TINY, **changes)).eval()


def tiny_lmdm(**changes: object) -> Lmdm:
    """A tiny denoiser in eval mode."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Lmdm(replace(TINY_LMDM, **changes)).eval()


def pictures(count: int, size: int = 64, seed: int = 0) -> torch.Tensor:
    """Smooth random pictures `count 3 size size` in [0, 1]."""
    coarse = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic", align_corners=True).clamp(0, 1)
