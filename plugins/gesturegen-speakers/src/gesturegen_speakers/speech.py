"""Speech for the digital speakers: espeak-ng reading generated sentences, or stretches of the user's own recordings."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from scipy.io import wavfile
from scipy.signal import resample_poly

from gesturegen_cli.errors import EnvironmentFault, InputError

from .arrays import Array
from .person_spec import pick
from .sentences import sentence
from .speech_features import RATE

_VOICES = (*("en",) * 4, *("en-us",) * 4, *("en-gb-scotland",) * 2, "es", "de", "fr")
_VARIANTS = (*(f"m{i}" for i in range(1, 8)), *(f"f{i}" for i in range(1, 6)))
_SUFFIXES = (".wav", ".flac")
_TIMEOUT = 60.0
SHORTEST_PAUSE, LONGEST_PAUSE = 0.3, 1.5
"""Seconds between sentences; longer ones, in which hands come to rest, have to be asked for."""


@dataclass(frozen=True)
class Voice:
    """One speaker's voice for espeak-ng: rate in words per minute, pitch 0..99."""

    language: str
    variant: str
    rate: int
    pitch: int


def require_espeak() -> str:
    """Path of the espeak-ng program; raises EnvironmentFault when it is not installed."""
    program = shutil.which("espeak-ng")
    if program is None:
        raise EnvironmentFault(
            "espeak-ng is not installed; it reads the sentences of the digital speakers",
            hint="install it (Debian, Ubuntu: apt install espeak-ng) or give recordings with --speech DIR",
        )
    return program


def sample_voice(rng: np.random.Generator) -> Voice:
    """A random language, variant, rate (120-190) and pitch (20-80)."""
    rate, pitch = int(rng.integers(120, 191)), int(rng.integers(20, 81))
    return Voice(pick(rng, _VOICES), pick(rng, _VARIANTS), rate, pitch)


def say(text: str, voice: Voice) -> Array:
    """16 kHz wave [n] float32 of `text`; raises EnvironmentFault when espeak-ng fails."""
    with tempfile.TemporaryDirectory(prefix="gesturegen-speech-") as folder:
        path = Path(folder) / "speech.wav"
        command = [require_espeak(), "-v", f"{voice.language}+{voice.variant}", "-s", str(voice.rate)]
        command += ["-p", str(voice.pitch), "-w", str(path), "--stdin"]
        try:
            done = subprocess.run(command, input=text.encode(), capture_output=True, timeout=_TIMEOUT, check=False)
        except subprocess.TimeoutExpired as error:
            raise EnvironmentFault(f"espeak-ng did not answer within {_TIMEOUT:.0f} s") from error
        if done.returncode != 0 or not path.exists():
            detail = done.stderr.decode(errors="replace").strip()
            raise EnvironmentFault(f"espeak-ng failed: {detail}", hint="check that `espeak-ng --voices` lists English")
        return load_wave(path)


def speak(rng: np.random.Generator, samples: int, longest_pause: float = LONGEST_PAUSE) -> Array:
    """16 kHz wave [samples] float32 of one voice saying random sentences.

    Pauses of SHORTEST_PAUSE to `longest_pause` seconds; sometimes 1-2 s of silence at the start or the end, sometimes
    light noise.
    """
    voice = sample_voice(rng)
    lead = rng.uniform(1, 2) if rng.random() < 0.25 else rng.uniform(0.05, 0.4)
    tail = int(rng.uniform(1, 2) * RATE) if rng.random() < 0.25 else 0
    pieces = [np.zeros(int(lead * RATE), np.float32)]
    while sum(map(len, pieces)) < samples:
        pieces.append(_trim(say(sentence(rng, voice.language[:2]), voice)))
        pieces.append(np.zeros(int(rng.uniform(SHORTEST_PAUSE, longest_pause) * RATE), np.float32))
    wave = np.concatenate(pieces)[:samples]
    if tail:
        fade = np.clip((samples - tail - np.arange(samples)) / (0.05 * RATE), 0, 1)
        wave = wave * fade.astype(np.float32)
    return finish(wave, rng)


def finish(wave: Array, rng: np.random.Generator) -> Array:
    """Random loudness, and light noise in one of three waves."""
    peak = float(np.abs(wave).max(initial=0.0))
    if peak > 0:
        wave = wave * (rng.uniform(0.3, 0.9) / peak)
    if rng.random() < 1 / 3:
        wave = wave + rng.normal(0, 10 ** rng.uniform(-4, -2.7), len(wave))
    return np.clip(wave, -1, 1).astype(np.float32)


def _trim(wave: Array, quiet: float = 0.01) -> Array:
    loud = np.flatnonzero(np.abs(wave) > quiet)
    return wave[loud[0] : loud[-1] + 1] if len(loud) else wave


def find_recordings(folder: Path) -> tuple[Path, ...]:
    """Sorted wav and flac files below `folder`; raises InputError when there are none."""
    if not folder.is_dir():
        raise InputError(f"speech folder not found: {folder}", hint="give --speech a folder with wav or flac files")
    found = tuple(sorted(p for p in folder.rglob("*") if p.suffix.lower() in _SUFFIXES and p.is_file()))
    if not found:
        raise InputError(f"no wav or flac files in {folder}", hint="give --speech a folder with speech recordings")
    return found


def cut_recording(recordings: tuple[Path, ...], rng: np.random.Generator, samples: int) -> Array:
    """A random stretch [samples] of a random recording, padded with silence where it is shorter."""
    wave = load_wave(pick(rng, recordings))
    begin = int(rng.integers(0, max(len(wave) - samples, 0) + 1))
    piece = wave[begin : begin + samples]
    return finish(np.pad(piece, (0, samples - len(piece))), rng)


def load_wave(path: Path) -> Array:
    """16 kHz mono wave [n] float32 in -1..1 of a wav or flac file; raises InputError when it cannot be read."""
    if path.suffix.lower() == ".flac":
        return _decode(path)
    try:
        rate, data = wavfile.read(path)
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"cannot read {path}: {error}", hint="expected an uncompressed wav file") from error
    wave = _to_float(data)
    if wave.ndim == 2:
        wave = wave.mean(1)
    common = int(np.gcd(rate, RATE))
    return np.asarray(resample_poly(wave, RATE // common, rate // common), np.float32) if rate != RATE else wave


def _to_float(data: Array) -> Array:
    if data.dtype == np.uint8:
        return (data.astype(np.float32) - 128) / 128
    if np.issubdtype(data.dtype, np.integer):
        return data.astype(np.float32) / float(np.iinfo(data.dtype).max)
    return data.astype(np.float32)


def _decode(path: Path) -> Array:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-i", str(path), "-ac", "1"]
    command += ["-ar", str(RATE), "-f", "f32le", "-"]
    done = subprocess.run(command, capture_output=True, timeout=_TIMEOUT, check=False)
    if done.returncode != 0 or not done.stdout:
        detail = done.stderr.decode(errors="replace").strip()
        raise InputError(f"cannot read {path}: {detail}", hint="expected a flac file with sound")
    return np.frombuffer(done.stdout, np.float32).copy()


def save_wave(path: Path, wave: Array) -> None:
    """Write a 16 kHz mono 16-bit wav file."""
    wavfile.write(path, RATE, np.round(np.clip(wave, -1, 1) * 32767).astype(np.int16))
