"""The training objective against its formulas."""

from __future__ import annotations

import math

import pytest
import torch

from gesturegen_cli.config.schema import Diffusion
from gesturegen_cli.diffusion.denoising import diffusion_loss, motion_errors, training_scheduler
from gesturegen_cli.types import Conditioning


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _cond(batch: int, frames: int, *, valid: float = 1.0) -> Conditioning:
    g = _generator(3)
    seed, source = torch.randn(batch, 4, 2, generator=g), torch.randn(batch, 2, generator=g)
    return Conditioning(
        torch.randn(batch, frames, 3, generator=g), seed, torch.full((batch, 4), valid), source, torch.ones(batch)
    )


def test_noise_follows_the_squared_cosine():
    alphas = training_scheduler(Diffusion()).alphas_cumprod.double()

    def level(u: float) -> float:
        return math.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2

    expected = torch.tensor([level((k + 1) / 1000) / level(0) for k in range(999)], dtype=torch.float64)
    torch.testing.assert_close(alphas[:999], expected, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("schedule", ["squaredcos_cap_v2", "linear", "scaled_linear"])
@pytest.mark.parametrize("steps", [50, 1000])
def test_every_schedule_ends_in_noise(schedule, steps):
    scheduler = training_scheduler(Diffusion(beta_schedule=schedule, train_timesteps=steps))
    assert scheduler.alphas_cumprod[-1] < 0.005
    assert (scheduler.alphas_cumprod.diff() < 0).all()


def test_parts_are_mean_squares_of_differences_across_the_seam():
    error = torch.randn(3, 6, 2, generator=_generator())
    before = torch.cat([torch.zeros(3, 2, 2), error], dim=1)
    parts = motion_errors(error, torch.ones(3, 4))
    torch.testing.assert_close(parts["position"], error.square().mean())
    torch.testing.assert_close(parts["velocity"], (before[:, 2:] - before[:, 1:-1]).square().mean())
    second = before[:, 2:] - 2 * before[:, 1:-1] + before[:, :-2]
    torch.testing.assert_close(parts["acceleration"], second.square().mean())


def test_without_valid_seeds_there_is_no_seam():
    error = torch.randn(3, 6, 2, generator=_generator())
    parts = motion_errors(error, torch.zeros(3, 4))
    torch.testing.assert_close(parts["velocity"], error.diff(dim=1).square().mean())
    torch.testing.assert_close(parts["acceleration"], error.diff(n=2, dim=1).square().mean())
    constant = motion_errors(torch.ones(1, 6, 2), torch.zeros(1, 4))
    assert constant["velocity"] == constant["acceleration"] == 0


@pytest.mark.parametrize("frames", [1, 2, 3])
@pytest.mark.parametrize("seeds", [1, 4])
def test_parts_are_finite_for_the_shortest_windows(frames, seeds):
    for valid in (0.0, 1.0):
        parts = motion_errors(torch.ones(2, frames, 2), torch.full((2, seeds), valid))
        assert all(bool(torch.isfinite(part)) for part in parts.values())


def test_a_perfect_denoiser_has_no_loss_and_a_constant_error_has_a_known_one():
    clean, config = torch.randn(4, 8, 2, generator=_generator()), Diffusion()
    scheduler = training_scheduler(config)
    loss, _ = diffusion_loss(lambda *_: clean, clean, _cond(4, 8), scheduler, config, _generator())
    assert loss == 0
    weights = Diffusion(velocity_weight=2.0, acceleration_weight=3.0)
    loss, parts = diffusion_loss(lambda *_: clean + 1, clean, _cond(4, 8), scheduler, weights, _generator())
    torch.testing.assert_close(parts["position"], torch.tensor(1.0))
    torch.testing.assert_close(parts["velocity"], torch.tensor(1 / 8))
    torch.testing.assert_close(parts["acceleration"], torch.tensor(2 / 8))
    torch.testing.assert_close(loss, torch.tensor(1 + 2 / 8 + 3 * 2 / 8))


def test_denoiser_gets_the_noised_motion_of_its_timestep_and_a_noised_seed():
    config = Diffusion(audio_dropout=0.25, seed_noise=0.02)
    clean, cond, seen = torch.zeros(4000, 2, 2), _cond(4000, 2), {}

    def spy(motion, timestep, given):
        seen.update(motion=motion, timestep=timestep, cond=given)
        return clean

    scheduler = training_scheduler(config)
    diffusion_loss(spy, clean, cond, scheduler, config, _generator())
    sigma = (1 - scheduler.alphas_cumprod[seen["timestep"]]).sqrt()
    assert (seen["motion"] / sigma[:, None, None]).std() == pytest.approx(1.0, abs=0.02)
    assert seen["timestep"].min() < 10
    assert seen["timestep"].max() > 989
    assert seen["cond"].audio_keep.mean() == pytest.approx(0.75, abs=0.03)
    assert (seen["cond"].seed - cond.seed).std() == pytest.approx(0.02, abs=0.001)


def test_a_step_repeats_with_its_generator():
    clean, config = torch.randn(4, 8, 2, generator=_generator()), Diffusion()

    def losses(seed: int) -> torch.Tensor:
        cond = _cond(4, 8)
        return diffusion_loss(
            lambda motion, *_: motion, clean, cond, training_scheduler(config), config, _generator(seed)
        )[0]

    assert torch.equal(losses(1), losses(1))
    assert not torch.equal(losses(1), losses(2))
