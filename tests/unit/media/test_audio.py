"""Speech: every usual file gives exact 16 kHz mono, every bad one a clear answer."""

from __future__ import annotations

import os
import wave

import numpy as np
import pytest

from gesturegen_cli.errors import InputError
from gesturegen_cli.media.audio import load_audio, save_wav
from gesturegen_cli.types import SAMPLE_RATE

from . import make


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000, 96000])
@pytest.mark.parametrize("channels", [1, 2])
def test_length_is_exact_and_the_tone_survives(tmp_path, rate, channels):
    samples = make.tone(0.7317, rate, channels)
    clip = load_audio(make.pcm_wav(tmp_path / "a.wav", samples, rate))
    assert len(clip.samples) == round(len(samples) * SAMPLE_RATE / rate)
    assert clip.samples.dtype == np.float32
    expected = make.tone(0.7317, SAMPLE_RATE)[:, 0][: len(clip.samples)]
    middle = slice(400, len(expected) - 400)
    assert np.abs(clip.samples[: len(expected)] - expected)[middle].max() < 2e-3
    assert clip.warnings == ()
    assert clip.name == "a.wav"


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.flac", ()),
        ("a.mp3", ()),
        ("a.ogg", ("-c:a", "libvorbis")),
        ("a.opus", ("-c:a", "libopus")),
        ("a.m4a", ("-c:a", "aac")),
        ("a.aiff", ()),
        ("a.w64", ()),
        ("a.caf", ()),
        ("a.au", ()),
        ("a.webm", ("-c:a", "libopus")),
        ("a.mka", ("-c:a", "flac")),
        ("a.wma", ("-c:a", "wmav2")),
        ("a.aac", ("-c:a", "aac")),
        ("a.ts", ("-c:a", "aac")),
        ("24bit.wav", ("-c:a", "pcm_s24le")),
        ("alaw.wav", ("-c:a", "pcm_alaw")),
        ("named.txt", ("-f", "wav")),
    ],
)
def test_usual_containers_are_read(tmp_path, name, options):
    source = make.pcm_wav(tmp_path / "source.wav", make.tone(1.0, 48000), 48000)
    clip = load_audio(make.convert(source, tmp_path / name, *options))
    assert abs(clip.seconds - 1.0) < 0.08
    spectrum = np.abs(np.fft.rfft(clip.samples[4000:12000]))
    assert abs(int(spectrum.argmax()) * SAMPLE_RATE / 8000 - 220) < 3
    assert 0.4 < np.abs(clip.samples[4000:12000]).max() < 0.6


def test_sound_of_a_video_is_read_and_starts_with_its_pictures(tmp_path):
    plain = load_audio(make.film(tmp_path / "plain.mp4"))
    assert abs(plain.seconds - 1.0) < 0.03
    late = make.convert(tmp_path / "plain.mp4", tmp_path / "sound.m4a", "-vn", "-c", "copy")
    both = ["-itsoffset", "0.5", "-i", str(late), "-map", "0:v", "-map", "1:a", "-c", "copy"]
    clip = load_audio(make.convert(tmp_path / "plain.mp4", tmp_path / "late.mkv", *both))
    assert abs(clip.seconds - 1.5) < 0.05
    assert np.abs(clip.samples[:7600]).max() < 1e-3
    assert np.abs(clip.samples[8800:20000]).max() > 0.05


def test_channels_are_averaged(tmp_path):
    samples = np.concatenate([make.tone(0.5, 16000), np.zeros((8000, 1), np.float32)], axis=1)
    clip = load_audio(make.float_wav(tmp_path / "left.wav", samples, 16000))
    np.testing.assert_allclose(clip.samples, samples[:, 0] / 2, atol=1e-7)


def test_opposite_channels_do_not_vanish(tmp_path):
    left = make.tone(0.5, 16000)
    clip = load_audio(make.float_wav(tmp_path / "opposite.wav", np.concatenate([left, -left], axis=1), 16000))
    np.testing.assert_allclose(clip.samples, left[:, 0], atol=1e-7)
    assert "cancel" in clip.warnings[0]


@pytest.mark.parametrize("channels", [6, 64])
def test_many_channels_are_read(tmp_path, channels):
    samples = make.tone(0.3, 16000, channels)
    clip = load_audio(make.float_wav(tmp_path / "many.wav", samples, 16000))
    np.testing.assert_allclose(clip.samples, samples[:, 0], atol=1e-6)


def test_silence_is_taken_with_a_warning(tmp_path):
    clip = load_audio(make.pcm_wav(tmp_path / "s.wav", np.zeros((16000, 1)), 16000))
    assert len(clip.samples) == 16000
    assert "silent" in clip.warnings[0]


def test_loud_floats_are_clamped_with_a_warning(tmp_path):
    clip = load_audio(make.float_wav(tmp_path / "l.wav", make.tone(0.5, 16000, level=3.0), 16000))
    assert np.abs(clip.samples).max() == 1.0
    assert "clipped" in clip.warnings[0]


def test_truncated_wav_gives_the_good_part_and_both_figures(tmp_path):
    path = make.pcm_wav(tmp_path / "t.wav", make.tone(2.0, 16000), 16000)
    os.truncate(path, 44 + 2 * 16000)
    clip = load_audio(path)
    assert len(clip.samples) == 16000
    assert "2.00 s" in clip.warnings[0]
    assert "1.00 s" in clip.warnings[0]


@pytest.mark.parametrize("name", ["t.flac", "t.mp3"])
def test_truncated_compressed_sound_gives_the_good_part(tmp_path, name):
    rng = np.random.default_rng(0)
    noise = rng.uniform(-0.3, 0.3, (48000, 1))  # noise, so that half of the bytes are half of the time
    path = make.convert(make.pcm_wav(tmp_path / "n.wav", noise, 16000), tmp_path / name)
    os.truncate(path, path.stat().st_size // 2)
    clip = load_audio(path)
    assert 1.0 < clip.seconds < 2.0
    assert "3." in clip.warnings[0]


def test_a_streamed_wav_without_length_is_complete(tmp_path):
    path = make.pcm_wav(tmp_path / "s.wav", make.tone(1.0, 16000), 16000)
    data = bytearray(path.read_bytes())
    data[4:8] = data[40:44] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    clip = load_audio(path)
    assert len(clip.samples) == 16000
    assert clip.warnings == ()


@pytest.mark.parametrize("count", [1, 800])
def test_too_short_is_refused_with_both_figures(tmp_path, count):
    with pytest.raises(InputError, match=r"short\.wav.* s long, expected at least 0\.1 s"):
        load_audio(make.pcm_wav(tmp_path / "short.wav", make.tone(1.0, 16000)[:count], 16000))


def test_no_samples_at_all_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"none\.wav"):
        load_audio(make.pcm_wav(tmp_path / "none.wav", np.zeros((0, 1)), 16000))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_finite_samples_are_refused_and_counted(tmp_path, value):
    samples = make.tone(0.5, 16000)
    samples[100:103] = value
    with pytest.raises(InputError, match="has 3 samples that are NaN or infinite, of 8000"):
        load_audio(make.float_wav(tmp_path / "n.wav", samples, 16000))


@pytest.mark.parametrize("rate", [1, 3999, 800_000])
def test_odd_rates_are_refused(tmp_path, rate):
    with pytest.raises(InputError, match=rf"{rate} samples per second, expected 4000 to 768000"):
        load_audio(make.pcm_wav(tmp_path / "r.wav", make.tone(1.0, 8000), rate))


def test_too_many_channels_are_refused(tmp_path):
    with pytest.raises(InputError, match="65 channels"):
        load_audio(make.float_wav(tmp_path / "c.wav", make.tone(0.3, 8000, 65), 8000))


def test_too_long_is_refused_and_names_the_option(tmp_path):
    path = make.pcm_wav(tmp_path / "l.wav", make.tone(2.0, 16000), 16000)
    with pytest.raises(InputError, match="at most 1 s") as caught:
        load_audio(path, max_seconds=1.0)
    assert "--max-seconds" in caught.value.hint


def test_too_long_is_noticed_while_decoding_when_the_header_says_nothing(tmp_path):
    source = make.pcm_wav(tmp_path / "l.wav", make.tone(3.0, 48000), 48000)
    path = make.convert(source, tmp_path / "l.aac", "-c:a", "aac")
    with pytest.raises(InputError, match="more than 2 s"):
        load_audio(path, max_seconds=2.0)


def test_a_film_without_sound_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"mute\.mp4.* has no sound track"):
        load_audio(make.film(tmp_path / "mute.mp4", sound=False))


def test_a_file_cut_before_its_index_is_refused(tmp_path):
    path = make.film(tmp_path / "cut.mp4")
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(InputError, match="cut off, its index is missing"):
        load_audio(path)


def test_noise_bytes_are_refused(tmp_path):
    path = tmp_path / "noise.wav"
    path.write_bytes(b"\0" + np.random.default_rng(0).bytes(5000))
    with pytest.raises(InputError, match=r"noise\.wav"):
        load_audio(path)


def test_save_wav_round_trip(tmp_path):
    samples = np.linspace(-1.5, 1.5, 200_001).astype(np.float32)
    save_wav(tmp_path / "o.wav", samples)
    with wave.open(str(tmp_path / "o.wav")) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, SAMPLE_RATE)
    again = load_audio(tmp_path / "o.wav").samples
    np.testing.assert_allclose(again, np.clip(samples, -1, 1), atol=1 / 32767)
    assert os.listdir(tmp_path) == ["o.wav"]


def test_real_speech_is_read():
    for path in make.shared_media("audio"):
        clip = load_audio(path)
        assert clip.seconds > 1.5
        assert not [warning for warning in clip.warnings if "silent" not in warning], path
