"""The hand-made features against sounds whose onsets, beats and notes are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torchaudio

from gesturegen_cli import registry
from gesturegen_cli.errors import ConfigError, InputError
from gesturegen_cli.testing import check_audio_encoder
from gesturegen_wavlm.chroma import ChromaCens
from gesturegen_wavlm.hand_made import HandMade, count_frames
from gesturegen_wavlm.rhythm import detect_onsets, estimate_tempo, track_beats
from gesturegen_wavlm.s2g import S2G35, S2G1059, slice_hand_made

ONSET, MFCC, CHROMA, PEAKS, BEATS = 0, slice(1, 21), slice(21, 33), 33, 34
HAND_MADE = HandMade()


def clicks(seconds: float, times) -> torch.Tensor:
    wave = torch.zeros(1, int(seconds * 16000))
    for time in times:
        first = int(time * 16000)
        sound = 0.5 * torch.exp(-torch.arange(800) / 80) * torch.sin(torch.arange(800) * 0.9)
        wave[0, first : first + 800] += sound[: wave.shape[1] - first]
    return wave


def tone(hertz: float, seconds: float = 3.2) -> torch.Tensor:
    return (
        0.3
        * torch.sin(2 * math.pi * hertz * torch.arange(int(seconds * 16000), dtype=torch.float64) / 16000)[None].float()
    )


def test_clicks_at_120_bpm_are_onsets_and_beats():
    times = np.arange(0.5, 10, 0.5)
    features = HAND_MADE(clicks(10, times), 250)[0].numpy()
    expected = times * 25
    onsets, beats = np.flatnonzero(features[:, PEAKS]), np.flatnonzero(features[:, BEATS])
    for frame in expected:
        assert np.abs(onsets - frame).min() <= 1
    for frame in onsets:  # at this rate the peak may be two frames wide, as no maximum is asked for around a frame
        assert np.abs(expected - frame).min() <= 2
    assert len(beats) >= len(times) - 2
    for frame in beats:
        assert np.abs(expected - frame).min() <= 1, frame
    assert set(np.unique(features[:, [PEAKS, BEATS]])) == {0.0, 1.0}


@pytest.mark.parametrize("bpm", [75, 100, 125, 150])
def test_tempo_of_pulses_whose_period_is_whole_frames(bpm):
    envelope = np.zeros(500)
    envelope[:: round(60 * 25 / bpm)] = 1
    assert estimate_tempo(envelope, 25.0, start_bpm=bpm) == pytest.approx(bpm)
    beats = track_beats(envelope, 25.0, bpm)
    assert set(np.diff(beats)) == {1500 // bpm}
    assert set(beats % (1500 // bpm)) == {0}


def test_the_prior_decides_between_a_tempo_and_its_half():
    envelope = np.zeros(500)
    envelope[::10] = 1  # 150 bpm, and as well 75
    assert estimate_tempo(envelope, 25.0, start_bpm=150) == pytest.approx(150)
    assert estimate_tempo(envelope, 25.0, start_bpm=70) == pytest.approx(75)


def test_beats_go_on_through_a_gap():
    envelope = np.zeros(300)
    envelope[::10] = 1
    envelope[150] = 0
    assert 150 in track_beats(envelope, 25.0, 150.0)


def test_onsets_by_hand():
    strength = np.array([0, 0, 1, 0.2, 0, 0, 0, 0.5, 0, 0, 0, 0.05, 0, 0.0])
    assert detect_onsets(strength, 25.0).tolist() == [2, 7]
    assert detect_onsets(np.full(9, 3.0), 25.0).tolist() == []
    assert detect_onsets(np.zeros(0), 25.0).tolist() == []


@pytest.mark.parametrize("length", [0, 1, 2, 3, 5])
def test_short_and_flat_envelopes_have_no_beats_or_few(length):
    assert len(track_beats(np.zeros(length), 25.0, 120.0)) == 0
    assert len(track_beats(np.arange(length, dtype=float), 25.0, 120.0)) <= length


@pytest.mark.parametrize(("hertz", "note"), [(440.0, 9), (261.63, 0), (110.0, 9), (2637.02, 4), (61.735, 11)])
def test_a_pure_tone_is_its_pitch_class(hertz, note):
    chroma = HAND_MADE(tone(hertz), 80)[0, :, CHROMA]
    assert (chroma.argmax(dim=-1) == note).all()
    assert torch.allclose(chroma.norm(dim=-1), torch.ones(80), atol=1e-5)
    others = torch.cat([chroma[:, :note], chroma[:, note + 1 :]], dim=-1)
    assert others[20:60].max() < 0.5 * chroma[20:60, note].min()


def test_constant_q_bins_meet_a_direct_sum():
    wave, cens = tone(100.0, 2.0)[0, ::2].double(), ChromaCens(12_800, 512)
    wave = wave[:20_000]
    filters = cens.get_buffer("octave1").double()
    taps, frame = len(filters), 12
    padded = torch.nn.functional.pad(wave, (taps // 2, taps))
    piece = padded[frame * 512 : frame * 512 + taps]
    direct = torch.stack([torch.hypot(piece @ filters[:, k], piece @ filters[:, 36 + k]) for k in range(36)])
    assert torch.allclose(
        cens._transform(wave[None].float(), filters.float())[0, frame].double(), direct, atol=1e-3 * direct.max()
    )


def test_filters_have_the_gain_and_width_of_the_transform():
    for octave in range(7):
        filters = HAND_MADE.chroma.get_buffer(f"octave{octave}").double()
        hertz = 32.70319566 * 2 ** (octave + 5 / 36)
        length = 12_800 / hertz * 2 / (2 ** (1 / 36) - 2 ** (-1 / 36))
        time = torch.arange(len(filters), dtype=torch.float64) - len(filters) // 2
        response = torch.hypot(*(torch.cos(2 * math.pi * hertz / 12_800 * time) @ filters[:, [5, 41]]))
        assert response == pytest.approx(math.sqrt(length) / 2, rel=2e-3)  # half of a cosine is at -f


def test_mfcc_are_those_of_torchaudio():
    wave = 0.1 * torch.randn(2, 40_960, generator=torch.Generator().manual_seed(0))
    spectrum = {"n_fft": 2048, "hop_length": 512, "n_mels": 128, "norm": "slaney", "mel_scale": "slaney"}
    reference = torchaudio.transforms.MFCC(12_800, 20, melkwargs=spectrum | {"pad_mode": "constant"})
    ours = HAND_MADE._mel_levels(wave) @ HAND_MADE.cosines
    assert torch.allclose(ours, reference(wave).transpose(1, 2), atol=1e-2, rtol=1e-4)


def test_loud_waves_do_not_lower_the_floor_of_others():
    quiet, loud = 1e-3 * tone(440.0), tone(440.0)
    together = HAND_MADE(torch.cat([quiet, loud]), 80)
    assert torch.allclose(together[0], HAND_MADE(quiet, 80)[0], atol=1e-4)


def test_81_frames_are_made_of_a_slice_and_80_kept():
    wave = tone(300.0)
    assert HAND_MADE(wave, 1000).shape == (1, 81, 35)
    assert count_frames(51_200) == 80
    for samples in [*range(0, 1300, 79), 51_199, 51_201]:
        assert HAND_MADE(torch.zeros(1, samples + 1), count_frames(samples + 1)).shape[1] == count_frames(samples + 1)
        assert abs(count_frames(samples) - round(samples / 640)) <= 1


def test_slices_are_analysed_on_their_own():
    wave = torch.cat([tone(440.0), clicks(3.2, [0.5, 1.0, 2.0]), tone(200.0, 1.0)], dim=1)
    sliced = slice_hand_made(HAND_MADE, wave, 3.2)
    frames = count_frames(wave.shape[1])
    assert sliced.shape == (1, frames, 35)
    assert torch.equal(sliced[:, 80:160], HAND_MADE(wave[:, 51_200:102_400], 80))
    end = torch.nn.functional.pad(wave, (0, frames * 640 - wave.shape[1]))[:, -51_200:]
    assert torch.equal(sliced[:, 160:], HAND_MADE(end, 80)[:, 160 - frames :])
    assert torch.equal(slice_hand_made(HAND_MADE, wave, 0), HAND_MADE(wave, frames))


def test_s2g_35_conforms():
    check_audio_encoder(S2G35(S2G35.Config()))
    assert registry.build("audio_encoders", "s2g-35", {}).dim == 35


def test_s2g_1059_conforms_and_follows_the_published_recipe(tools, tmp_path, s2g):
    model = tools.random_model(s2g.layout)
    path = tools.write_weights(tmp_path, model, s2g.layout, normalize=True)
    encoder = s2g(s2g.Config(weights=str(path)))
    check_audio_encoder(encoder)
    wave = tools.noise(1, 51_200)
    states = model(torch.nn.functional.layer_norm(wave, (51_200,)))[0]
    assert states.shape[1] == 159
    states = torch.cat([states, states[:, -1:]], dim=1)
    position = torch.linspace(0, 159, 80)
    left = position.floor().long().clamp_max(158)
    halved = torch.lerp(states[:, left], states[:, left + 1], (position - left)[None, :, None])
    features = encoder(wave)
    assert features.shape == (1, 80, 16 + 35)
    assert torch.allclose(features[..., :16], halved, atol=2e-4)
    assert torch.equal(features[..., 16:], HAND_MADE(wave, 80))
    assert S2G1059(S2G1059.Config()).dim == 1059


@pytest.mark.parametrize("samples", [1, 100, 399, 400, 16_000 * 40 + 123])
def test_s2g_1059_takes_any_length(tools, tmp_path, s2g, samples):
    path = tools.write_weights(tmp_path, tools.random_model(s2g.layout), s2g.layout)
    encoder = s2g(s2g.Config(weights=str(path), slice_seconds=0 if samples < 1000 else 20))
    features = encoder(tools.noise(1, samples))
    assert features.shape[1] == count_frames(samples)
    assert features.isfinite().all()


def test_s2g_1059_without_weights_says_what_it_wants():
    with pytest.raises(ConfigError, match=r"WavLM-Large\.pt"):
        S2G1059(S2G1059.Config())(torch.zeros(1, 16000))


def test_waves_that_are_not_finite_are_refused():
    with pytest.raises(InputError, match="not finite"):
        S2G35(S2G35.Config())(torch.full((1, 16000), float("nan")))
