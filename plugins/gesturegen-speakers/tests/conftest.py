"""Shared by the tests: where the assets are, and a wave that sounds enough like speech to plan gestures."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from gesturegen_speakers.arrays import Array


@pytest.fixture(scope="session")
def assets_root() -> Path:
    root = os.environ.get("CC0_PEOPLE")
    if not root or not Path(root).is_dir():
        pytest.skip("the CC0 assets are not here (set CC0_PEOPLE)")
    return Path(root)


@pytest.fixture(scope="session")
def espeak() -> None:
    if shutil.which("espeak-ng") is None:
        pytest.skip("espeak-ng is not installed")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture(scope="session")
def talk() -> Array:
    """8 s: syllables five times a second from 1 to 3.5 s and from 4.5 to 7 s, silence elsewhere."""
    t = np.arange(8 * 16000) / 16000
    noise = np.random.default_rng(0)
    strength = np.repeat(noise.uniform(0.25, 1, 40), 3200)
    syllable = np.clip(np.sin(2 * np.pi * 5 * t), 0, 1) ** 2 * strength
    voice = sum(np.sin(2 * np.pi * 140 * k * t) / k for k in range(1, 12))
    speaking = ((t > 1) & (t < 3.5)) | ((t > 4.5) & (t < 7))
    return np.asarray(0.2 * voice * syllable * speaking, np.float32)
