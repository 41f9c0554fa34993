"""Sampling against closed forms: a known prediction has to come out, a DDIM step has to follow its formula."""

from __future__ import annotations

import itertools

import pytest
import torch

from gesturegen_cli.config.load import load_config
from gesturegen_cli.config.schema import Diffusion, Sampling
from gesturegen_cli.diffusion.sampling import sample_window, sampling_scheduler
from gesturegen_cli.errors import ConfigError
from gesturegen_cli.types import Conditioning

SOLVERS = ["ddim", "ddpm", "dpm-solver++", "unipc"]


def _cond(batch: int = 2) -> Conditioning:
    return Conditioning(
        torch.ones(batch, 6, 1),
        torch.zeros(batch, 4, 3),
        torch.ones(batch, 4),
        torch.zeros(batch, 3),
        torch.ones(batch),
    )


def _noise(seed: int = 0) -> torch.Tensor:
    return torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(seed))


def _sample(denoiser, name="ddim", *, steps=10, guidance=1.0, clip=5.0, seed=0, config=None, eta=0.0) -> torch.Tensor:
    return sample_window(
        denoiser,
        _cond(),
        _noise(),
        sampling_scheduler(name, config or Diffusion()),
        steps=steps,
        guidance=guidance,
        clip=clip,
        generator=torch.Generator().manual_seed(seed),
        eta=eta,
    )


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("steps", [1, 2, 7, 20])
def test_a_constant_prediction_is_sampled_exactly(name, steps):
    assert torch.equal(_sample(lambda x, *_: torch.full_like(x, 0.7), name, steps=steps), torch.full((2, 6, 3), 0.7))


@pytest.mark.parametrize("name", SOLVERS)
def test_every_solver_draws_the_data_it_was_given(name):
    """For data of N(0, 0.5^2) the best prediction is known in closed form, and samples must have that spread."""
    scheduler = sampling_scheduler(name, Diffusion())
    alphas = scheduler.alphas_cumprod

    def best(x: torch.Tensor, timestep: torch.Tensor, _: Conditioning) -> torch.Tensor:
        alpha = alphas[timestep.long()][:, None, None]
        return x * alpha.sqrt() * 0.25 / (alpha * 0.25 + 1 - alpha)

    noise = torch.randn(2, 2000, 3, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    drawn = sample_window(best, _cond(), noise, scheduler, steps=50, guidance=1, clip=9, generator=generator)
    assert drawn.std() == pytest.approx(0.5, abs=0.03)
    assert drawn.mean() == pytest.approx(0.0, abs=0.02)


def test_ddim_follows_its_formula_from_the_last_training_step_on():
    seen: list[tuple[int, torch.Tensor]] = []

    def denoiser(x, timestep, _):
        seen.append((int(timestep[0]), x))
        return 0.5 * torch.tanh(x)

    result = _sample(denoiser, steps=4)
    alphas = torch.cumprod(1 - sampling_scheduler("ddim", Diffusion()).betas.double(), dim=0)
    assert [t for t, _ in seen] == [999, 749, 499, 249]
    for (now, x), (later, following) in itertools.pairwise(seen):
        a, b, clean = alphas[now], alphas[later], 0.5 * torch.tanh(x.double())
        eps = (x - a.sqrt() * clean) / (1 - a).sqrt()
        torch.testing.assert_close(following.double(), b.sqrt() * clean + (1 - b).sqrt() * eps, atol=1e-4, rtol=1e-3)
    assert torch.equal(result, 0.5 * torch.tanh(seen[-1][1]))


def test_ddim_with_eta_1_follows_the_formula_of_fresh_noise():
    """sigma^2 = (1 - a/b) (1 - b) / (1 - a) for a step from alpha a to b; the noise drawn must have that spread."""
    seen: list[tuple[int, torch.Tensor]] = []

    def denoiser(x, timestep, _):
        seen.append((int(timestep[0]), x))
        return torch.zeros_like(x)

    noise = torch.randn(2, 4000, 3, generator=torch.Generator().manual_seed(0))
    scheduler, generator = sampling_scheduler("ddim", Diffusion()), torch.Generator().manual_seed(1)
    sample_window(denoiser, _cond(), noise, scheduler, steps=50, guidance=1, clip=1, generator=generator, eta=1.0)
    assert [t for t, _ in seen][:3] == [999, 979, 959]
    assert seen[-1][0] == 19
    alphas = torch.cumprod(1 - scheduler.betas.double(), dim=0)
    for (now, x), (later, following) in itertools.pairwise(seen):
        a, b = alphas[now], alphas[later]
        sigma = ((1 - a / b) * (1 - b) / (1 - a)).sqrt()
        told = (1 - b - sigma**2).clamp_min(0).sqrt() * x / (1 - a).sqrt()
        assert float((following - told).std()) == pytest.approx(float(sigma), rel=0.03)


def test_eta_belongs_to_ddim():
    """Known when settings are read, long before a model is loaded."""
    with pytest.raises(ConfigError, match="only ddim has it") as caught:
        load_config(None, None, ("sampling.scheduler=unipc",), None, {"sampling": {"eta": 0.5}})
    assert "sampling.eta=0" in caught.value.hint
    assert Sampling(eta=0.5).scheduler == "ddim"


def test_guidance_extrapolates_in_one_batch():
    batches: list[int] = []

    def denoiser(x, timestep, cond):
        batches.append(len(x))
        assert len(timestep) == len(cond.audio) == len(cond.seed) == len(x)
        return (0.1 + 0.2 * cond.audio_keep)[:, None, None].expand_as(x)

    guided = _sample(denoiser, guidance=2.0, steps=3)
    torch.testing.assert_close(guided, torch.full((2, 6, 3), 0.1 + 2 * 0.2))
    assert batches == [4, 4, 4]
    torch.testing.assert_close(_sample(denoiser, guidance=0.0, steps=3), torch.full((2, 6, 3), 0.1))
    batches.clear()
    torch.testing.assert_close(_sample(denoiser, guidance=1.0, steps=3), torch.full((2, 6, 3), 0.3))
    assert batches == [2, 2, 2]


def test_predictions_are_clipped():
    assert torch.equal(_sample(lambda x, *_: torch.full_like(x, 9.0), clip=1.5), torch.full((2, 6, 3), 1.5))


@pytest.mark.parametrize("name", SOLVERS)
def test_same_noise_and_generator_give_the_same_motion(name):
    def denoiser(x, *_):
        return 0.9 * x.tanh()

    assert torch.equal(_sample(denoiser, name), _sample(denoiser, name))
    assert torch.equal(_sample(denoiser, name), _sample(denoiser, name, seed=1)) is (name != "ddpm")


def test_a_scheduler_can_be_used_again():
    scheduler = sampling_scheduler("unipc", Diffusion())
    arguments = {"steps": 5, "guidance": 1.0, "clip": 5.0, "generator": torch.Generator()}
    drawn = [sample_window(lambda x, *_: x.tanh(), _cond(), _noise(), scheduler, **arguments) for _ in range(2)]
    assert torch.equal(drawn[0], drawn[1])


def test_wrong_settings_name_what_is_possible():
    with pytest.raises(ConfigError, match="ddim, ddpm, dpm-solver"):
        sampling_scheduler("euler", Diffusion())
    with pytest.raises(ConfigError, match=r"60 sampling steps.* 50"):
        _sample(lambda x, *_: x, steps=60, config=Diffusion(train_timesteps=50))
