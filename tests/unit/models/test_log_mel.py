"""The built-in audio encoder on signals whose features are known."""

from __future__ import annotations

import math

import pytest
import torch

from gesturegen_cli.errors import ConfigError
from gesturegen_cli.models.log_mel import LogMel
from gesturegen_cli.testing import check_audio_encoder
from gesturegen_cli.types import SAMPLE_RATE

ENERGY, ONSET, PITCH, VOICED = -4, -3, -2, -1


@pytest.fixture(scope="module")
def encoder() -> LogMel:
    return LogMel(LogMel.Config())


def _harmonics(hz: torch.Tensor) -> torch.Tensor:
    """A voice-like sum of harmonics whose fundamental at each sample is `hz` `n`."""
    phase = 2 * math.pi * torch.cumsum(hz.double(), dim=0) / SAMPLE_RATE
    return sum(torch.sin(k * phase) / k for k in range(1, 9)).float() * 0.05


def test_keeps_every_promise_of_an_audio_encoder():
    check_audio_encoder(LogMel(LogMel.Config()))


@pytest.mark.parametrize("samples", [400, 401, 1600, 16_000, 51_200, 51_999])
def test_length_follows_the_rate_and_values_are_finite(encoder, samples):
    features = encoder(torch.randn(2, samples, generator=torch.Generator().manual_seed(0)) * 0.05)
    assert features.shape == (2, round(samples / 320), encoder.dim)
    assert torch.isfinite(features).all()


def test_features_of_a_wave_do_not_depend_on_its_batch(encoder):
    waves = torch.randn(3, 8000, generator=torch.Generator().manual_seed(0)) * torch.tensor([[1.0], [0.1], [0.0]])
    together = encoder(waves)
    for index in range(3):
        torch.testing.assert_close(encoder(waves[index : index + 1])[0], together[index], atol=1e-5, rtol=1e-5)


def test_step_is_centred_half_a_step_after_its_start(encoder):
    wave = torch.zeros(1, SAMPLE_RATE)
    wave[0, round(30.5 * 320)] = 1.0
    energy = encoder(wave)[0, :, ENERGY]
    assert energy.argmax() == 30
    assert energy[29] == pytest.approx(energy[31].item(), abs=1e-4)


def test_silence_is_quiet_unvoiced_and_constant(encoder):
    features = encoder(torch.zeros(1, SAMPLE_RATE))[0]
    assert (features[:, :ENERGY] < -1).all()
    assert (features[:, ENERGY] < -1).all()
    assert (features[:, [PITCH, VOICED]] == 0).all()
    assert (features == features[0]).all()


def test_constant_offset_is_not_energy(encoder):
    assert (encoder(torch.full((1, SAMPLE_RATE), 0.3))[0, 3:-3, ENERGY] < -1).all()


def test_onset_is_at_the_start_of_a_sound(encoder):
    wave = _harmonics(torch.full((SAMPLE_RATE,), 150.0))
    wave[: SAMPLE_RATE // 2] = 0
    onset = encoder(wave[None])[0, :-3, ONSET]
    assert abs(int(onset.argmax()) - 25) <= 1


@pytest.mark.parametrize("hz", [80.0, 120.0, 210.0, 350.0])
def test_a_steady_voice_is_voiced_at_its_own_baseline(encoder, hz):
    features = encoder(_harmonics(torch.full((2 * SAMPLE_RATE,), hz))[None])[0, 5:-5]
    assert (features[:, VOICED] > 0.95).all()
    assert features[:, PITCH].abs().max() < 0.1


def test_a_rise_by_half_an_octave_is_told_relative_to_the_voice(encoder):
    step = torch.full((2 * SAMPLE_RATE,), 120.0)
    step[SAMPLE_RATE:] *= 2**0.5
    pitch = encoder(_harmonics(step)[None])[0, :, PITCH]
    assert pitch[55:60].mean() - pitch[40:45].mean() == pytest.approx(2 * 0.5, abs=0.3)


def test_noise_is_unvoiced(encoder):
    noise = torch.randn(1, SAMPLE_RATE, generator=torch.Generator().manual_seed(0)) * 0.05
    assert encoder(noise)[0, 5:-5, VOICED].mean() < 0.05


def test_nothing_beyond_0_9_seconds_matters(encoder):
    wave = _harmonics(torch.linspace(100, 300, 3 * SAMPLE_RATE))
    other = wave.clone()
    other[: round(0.5 * SAMPLE_RATE)] = 0.1
    torch.testing.assert_close(encoder(wave[None])[0, 71:], encoder(other[None])[0, 71:], atol=1e-4, rtol=0)


def test_nothing_is_stored_in_a_bundle(encoder):
    assert encoder.state_dict() == {}


def test_rate_that_does_not_fit_the_sample_rate_is_refused():
    with pytest.raises(ConfigError, match="30"):
        LogMel(LogMel.Config(rate=30.0))
