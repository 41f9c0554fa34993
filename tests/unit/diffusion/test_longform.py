"""Chained windows: lengths, history, seams, repeatability."""

from __future__ import annotations

import pytest
import torch

from gesturegen_cli.config.schema import Diffusion, Sampling, Window
from gesturegen_cli.diffusion.longform import LongMotion, sample_long, seam_scores
from gesturegen_cli.errors import BundleError

WINDOW = Window(frames=8, seed_frames=3)
SOURCE = torch.tensor([0.5, -0.5])


class _Spy:
    """A denoiser that moves on from its last seed frame by the audio, and remembers what it was given."""

    def __init__(self) -> None:
        self.conditions = []

    def __call__(self, motion, timestep, cond):
        self.conditions.append(cond)
        return cond.seed[:, -1:] + cond.audio.cumsum(dim=1) + 0.01 * motion


def _audio(frames: int) -> torch.Tensor:
    return torch.randn(frames, 2, generator=torch.Generator().manual_seed(5)) * 0.1


def _draw(denoiser, audio: torch.Tensor, *, seed: int = 0, scheduler: str = "ddim", on_window=None) -> LongMotion:
    return sample_long(
        denoiser,
        audio,
        SOURCE,
        window=WINDOW,
        diffusion=Diffusion(),
        sampling=Sampling(scheduler=scheduler, steps=2, guidance=1.0),
        generator=torch.Generator().manual_seed(seed),
        on_window=on_window,
    )


@pytest.mark.parametrize("frames", [1, 7, 8, 9, 23, 24])
def test_result_has_a_frame_per_audio_frame_and_a_score_per_seam(frames):
    calls: list[tuple[int, int]] = []
    drawn = _draw(_Spy(), _audio(frames), on_window=lambda done, total: calls.append((done, total)))
    windows = -(-frames // 8)
    assert drawn.motion.shape == (frames, 2)
    assert len(drawn.seam_scores) == windows - 1
    assert calls == [(k, windows) for k in range(1, windows + 1)]


def test_first_history_is_the_picture_and_others_are_the_end_of_the_window_before():
    spy = _Spy()
    motion = _draw(spy, _audio(20)).motion
    seeds = [c.seed[0] for c in spy.conditions[::2]]
    assert torch.equal(seeds[0], SOURCE.expand(3, -1))
    assert torch.equal(seeds[1], motion[5:8])
    assert torch.equal(seeds[2], motion[13:16])
    assert all(bool(c.seed_valid.all()) for c in spy.conditions)


def test_last_window_hears_its_audio_and_then_its_last_frame():
    spy, audio = _Spy(), _audio(11)
    _draw(spy, audio)
    heard = spy.conditions[-1].audio[0]
    assert torch.equal(heard[:3], audio[8:])
    assert torch.equal(heard[3:], audio[-1:].expand(5, -1))


@pytest.mark.parametrize("scheduler", ["ddim", "ddpm"])
def test_a_prefix_of_the_speech_gets_the_same_motion_in_its_full_windows(scheduler):
    whole, prefix = (_draw(_Spy(), _audio(30)[:frames], scheduler=scheduler).motion for frames in (30, 19))
    assert torch.equal(whole[:16], prefix[:16])


def test_another_seed_gives_other_motion():
    assert not torch.equal(_draw(_Spy(), _audio(9)).motion, _draw(_Spy(), _audio(9), seed=1).motion)


def test_seam_score_is_the_jump_in_units_of_the_usual_step():
    motion = torch.arange(16.0)[:, None].repeat(1, 2)
    assert seam_scores(motion, [8]) == pytest.approx((1.0,))
    motion[8:] += 4
    assert seam_scores(motion, [8]) == pytest.approx((5.0,))
    assert seam_scores(motion[:1], []) == ()


def test_motion_that_is_not_finite_blames_the_bundle_and_names_the_frames():
    with pytest.raises(BundleError, match="frames 0 to 5"):
        _draw(lambda x, *_: torch.full_like(x, float("nan")), _audio(5))
