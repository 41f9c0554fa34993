"""What gestures follow in speech: energy, phrases (runs without pause) and accents (stressed syllables)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.signal import butter, find_peaks, sosfiltfilt

from .arrays import Array

RATE = 16000  # samples per second
HOP = 100  # analysis steps per second
_SILENT = 1e-4  # root mean square below which a whole wave counts as silence


@dataclass(frozen=True)
class SpeechFeatures:
    """Features at 100 steps per second; times in seconds."""

    duration: float
    energy: Array  # [l] 0..1
    brightness: Array  # [l] 0..1, spectral tilt
    phrases: tuple[tuple[float, float], ...]  # start, end
    accents: tuple[tuple[float, float], ...]  # time, strength (about 1)


def analyse(wave: Array) -> SpeechFeatures:
    """Features of a 16 kHz mono wave [n] in -1..1; silence has no phrases and no accents."""
    steps = len(wave) * HOP // RATE
    duration = len(wave) / RATE
    level = _level(wave, steps)
    if level.max(initial=0.0) < _SILENT:
        return SpeechFeatures(duration, np.zeros(steps), np.full(steps, 0.5), (), ())
    low = _level(_band(wave, 150, 1000), steps)
    high = _level(_band(wave, 1800, 6000), steps)
    decibel = 20 * np.log10(level)
    reference = float(np.percentile(decibel, 95))
    energy = np.clip((decibel - reference + 32) / 32, 0, 1)
    brightness = np.clip(0.85 + 0.7 * np.log10(high / low), 0, 1)
    phrases = _phrases(energy)
    nuclei = 10 ** (np.clip(20 * np.log10(low) - reference, -40, 5) / 20)
    return SpeechFeatures(duration, energy, brightness, phrases, _accents(gaussian_filter1d(nuclei, 4), phrases))


def _band(wave: Array, low: float, high: float) -> Array:
    return np.asarray(sosfiltfilt(butter(2, [low, high], "band", fs=RATE, output="sos"), wave))


def _level(wave: Array, steps: int) -> Array:
    """Root mean square over 25 ms around every step."""
    power = np.concatenate([[0.0], np.cumsum(wave.astype(np.float64) ** 2)])
    centre, half = np.arange(steps) * RATE // HOP, RATE // 80
    a, b = np.maximum(centre - half, 0), np.minimum(centre + half, len(wave))
    return np.asarray(np.sqrt(np.maximum(power[b] - power[a], 0) / np.maximum(b - a, 1) + 1e-10))


def _phrases(energy: Array, longest_gap: float = 0.22, shortest: float = 0.2) -> tuple[tuple[float, float], ...]:
    speech = gaussian_filter1d((energy > 0.35).astype(float), 6) > 0.3
    edges = np.flatnonzero(np.diff(np.concatenate([[0], speech.astype(int), [0]]))) / HOP
    merged: list[tuple[float, float]] = []
    for start, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if merged and start - merged[-1][1] < longest_gap:
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((start, end))
    return tuple(p for p in merged if p[1] - p[0] > shortest)


def _accents(nuclei: Array, phrases: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
    """Prominent syllable nuclei inside phrases, the strongest first, at least 0.38 s apart."""
    base = gaussian_filter1d(nuclei, 75)
    found = []
    for peak in find_peaks(nuclei, distance=12, prominence=0.02)[0]:
        rise = nuclei[peak] - nuclei[max(0, peak - 15) : peak + 1].min()
        time, strength = peak / HOP, float((0.6 * nuclei[peak] + 0.4 * rise) / (base[peak] + 1e-3))
        if strength > 0.9 and any(a <= time <= b for a, b in phrases):
            found.append((float(time), strength))
    kept: list[tuple[float, float]] = []
    for time, strength in sorted(found, key=lambda accent: -accent[1]):
        if all(abs(time - other) > 0.38 for other, _ in kept):
            kept.append((time, strength))
    return tuple(sorted(kept))
