import itertools
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from gesturegen_cli.errors import EnvironmentFault, InputError
from gesturegen_speakers import speech
from gesturegen_speakers.arrays import Array
from gesturegen_speakers.speech_features import analyse


def tone(rate: int, seconds: float) -> Array:
    return np.asarray(0.5 * np.sin(2 * np.pi * 440 * np.arange(int(rate * seconds)) / rate))


def test_wave_files_become_16_khz_mono(tmp_path: Path) -> None:
    stereo = np.stack([tone(48000, 1), tone(48000, 1)], 1)
    wavfile.write(tmp_path / "a.wav", 48000, (stereo * 32767).astype(np.int16))
    wave = speech.load_wave(tmp_path / "a.wav")
    assert wave.shape == (16000,)
    np.testing.assert_allclose(wave[2000:14000], tone(16000, 1)[2000:14000], atol=0.01)


def test_eight_bit_waves_are_centred(tmp_path: Path) -> None:
    wavfile.write(tmp_path / "a.wav", 16000, np.full(1600, 128, np.uint8))
    assert np.abs(speech.load_wave(tmp_path / "a.wav")).max() == 0


def test_a_file_that_is_no_wave_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"not sound at all")
    with pytest.raises(InputError, match="cannot read"):
        speech.load_wave(path)


def test_short_recordings_are_padded_with_silence(tmp_path: Path) -> None:
    wavfile.write(tmp_path / "a.wav", 16000, (tone(16000, 1) * 32767).astype(np.int16))
    wave = speech.cut_recording((tmp_path / "a.wav",), np.random.default_rng(0), 32000)
    assert wave.shape == (32000,)
    assert np.abs(wave[:16000]).max() > 10 * np.abs(wave[16000:]).max()


def test_a_folder_without_recordings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no wav or flac"):
        speech.find_recordings(tmp_path)
    with pytest.raises(InputError, match="not found"):
        speech.find_recordings(tmp_path / "absent")


def test_missing_espeak_is_reported_with_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speech.shutil, "which", lambda _: None)
    with pytest.raises(EnvironmentFault) as caught:
        speech.require_espeak()
    assert "--speech" in caught.value.hint


@pytest.mark.usefixtures("espeak")
def test_pauses_are_as_long_as_asked_for() -> None:
    def longest(pause: float) -> float:
        found = [0.0]
        for seed in range(4):
            phrases = analyse(speech.speak(np.random.default_rng(seed), 16000 * 12, pause)).phrases
            found += [after[0] - before[1] for before, after in itertools.pairwise(phrases)]
        return max(found)

    assert longest(speech.LONGEST_PAUSE) < speech.LONGEST_PAUSE + 0.5
    assert 2 < longest(4.0) < 4.5


@pytest.mark.usefixtures("espeak")
def test_espeak_speaks_the_length_asked_for_and_repeats_itself() -> None:
    first, second = (speech.speak(np.random.default_rng(2), 48000) for _ in range(2))
    assert first.shape == (48000,)
    assert np.abs(first).max() > 0.2
    assert np.array_equal(first, second)
