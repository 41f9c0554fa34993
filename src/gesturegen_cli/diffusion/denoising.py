"""The training objective of stage 2: predict clean motion from noised motion (method: EDGE, S2G-MDDiffusion)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from diffusers import DDPMScheduler
from torch import Tensor

from gesturegen_cli.config.schema import Diffusion
from gesturegen_cli.protocols import Denoiser
from gesturegen_cli.types import Conditioning


def noise_schedule(config: Diffusion) -> dict[str, Any]:
    """Arguments that every diffusers scheduler of this model shares: betas and what the network predicts.

    The ends of the linear schedules are those of Ho et al. 2020 for 1000 steps, scaled so that fewer steps
    destroy the motion just as fully.
    """
    scale = 1000 / config.train_timesteps
    return {
        "num_train_timesteps": config.train_timesteps,
        "beta_schedule": config.beta_schedule,
        "beta_start": min(1e-4 * scale, 0.5),
        "beta_end": min(0.02 * scale, 0.999),
        "prediction_type": "sample",
    }


def training_scheduler(config: Diffusion) -> DDPMScheduler:
    """The scheduler that adds noise while training."""
    return DDPMScheduler(**noise_schedule(config), clip_sample=False)


def diffusion_loss(
    denoiser: Denoiser,
    clean: Tensor,
    cond: Conditioning,
    scheduler: DDPMScheduler,
    config: Diffusion,
    generator: torch.Generator,
) -> tuple[Tensor, dict[str, Tensor]]:
    """One step of training on normalised motion `b t d`: the weighted loss and its three parts, detached.

    Timesteps, noise, audio dropout and noise on the seed frames come from `generator` (on any device), in this order
    and always in the same amount, so that a step is repeatable. Position, velocity and acceleration are mean squared
    errors of the 0th, 1st and 2nd differences.
    """
    batch = len(clean)
    last = config.train_timesteps
    timestep = torch.randint(0, last, (batch,), generator=generator, device=generator.device).to(clean.device)
    noise = _normal(clean, generator)
    deaf = torch.rand(batch, generator=generator, device=generator.device).to(clean.device) < config.audio_dropout
    noised_seed = cond.seed + _normal(cond.seed, generator) * config.seed_noise
    trained = replace(cond, audio_keep=cond.audio_keep * ~deaf, seed=noised_seed)
    predicted = denoiser(scheduler.add_noise(clean, noise, timestep), timestep, trained)
    parts = motion_errors(predicted.float() - clean.float(), cond.seed_valid)
    loss = (
        parts["position"]
        + config.velocity_weight * parts["velocity"]
        + config.acceleration_weight * parts["acceleration"]
    )
    return loss, {name: value.detach() for name, value in parts.items()}


def motion_errors(error: Tensor, seed_valid: Tensor) -> dict[str, Tensor]:
    """Mean squares of an error `b t d` and of its first and second differences.

    Differences reach over the seam (our choice): the two frames before the window are given to the network, their
    error is zero, so what is wrong in the first frames is a jump in velocity and is counted as one. Where seed frames
    are not valid (`seed_valid` `b s`) there is no seam and those differences do not count.
    """
    valid = torch.nn.functional.pad(seed_valid.to(error), (2, 0))[:, -2:]
    valid = torch.stack([valid[:, 0] * valid[:, 1], valid[:, 1]], dim=1)
    known = torch.cat([torch.zeros_like(error[:, :1]).expand(-1, 2, -1), error], dim=1)
    real = torch.ones_like(error[:, :, 0])
    velocity, acceleration = known.diff(dim=1), known.diff(n=2, dim=1)
    return {
        "position": error.square().mean(),
        "velocity": _weighted_mean_square(velocity[:, 1:], torch.cat([valid[:, 1:], real[:, 1:]], dim=1)),
        "acceleration": _weighted_mean_square(
            acceleration, torch.cat([valid[:, :1], valid[:, 1:], real[:, 2:]], dim=1)[:, : acceleration.shape[1]]
        ),
    }


def _weighted_mean_square(x: Tensor, weight: Tensor) -> Tensor:
    """Mean of x^2 over the frames `b t` that count, x `b t d`; 0 when none does."""
    return (x.square().mean(dim=-1) * weight).sum() / weight.sum().clamp_min(1)


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator, device=generator.device).to(like)
