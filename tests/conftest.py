"""Shared by all tests: small seeded models, drawn people and synthesised speech, made once per test run.

The package is imported before torchaudio, whose CPU remedy it installs.
"""

from __future__ import annotations

import signal
import wave
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import NDArray
from PIL import Image, ImageDraw

import gesturegen_cli  # noqa: F401 - imported for its effect, see above

# A shell starts background jobs with Ctrl-C ignored, and children inherit that: tests that interrupt would fail.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Nothing is timed in tests: a busy machine may stop one for longer than the 0.2 s an example is given by default.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

TINY_SIZE = 64
TINY_FRAMES = 16


def speech_samples(seconds: float, rng_seed: int = 0, rate: int = 16_000) -> NDArray[np.float32]:
    """Tones with a syllable-like loudness (4 per second) and pauses, `n` in [-1, 1]."""
    rng = np.random.default_rng(rng_seed)
    time = np.arange(round(seconds * rate)) / rate
    pitch = 120 + 30 * np.sin(2 * np.pi * 0.7 * time + rng.uniform(0, 6))
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    voice = sum(np.sin(k * phase) / k for k in range(1, 9))
    syllables = np.clip(np.sin(2 * np.pi * 4 * time + rng.uniform(0, 6)), 0, 1)
    phrases = np.sin(2 * np.pi * 0.4 * time + 0.5) > -0.6
    return (0.15 * voice * syllables * phrases).astype(np.float32)


def write_wave(path: Path, samples: NDArray[np.float32], rate: int = 16_000) -> Path:
    """16-bit mono WAV."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return path


def draw_speaker(path: Path, size: tuple[int, int] = (192, 192), centre: float = 0.5, scale: float = 1.0) -> Path:
    """A drawn person: head, torso and arms before a plain wall."""
    width, height = size
    image = Image.new("RGB", size, (186, 200, 205))
    draw = ImageDraw.Draw(image)
    unit, x, top = 0.9 * min(size) * scale, centre * width, 0.08 * height
    draw.rectangle([x - 0.28 * unit, top + 0.36 * unit, x + 0.28 * unit, height], fill=(40, 60, 120))
    draw.ellipse([x - 0.13 * unit, top, x + 0.13 * unit, top + 0.32 * unit], fill=(224, 172, 140))
    for side in (-1, 1):
        elbow, hand = (x + side * 0.38 * unit, top + 0.7 * unit), (x + side * 0.14 * unit, top + 0.8 * unit)
        draw.line([(x + side * 0.25 * unit, top + 0.42 * unit), elbow], fill=(30, 50, 110), width=round(0.09 * unit))
        draw.line([elbow, hand], fill=(30, 50, 110), width=round(0.08 * unit))
        draw.ellipse([hand[0] - 9, hand[1] - 9, hand[0] + 9, hand[1] + 9], fill=(224, 172, 140))
        draw.ellipse(
            [x + side * 0.05 * unit - 3, top + 0.12 * unit, x + side * 0.05 * unit + 3, top + 0.15 * unit], "black"
        )
    image.save(path)
    return path


@pytest.fixture
def speech_wav(tmp_path: Path) -> Path:
    """1.3 s of speech-like sound: at 25 fps 32.5 frames, so rounding shows."""
    return write_wave(tmp_path / "talk.wav", speech_samples(1.3))


@pytest.fixture
def speaker_png(tmp_path: Path) -> Path:
    """A drawn person, 192 x 192."""
    return draw_speaker(tmp_path / "host.png")


def write_tiny_bundle(path: Path, rng_seed: int = 0) -> Path:
    """A full bundle with seeded, untrained weights: 64 x 64 pictures, windows of 16 frames."""
    import torch

    from gesturegen_cli import registry
    from gesturegen_cli.bundle import BundleSpec, ComponentSpec, write_bundle
    from gesturegen_cli.config.schema import Window

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(rng_seed)
        widths = {"extractor_channels": [8, 8, 8, 8], "motion_channels": [8, 8, 8], "decoder_channels": [8, 8, 8]}
        small = {"size": TINY_SIZE, "code_dim": 4, "head_channels": 8, "feature_channels": 4, "code_channels": 4}
        deviation = registry.build("deviation_models", "flow", {**small, **widths})
        encoder = registry.build("audio_encoders", "log-mel", {"mel_bins": 16})
        sizes = {"motion_dim": deviation.motion_dim, "audio_dim": encoder.dim, "frames": TINY_FRAMES}
        denoiser = registry.build(
            "denoisers",
            "transformer",
            {"width": 32, "layers": 1, "heads": 2, "feedforward": 32, "audio_layers": 1},
            **sizes,
        )
        dim = deviation.motion_dim
        normalizer = {"mean": 0.1 * torch.randn(dim), "std": 0.1 + 0.1 * torch.rand(dim)}
    modules = {"deviation": deviation, "audio_encoder": encoder, "denoiser": denoiser}
    names = {"deviation": "flow", "audio_encoder": "log-mel", "denoiser": "transformer", "normalizer": "normalizer"}
    components = {
        role: ComponentSpec(name, asdict(modules[role].config) if role in modules else {})
        for role, name in names.items()
    }
    tensors = {role: module.state_dict() for role, module in modules.items()} | {"normalizer": normalizer}
    spec = BundleSpec("full", TINY_SIZE, {}, window=Window(frames=TINY_FRAMES, seed_frames=4))
    return write_bundle(path, spec, components, tensors, "# tiny\n").path


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`write_tiny_bundle`, once per run. Tests must not change it: copy it first."""
    return write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture(scope="session")
def make_speech() -> Callable[..., Path]:
    """(path, seconds, rng_seed=0) -> a WAV file."""
    return lambda path, seconds, rng_seed=0: write_wave(path, speech_samples(seconds, rng_seed))


@pytest.fixture(scope="session")
def make_speaker() -> Callable[..., Path]:
    """(path, size=(192, 192), centre=0.5, scale=1.0) -> a picture."""
    return draw_speaker


def moving_figure(count: int, size: int = 64, shade: int = 0) -> Iterator[NDArray[np.uint8]]:
    """Frames `size size 3` of a drawn half-body figure whose arms swing twice a second at 25 fps."""
    unit = size / 64
    sleeve, skin = (60, 80 + shade, 130), (214, 170, 140)
    for phase in 2 * np.pi * np.arange(count) / 12.5:
        image = Image.new("RGB", (size, size), (205 - shade, 215, 225 - shade))
        draw = ImageDraw.Draw(image)
        draw.ellipse([26 * unit, 8 * unit, 38 * unit, 22 * unit], fill=skin)
        draw.rectangle([22 * unit, 22 * unit, 42 * unit, size - 1], fill=sleeve)
        for side in (-1, 1):
            shoulder = np.array([32 + side * 10, 26.0])
            elbow = shoulder + np.array([side * 7, 11 + 2 * np.sin(phase)])
            hand = elbow + np.array([side * 9 * np.cos(phase), -9 * np.sin(phase)])
            points = [tuple(float(v) for v in point * unit) for point in (shoulder, elbow, hand)]
            draw.line(points, fill=sleeve, width=max(2, round(4 * unit)))
            x, y = points[2]
            draw.ellipse([x - 3 * unit, y - 3 * unit, x + 3 * unit, y + 3 * unit], fill=skin)
        yield np.asarray(image)


@pytest.fixture(scope="session")
def make_video() -> Callable[..., Path]:
    """(path, seconds=3, size=64, shade=0, sound=True) -> a video of the moving figure that speaks, 25 fps."""
    from gesturegen_cli.media.video import write_video
    from gesturegen_cli.types import AudioClip

    def make(path: Path, seconds: float = 3.0, size: int = 64, shade: int = 0, sound: bool = True) -> Path:
        count = round(seconds * 25)
        audio = AudioClip(speech_samples(seconds, shade)) if sound else None
        frames = moving_figure(count, size, shade)
        write_video(path, frames, fps=25, size=(size, size), frame_count=count, audio=audio)
        return path

    return make
