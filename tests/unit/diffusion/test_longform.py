"""Chained windows: lengths, history, overlap, candidates, seams, repeatability."""

from __future__ import annotations

import pytest
import torch

from gesturegen_cli.config.schema import Diffusion, Sampling, Window
from gesturegen_cli.diffusion.longform import LongMotion, plan_windows, sample_long, seam_scores
from gesturegen_cli.diffusion.sampling import sample_window, sampling_scheduler
from gesturegen_cli.diffusion.selection import continuation_scores
from gesturegen_cli.errors import BundleError, ConfigError
from gesturegen_cli.types import Conditioning

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


def _draw(denoiser, audio: torch.Tensor, *, seed: int = 0, on_window=None, **sampling) -> LongMotion:
    return sample_long(
        denoiser,
        audio,
        SOURCE,
        window=WINDOW,
        diffusion=Diffusion(),
        sampling=Sampling(**{"steps": 2, "guidance": 1.0, "overlap": 0, **sampling}),
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


def _chain(denoiser, audio: torch.Tensor, guidance: float) -> torch.Tensor:
    """What windows without overlap and candidates are, spelled out: seed frames, one draw each, joined."""
    history, generator, pieces = SOURCE.expand(3, -1), torch.Generator().manual_seed(0), []
    for start in range(0, len(audio), 8):
        heard = audio[start : start + 8]
        heard = torch.cat([heard, heard[-1:].expand(8 - len(heard), -1)])
        cond = Conditioning(heard[None], history[None], torch.ones(1, 3), SOURCE[None], torch.ones(1))
        noise = torch.randn(1, 8, 2, generator=generator)
        scheduler, rest = sampling_scheduler("ddim", Diffusion()), {"clip": 5.0, "generator": generator}
        drawn = sample_window(denoiser, cond, noise, scheduler, steps=2, guidance=guidance, **rest)[0]
        history = drawn[-3:]
        pieces.append(drawn)
    return torch.cat(pieces)[: len(audio)]


@pytest.mark.parametrize("frames", [3, 8, 16, 29])
@pytest.mark.parametrize("guidance", [1.0, 1.5])
def test_without_overlap_and_candidates_windows_are_chained_bit_for_bit(frames, guidance):
    drawn = _draw(_Spy(), _audio(frames), guidance=guidance, overlap=0, candidates=1)
    assert torch.equal(drawn.motion, _chain(_Spy(), _audio(frames), guidance))


@pytest.mark.parametrize("frames", [1, 2, 3, 7, 8, 9, 13, 14, 19])
@pytest.mark.parametrize("overlap", [1, 3, 6, 7])
def test_overlapping_windows_too_give_a_frame_per_audio_frame_and_a_score_per_seam(frames, overlap):
    drawn = _draw(_Spy(), _audio(frames), overlap=overlap)
    assert drawn.motion.shape == (frames, 2)
    assert len(drawn.seam_scores) == max(0, -(-(frames - 8) // (8 - overlap)))


class _Steps:
    """Window k is held still at k."""

    def __init__(self) -> None:
        self.windows = 0

    def __call__(self, motion, timestep, cond):
        self.windows += int(timestep[0]) == 999
        return torch.full_like(motion, self.windows - 1.0)


def test_shared_frames_fade_linearly():
    motion = _draw(_Steps(), _audio(19), overlap=3).motion[:, 0]
    expected = [0.0] * 5 + [0.25, 0.5, 0.75] + [1.0] * 2 + [1.25, 1.5, 1.75] + [2.0] * 2 + [2.25, 2.5, 2.75, 3.0]
    torch.testing.assert_close(motion, torch.tensor(expected))


@pytest.mark.parametrize("overlap", [2, 5, 7])
def test_history_of_an_overlapping_window_is_what_is_shown_directly_before_it(overlap):
    spy, audio = _Spy(), _audio(23)
    motion = _draw(spy, audio, overlap=overlap).motion
    shown = torch.cat([SOURCE.expand(3, -1), motion])
    plan = plan_windows(23, 8, overlap)
    assert len(plan) == len(spy.conditions) / 2 > 2
    for (start, length), cond in zip(plan, spy.conditions[::2], strict=True):
        assert torch.equal(cond.seed[0], shown[start : start + 3])
        assert torch.equal(cond.audio[0, :length], audio[start : start + length])


@pytest.mark.parametrize("options", [{"overlap": 3}, {"candidates": 4}, {"overlap": 3, "candidates": 4}])
def test_long_form_options_are_repeatable_and_keep_a_prefix(options):
    whole, again, prefix = (_draw(_Spy(), _audio(30)[:frames], **options).motion for frames in (30, 30, 19))
    assert torch.equal(whole, again)
    same = plan_windows(19, 8, options.get("overlap", 0))[-1][0]
    assert same > 8
    assert torch.equal(whole[:same], prefix[:same])
    assert not torch.equal(whole, _draw(_Spy(), _audio(30), seed=1, **options).motion)


@pytest.mark.parametrize("overlap", [8, 20])
def test_an_overlap_as_long_as_a_window_is_refused(overlap):
    with pytest.raises(ConfigError, match=rf"sampling.overlap = {overlap}, the model's windows have 8 frames"):
        _draw(_Spy(), _audio(5), overlap=overlap)


class _Wild:
    """A denoiser that strays by its noise, so that candidates differ; remembers its last predictions per window."""

    def __init__(self) -> None:
        self.drawn = []

    def __call__(self, motion, timestep, cond):
        predicted = cond.seed[:, -1:] + (0.1 * motion).cumsum(dim=1)
        if int(timestep[0]) == 999:
            self.drawn.append(predicted)
        self.drawn[-1] = predicted
        return predicted


@pytest.mark.parametrize("overlap", [0, 2, 6])
def test_of_the_candidates_the_one_with_the_lowest_score_is_kept(overlap):
    wild = _Wild()
    motion = _draw(wild, _audio(20), candidates=4, overlap=overlap).motion
    plan = plan_windows(20, 8, overlap)
    assert [len(drawn) for drawn in wild.drawn] == [1] + [4] * (len(plan) - 1)
    shown = wild.drawn[0][0]
    for (start, length), candidates in zip(plan[1:], wild.drawn[1:], strict=True):
        before = shown[max(0, start + overlap - max(overlap, 5)) : start + overlap]
        chosen = candidates[int(continuation_scores(candidates[:, : len(before)], before).argmin())]
        weight = torch.arange(1, overlap + 1)[:, None] / (overlap + 1)
        faded = torch.lerp(shown[start:], chosen[:overlap], weight)
        shown = torch.cat([shown[:start], faded, chosen[overlap:length]])
    assert torch.equal(shown, motion)


def test_candidates_make_seams_smoother():
    def worst(candidates: int) -> float:
        return sum(sum(_draw(_Wild(), _audio(80), seed=k, candidates=candidates).seam_scores) for k in range(5))

    assert worst(8) < 0.9 * worst(1)


def test_one_candidate_that_is_not_finite_blames_the_bundle():
    def sick(motion, *_):
        motion = motion.clone()
        motion[1:] = float("nan")
        return motion

    with pytest.raises(BundleError, match="frames 8 to 10"):
        _draw(sick, _audio(10), candidates=2)
