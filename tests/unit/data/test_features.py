"""Speech features per frame: exact in time, the same in pieces as at once, level independent."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gesturegen_cli.data.features import align_features, apply_level, encode_audio, measure_level
from gesturegen_cli.models.log_mel import LogMel
from gesturegen_cli.types import SAMPLE_RATE, AudioClip


def _leveled(samples):
    return apply_level(samples, *measure_level(samples))


def _speechlike(seconds: float, seed: int = 0) -> np.ndarray:
    """Noise in bursts of 0.3 s with pauses of 0.3 s."""
    n = round(seconds * SAMPLE_RATE)
    bursts = (np.arange(n) / SAMPLE_RATE) % 0.6 < 0.3
    return (np.random.default_rng(seed).standard_normal(n) * bursts * 0.1).astype(np.float32)


class _Ramp:
    """An encoder whose feature is the time at the centre of the step, from the wave itself (which holds its time)."""

    dim = 1

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.lengths: list[int] = []

    def __call__(self, wave: torch.Tensor) -> torch.Tensor:
        self.lengths.append(wave.shape[-1])
        steps = round(wave.shape[-1] / SAMPLE_RATE * self.rate)
        index = ((torch.arange(steps) + 0.5) / self.rate * SAMPLE_RATE).long().clamp_max(wave.shape[-1] - 1)
        return wave[:, index, None]


@pytest.mark.parametrize(
    ("rate", "fps"), [(50, 25), (100, 25), (49.9, 25), (50, 24), (50, 30), (50, 60), (25, 25), (12.5, 25)]
)
def test_a_ramp_stays_the_same_ramp(rate, fps):
    frames = int(4 * fps)
    features = ((torch.arange(int(4 * rate)) + 0.5) / rate)[:, None]
    aligned = align_features(features, rate, frames, fps)[:, 0]
    expected = (torch.arange(frames) + 0.5) / fps
    inside = (expected > 1 / rate + 1 / fps) & (expected < 4 - 1 / rate - 1 / fps - 0.05)
    assert aligned.shape == (frames,)
    torch.testing.assert_close(aligned[inside], expected[inside], atol=1e-5, rtol=0)


def test_two_steps_per_frame_are_averaged():
    features = torch.tensor([[1.0], [3.0], [5.0], [9.0]])
    assert align_features(features, 50, 2, 25)[:, 0].tolist() == [2.0, 7.0]


def test_frames_beyond_the_features_hold_the_last_one():
    assert align_features(torch.tensor([[1.0], [2.0]]), 25, 4, 25)[:, 0].tolist() == [1.0, 2.0, 2.0, 2.0]


@pytest.mark.parametrize("fps", [25, 24, 29.97])
@pytest.mark.parametrize("rate", [50, 49.9])
def test_pieces_keep_the_time(monkeypatch, fps, rate):
    monkeypatch.setattr("gesturegen_cli.data.features.apply_level", lambda samples, offset, gain: samples)
    seconds = 10
    wave = (np.arange(seconds * SAMPLE_RATE) / SAMPLE_RATE).astype(np.float32)
    frames = round(seconds * fps)
    features = encode_audio(_Ramp(rate), AudioClip(wave), frames, fps, context_seconds=0.5, chunk_seconds=2.1)[:, 0]
    expected = (torch.arange(frames) + 0.5) / fps
    torch.testing.assert_close(features[2:-2], expected[2:-2], atol=3e-4, rtol=0)


@pytest.mark.parametrize("fps", [25, 30])
def test_pieces_equal_the_whole(fps):
    encoder, clip = LogMel(LogMel.Config()), AudioClip(_speechlike(9.3))
    frames = clip.frames(fps)
    whole = encode_audio(encoder, clip, frames, fps)
    pieces = encode_audio(encoder, clip, frames, fps, chunk_seconds=1.7)
    assert whole.shape == (frames, encoder.dim)
    torch.testing.assert_close(pieces, whole, atol=2e-3, rtol=0)


def test_pieces_are_no_longer_than_asked():
    encoder = _Ramp(50)
    encode_audio(encoder, AudioClip(_speechlike(20)), 500, 25, context_seconds=1, chunk_seconds=3)
    assert len(encoder.lengths) == 7
    assert max(encoder.lengths) <= 5.05 * SAMPLE_RATE


@pytest.mark.parametrize("samples", [1, 300, 640, 5000])
def test_short_speech_gives_every_frame(samples):
    clip = AudioClip(_speechlike(1)[:samples])
    features = encode_audio(LogMel(LogMel.Config()), clip, clip.frames(), 25, context_seconds=0)
    assert features.shape == (clip.frames(), 68)
    assert torch.isfinite(features).all()


def test_frames_after_the_speech_are_silence():
    encoder = LogMel(LogMel.Config())
    features = encode_audio(encoder, AudioClip(_speechlike(1)), 75, 25)
    silence = encode_audio(encoder, AudioClip(np.zeros(SAMPLE_RATE, np.float32)), 25, 25)
    torch.testing.assert_close(features[50:], silence)


@pytest.mark.parametrize("gain", [0.1, 1.0, 8.0])
def test_level_of_active_speech_does_not_depend_on_gain_or_pauses(gain):
    speech = _speechlike(3) * np.float32(gain)
    with_pause = np.concatenate([speech, np.zeros(5 * SAMPLE_RATE, np.float32)])
    for samples in (speech, with_pause):
        active = _leveled(samples)[: SAMPLE_RATE // 4]
        assert np.sqrt(np.mean(active**2)) == pytest.approx(0.05, rel=0.25)


def test_silence_stays_silence_and_hiss_is_not_lifted():
    silence = np.zeros(SAMPLE_RATE, np.float32)
    hiss = (np.random.default_rng(0).standard_normal(SAMPLE_RATE) * 1e-4).astype(np.float32)
    assert np.array_equal(_leveled(silence), silence)
    assert np.array_equal(_leveled(hiss), hiss)
    assert _leveled(silence[:0]).shape == (0,)


def test_gain_is_bounded_offset_removed_and_range_kept():
    faint = _leveled(_speechlike(2) * np.float32(0.01))
    assert np.abs(faint).max() == pytest.approx(20 * 0.01 * np.abs(_speechlike(2)).max(), rel=0.01)
    shifted = _leveled(_speechlike(2) + np.float32(0.2))
    assert abs(float(shifted.mean())) < 1e-3
    spiky = _speechlike(2) * np.float32(0.05)
    spiky[100] = 1.0
    assert np.abs(_leveled(spiky)).max() == 1.0
    assert _leveled(spiky).dtype == np.float32


def test_an_encoder_that_cuts_by_itself_gets_the_whole_recording():
    encoder = _Ramp(50)
    wave = (np.arange(70 * SAMPLE_RATE) / (70 * SAMPLE_RATE)).astype(np.float32)
    encode_audio(encoder, AudioClip(wave), 70 * 25, 25)
    assert len(encoder.lengths) == 3
    encoder.lengths.clear()
    encoder.cuts_long_speech = True
    assert encode_audio(encoder, AudioClip(wave), 70 * 25, 25).shape == (70 * 25, 1)
    assert len(encoder.lengths) == 1
    assert encoder.lengths[0] >= len(wave)
