"""Drawing one window of motion with a diffusers scheduler and classifier-free guidance."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler, UniPCMultistepScheduler
from torch import Tensor

from gesturegen_cli.config.schema import Diffusion
from gesturegen_cli.diffusion.denoising import noise_schedule
from gesturegen_cli.errors import ConfigError
from gesturegen_cli.protocols import Denoiser
from gesturegen_cli.types import Conditioning

_SOLVERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "ddim": (DDIMScheduler, {"clip_sample": False, "set_alpha_to_one": True}),
    "ddpm": (DDPMScheduler, {"clip_sample": False}),
    "dpm-solver++": (DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver++"}),
    "unipc": (UniPCMultistepScheduler, {}),
}


def sampling_scheduler(name: str, config: Diffusion) -> Any:
    """A fresh diffusers scheduler with the betas of training and steps spaced from the very last one ("trailing").

    ddim (with eta 0), dpm-solver++ and unipc are deterministic given the noise; ddpm draws more noise at every step.
    """
    if name not in _SOLVERS:
        raise ConfigError(f"unknown scheduler '{name}', expected one of {', '.join(_SOLVERS)}", "")
    solver, options = _SOLVERS[name]
    return solver(**noise_schedule(config), **options, timestep_spacing="trailing")


@torch.no_grad()
def sample_window(
    denoiser: Denoiser,
    cond: Conditioning,
    noise: Tensor,
    scheduler: Any,
    *,
    steps: int,
    guidance: float,
    clip: float,
    generator: torch.Generator,
    eta: float = 0.0,
) -> Tensor:
    """Noise `b t d` -> normalised motion `b t d` in `steps` passes of the denoiser.

    Guidance w gives u + w (c - u) of the predictions with (c) and without audio (u), computed as one batch of 2b; with
    w = 1 only c is needed. Predictions are clipped to +-`clip`. `eta` is the share of fresh noise in the steps of ddim
    (Song et al. 2021); other solvers do not have it. The scheduler is reset first, so it may be reused.
    The last step returns the prediction itself: that is what every solver tends to, and rounding of timesteps does
    not leave noise behind.
    """
    limit = scheduler.config.num_train_timesteps
    if steps > limit:
        raise ConfigError(f"{steps} sampling steps, the model was trained with {limit}", f"use --steps {limit} or less")
    scheduler.set_timesteps(steps, device=noise.device)
    extra = _step_options(scheduler, generator, eta)
    twice = _with_and_without_audio(cond) if guidance != 1 else cond
    motion, clean = noise, noise
    for index, timestep in enumerate(scheduler.timesteps):
        clean = _predict(denoiser, motion, timestep, twice, guidance).clamp(-clip, clip)
        if index < len(scheduler.timesteps) - 1:
            motion = scheduler.step(clean, timestep, motion, **extra).prev_sample
    return clean


def _step_options(scheduler: Any, generator: torch.Generator, eta: float) -> dict[str, Any]:
    if isinstance(scheduler, DDIMScheduler):
        return {"eta": eta, "generator": generator}
    return {"generator": generator} if isinstance(scheduler, DDPMScheduler) else {}


def _predict(denoiser: Denoiser, motion: Tensor, timestep: Tensor, cond: Conditioning, guidance: float) -> Tensor:
    if guidance == 1:
        return denoiser(motion, timestep.expand(len(motion)), cond)
    both = denoiser(torch.cat([motion, motion]), timestep.expand(2 * len(motion)), cond)
    heard, unheard = both.chunk(2)
    return unheard + guidance * (heard - unheard)


def _with_and_without_audio(cond: Conditioning) -> Conditioning:
    def double(x: Tensor) -> Tensor:
        return torch.cat([x, x])

    return replace(
        cond,
        audio=double(cond.audio),
        seed=double(cond.seed),
        seed_valid=double(cond.seed_valid),
        source=double(cond.source),
        audio_keep=torch.cat([cond.audio_keep, torch.zeros_like(cond.audio_keep)]),
    )
