from __future__ import annotations

import pytest

from gesturegen_cli.testing import check_denoiser, check_deviation_model

from .small import tiny_lmdm, tiny_tps


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("refine", [False, True])
def test_the_deviation_model_conforms(background, refine):
    check_deviation_model(tiny_tps(background=background, refine=refine))


def test_relative_transfer_conforms():
    check_deviation_model(tiny_tps(transfer="relative"))


@pytest.mark.parametrize("seed_frames", [1, 4])
def test_the_denoiser_conforms(seed_frames):
    check_denoiser(tiny_lmdm(), motion_dim=6, audio_dim=5, frames=20, seed_frames=seed_frames)


def test_the_denoiser_conforms_in_short_windows():
    check_denoiser(tiny_lmdm(), motion_dim=6, audio_dim=5, frames=7)
