"""Both denoisers learn what they are for, on made-up people who move with their speech.

A person's motion is their resting pose, plus a smoothed mix of the audio features, plus a slow drift that only the seed
frames tell of. Trained on some people, the denoiser is judged on others.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from gesturegen_cli.config.schema import Diffusion
from gesturegen_cli.diffusion.denoising import diffusion_loss, training_scheduler
from gesturegen_cli.diffusion.sampling import sample_window, sampling_scheduler
from gesturegen_cli.types import Conditioning
from gesturegen_denoisers.dit import DiTDenoiser
from gesturegen_denoisers.unet1d import UNet1DDenoiser

D, C, SEEDS, FRAMES, LENGTH = 6, 4, 4, 20, 60
DIFFUSION = Diffusion()
SMALL = {
    "unet1d": UNet1DDenoiser.Config(
        motion_dim=D, audio_dim=C, channels=(48, 64), kernel=3, width=48, heads=2, feedforward=64, dropout=0.0
    ),
    "dit": DiTDenoiser.Config(
        motion_dim=D, audio_dim=C, width=48, layers=3, heads=2, feedforward=96, audio_layers=1, dropout=0.0
    ),
}
CLASSES = {"unet1d": UNet1DDenoiser, "dit": DiTDenoiser}


def _smooth(x: Tensor, frames: int) -> Tensor:
    """Moving average of `n t c` over time."""
    kernel = torch.ones(x.shape[2], 1, frames) / frames
    return nn.functional.conv1d(x.transpose(1, 2), kernel, groups=x.shape[2]).transpose(1, 2)


def _people(count: int, draw: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Audio `n t c`, motion `n t d` and resting pose `n d`; motion has mean 0 and standard deviation about 1."""
    mix = torch.randn(C, D, generator=torch.Generator().manual_seed(3)) / C**0.5
    audio = 2.5 * _smooth(torch.randn(count, LENGTH + 11, C, generator=draw), 6)
    moving = 1.2 * _smooth(audio, 7) @ mix
    pose = 0.5 * torch.randn(count, D, generator=draw)
    drift = 3 * _smooth(torch.randn(count, moving.shape[1] + 39, D, generator=draw), 40)
    return audio[:, 3 : 3 + moving.shape[1]], moving + pose[:, None] + drift, pose


def _windows(data: tuple[Tensor, Tensor, Tensor], count: int, draw: torch.Generator) -> tuple[Tensor, Conditioning]:
    """`count` windows at random places of random people."""
    audio, motion, pose = data
    person = torch.randint(len(audio), (count,), generator=draw)
    start = torch.randint(SEEDS, audio.shape[1] - FRAMES, (count,), generator=draw)
    at = start[:, None] + torch.arange(-SEEDS, FRAMES)
    frames = motion[person[:, None], at]
    heard = audio[person[:, None], at[:, SEEDS:]]
    cond = Conditioning(heard, frames[:, :SEEDS], torch.ones(count, SEEDS), pose[person], torch.ones(count))
    return frames[:, SEEDS:], cond


def _train(name: str, steps: int = 120) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = CLASSES[name](SMALL[name])
    draw = torch.Generator().manual_seed(1)
    data, scheduler = _people(200, draw), training_scheduler(DIFFUSION)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-4)
    plan = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps, pct_start=0.2)
    for _ in range(steps):
        loss, _ = diffusion_loss(model, *_windows(data, 32, draw), scheduler, DIFFUSION, draw)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        plan.step()
    return model.eval()


@pytest.fixture(scope="module", params=SMALL)
def trained(request) -> nn.Module:
    return _train(request.param)


@pytest.fixture(scope="module")
def unseen() -> tuple[Tensor, Conditioning]:
    draw = torch.Generator().manual_seed(2)
    return _windows(_people(100, draw), 256, draw)


@torch.no_grad()
def _loss(model, clean: Tensor, cond: Conditioning) -> float:
    heard = replace(DIFFUSION, audio_dropout=0.0)
    draw = torch.Generator().manual_seed(5)
    return float(diffusion_loss(model, clean, cond, training_scheduler(DIFFUSION), heard, draw)[0])


def _draw(model, cond: Conditioning) -> Tensor:
    noise = torch.randn(len(cond.source), FRAMES, D, generator=torch.Generator().manual_seed(6))
    solver = partial(sample_window, scheduler=sampling_scheduler("ddim", DIFFUSION), steps=10, guidance=1.0, clip=5.0)
    return solver(model, cond, noise, generator=torch.Generator())


def test_loss_on_unseen_people_is_far_below_that_of_the_mean(trained, unseen):
    mean = _loss(lambda motion, timestep, cond: torch.zeros_like(motion), *unseen)
    assert _loss(trained, *unseen) < 0.3 * mean


def test_right_audio_is_better_than_that_of_another_window(trained, unseen):
    clean, cond = unseen
    assert _loss(trained, clean, cond) < 0.6 * _loss(trained, clean, replace(cond, audio=cond.audio.roll(1, dims=0)))


def test_sampled_motion_continues_from_the_seed_frames(trained, unseen):
    clean, cond = unseen
    usual = (clean[:, 0] - cond.seed[:, -1]).norm(dim=-1).mean()
    first = _draw(trained, cond)[:, 0]
    jump = (first - cond.seed[:, -1]).norm(dim=-1).mean()
    assert jump < 2.5 * usual
    assert jump < 0.35 * (first - cond.seed[:, -1].roll(1, dims=0)).norm(dim=-1).mean()


def test_the_same_speech_after_other_seed_frames_begins_there(trained, unseen):
    """What the drift adds can be known from the seed frames alone."""
    _, cond = unseen
    moved = _draw(trained, replace(cond, seed=cond.seed + 0.5))[:, 0] - _draw(trained, cond)[:, 0]
    assert 0.15 < moved.mean() < 0.75


def test_sampled_motion_follows_its_own_speech(trained, unseen):
    clean, cond = unseen
    drawn = _draw(trained, cond)

    def agreement(other: Tensor) -> float:
        mine, theirs = (x - x.mean(dim=1, keepdim=True) for x in (drawn, other))
        return float(nn.functional.cosine_similarity(mine.flatten(1), theirs.flatten(1)).mean())

    assert agreement(clean) > 0.7
    assert abs(agreement(clean.roll(1, dims=0))) < 0.2
