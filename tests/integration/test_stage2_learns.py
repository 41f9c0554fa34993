"""Stage 2 as a whole learns to move with the sound: energy of the speech -> one number of the motion."""

from __future__ import annotations

import math

import numpy as np
import torch

from gesturegen_cli.config.schema import Diffusion, Sampling, Window
from gesturegen_cli.data.features import encode_audio
from gesturegen_cli.diffusion.denoising import diffusion_loss, training_scheduler
from gesturegen_cli.diffusion.longform import sample_long
from gesturegen_cli.models.log_mel import LogMel
from gesturegen_cli.models.transformer_denoiser import TransformerDenoiser
from gesturegen_cli.types import SAMPLE_RATE, AudioClip, Conditioning

FRAMES = 16


def _bursts(seconds: float, seed: int) -> AudioClip:
    """Noise that is on or off for irregular stretches of 0.2 to 0.6 s."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(SAMPLE_RATE // 5, SAMPLE_RATE * 3 // 5, size=math.ceil(seconds / 0.2))
    gate = np.concatenate([np.full(n, k % 2) for k, n in enumerate(lengths)])[: int(seconds * SAMPLE_RATE)]
    return AudioClip((rng.standard_normal(len(gate)) * gate * 0.1).astype(np.float32))


def _pair(encoder: LogMel, seconds: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Audio features `t c`, and motion `t 2` whose first number is their energy."""
    clip = _bursts(seconds, seed)
    features = encode_audio(encoder, clip, clip.frames(), 25)
    energy = features[:, -4]
    energy = (energy - energy.mean()) / energy.std()
    return features, torch.stack([energy, torch.zeros_like(energy)], dim=-1)


def _train(encoder: LogMel, steps: int) -> TransformerDenoiser:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = TransformerDenoiser.Config(2, encoder.dim, FRAMES, 4, 48, 2, 2, 96, 1, 0.0)
        denoiser = TransformerDenoiser(config)
    generator, diffusion = torch.Generator().manual_seed(0), Diffusion()
    scheduler, optimiser = training_scheduler(diffusion), torch.optim.AdamW(denoiser.parameters(), lr=2e-3)
    features, motion = _pair(encoder, 60, seed=1)
    for _ in range(steps):
        starts = torch.randint(4, len(motion) - FRAMES, (24,), generator=generator).tolist()
        cond = Conditioning(
            torch.stack([features[s : s + FRAMES] for s in starts]),
            torch.stack([motion[s - 4 : s] for s in starts]),
            torch.ones(24, 4),
            torch.zeros(24, 2),
            torch.ones(24),
        )
        clean = torch.stack([motion[s : s + FRAMES] for s in starts])
        loss, _ = diffusion_loss(denoiser, clean, cond, scheduler, diffusion, generator)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(denoiser.parameters(), 1.0)
        optimiser.step()
    return denoiser.eval()


def test_motion_follows_the_energy_of_speech_never_heard_before():
    encoder = LogMel(LogMel.Config())
    denoiser = _train(encoder, steps=60)
    features, expected = _pair(encoder, 6, seed=2)

    def correlation(audio: torch.Tensor) -> float:
        drawn = sample_long(
            denoiser,
            audio,
            torch.zeros(2),
            window=Window(frames=FRAMES),
            diffusion=Diffusion(),
            sampling=Sampling(steps=8, guidance=1.0),
            generator=torch.Generator().manual_seed(0),
        )
        return float(torch.corrcoef(torch.stack([drawn.motion[:, 0], expected[:, 0]]))[0, 1])

    assert correlation(features) > 0.8
    assert abs(correlation(features.flip(0))) < 0.5
