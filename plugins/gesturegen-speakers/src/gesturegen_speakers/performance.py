"""Speech -> motion of a whole upper body: hands, torso, head, gaze, face, at 25 frames per second."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from .arrays import Array
from .gestures import Stroke, Style, plan, plan_workspace, sample_style
from .motion import Motion
from .speech_features import HOP, SpeechFeatures, analyse
from .tracks import Track, wander

FPS = 25


@dataclass(frozen=True)
class Performance:
    """Motion with the plan that it follows."""

    motion: Motion
    style: Style
    features: SpeechFeatures
    strokes: tuple[Stroke, ...]


def perform(wave: Array, rng: np.random.Generator, workspace: bool = False, style: Style | None = None) -> Performance:
    """Motion to a 16 kHz wave [n]: floor(n / 640) frames.

    `workspace` replaces the co-speech gestures by random hand places and larger turns of torso and head.
    """
    features = analyse(wave)
    style = sample_style(rng) if style is None else style
    tracks, strokes = (plan_workspace if workspace else plan)(features, rng, style)
    times = np.arange(len(wave) * FPS // 16000) / FPS
    hands = {side: _move_hand(track, rng, times) for side, track in tracks.items()}
    torso, neck, breath = _move_body(features, rng, style, times, hands)
    if workspace:
        torso = torso + _turns(features, rng, times, (2.5, 7, 3))
        neck = neck + _turns(features, rng, times, (6, 12, 5))
    neck = neck - torso * np.array([0.5, 0.6, 0.8])  # keep the face towards the camera
    nods, brow = _accent_moves(features, rng, style, times)
    neck[:, 0] += nods
    gaze = _look_around(rng, times, neck + torso)
    face = _move_face(features, rng, style, times, brow)
    return Performance(Motion(torso, neck, gaze, breath, face, hands), style, features, tuple(strokes))


def _move_hand(track: Track, rng: np.random.Generator, times: Array) -> Array:
    row = track.sample(times)
    row[:, :3] += wander(rng, times, 0.35, 3) * 0.008
    row = gaussian_filter1d(row, 0.6, axis=0)
    row[:, 5:] = np.maximum(row[:, 5:], 0)
    return np.asarray(row)


def _move_body(
    features: SpeechFeatures, rng: np.random.Generator, style: Style, times: Array, hands: dict[str, Array]
) -> tuple[Array, Array, Array]:
    """Torso and neck rotation vectors [t, 3] (sway, breathing, leaning to the busy hand) and the breath [t]."""
    sway = wander(rng, times, 0.22, 3) * np.radians([1.2, 2.6, 1.3]) * style.sway
    breath = np.sin(2 * np.pi * 0.26 * times + rng.uniform(0, 2 * np.pi))
    raised = {side: row[:, 1] - row[:1, 1] for side, row in hands.items()}
    lean = gaussian_filter1d(raised["L"] - raised["R"], 6)
    torso = sway + np.stack([0.012 * breath, -0.10 * lean, 0.05 * lean], 1)
    neck = wander(rng, times, 0.3, 3) * np.radians([2.0, 5.0, 1.8]) * style.sway
    return torso, neck, breath


def _turns(
    features: SpeechFeatures, rng: np.random.Generator, times: Array, degrees: tuple[float, float, float]
) -> Array:
    """Random larger turns [t, 3], each taking 0.7 to 1.3 s and arriving on an accent, ending straight."""
    track = Track(np.zeros(3))
    free = 0.0
    for time, _ in features.accents:
        duration = rng.uniform(0.7, 1.3)
        if time - duration >= free:
            track.to(time - duration, time, rng.normal(0, 1, 3).clip(-2, 2) * np.radians(degrees))
            free = time + rng.uniform(0, 0.4)
    track.to(free, free + 1.2, np.zeros(3))
    return track.sample(times)


def _accent_moves(
    features: SpeechFeatures, rng: np.random.Generator, style: Style, times: Array
) -> tuple[Array, Array]:
    """Nods [t] in radians and raised brows [t] on accents; a nod lifts slightly before it falls."""
    nods, brow = np.zeros(len(times)), np.zeros(len(times))
    for time, strength in features.accents:
        if rng.random() < 0.75:
            size = np.radians(rng.uniform(2, 6)) * style.nod * min(strength, 1.6)
            u = times - time + 0.02
            nods += size * (np.exp(-((u / 0.11) ** 2)) - 0.45 * np.exp(-(((u + 0.22) / 0.13) ** 2)))
        if rng.random() < 0.3:
            brow += rng.uniform(0.3, 0.8) * np.exp(-(((times - time) / 0.18) ** 2))
    return nods, brow


def _look_around(rng: np.random.Generator, times: Array, head: Array) -> Array:
    """Gaze [t, 2]: saccades (eyes do jump), mostly to the camera, compensating the turn of the head."""
    gaze = np.zeros((len(times), 2))
    k = 0
    while k < len(times):
        hold = int(rng.uniform(0.5, 2.2) * FPS)
        gaze[k : k + hold] = rng.normal(0, 0.09, 2) * (rng.random() < 0.5)
        k += hold
    gaze[:, 0] -= head[:, 1] * 0.8
    gaze[:, 1] += head[:, 0] * 0.6
    return gaze.clip(-0.5, 0.5)


def _move_face(
    features: SpeechFeatures, rng: np.random.Generator, style: Style, times: Array, brow: Array
) -> dict[str, Array]:
    """Face unit weights [t]: jaw from energy, lips from spectral tilt, blinks, smile and brows."""
    step = np.clip((times * HOP).astype(int), 0, max(len(features.energy) - 1, 0))
    energy = gaussian_filter1d(features.energy, 2.5)[step]
    bright = gaussian_filter1d(features.brightness, 6)[step]
    jaw = np.clip((energy - 0.42) / 0.58, 0, 1) ** 1.2 * 0.55
    kiss = gaussian_filter1d(np.clip(0.45 - bright, 0, 0.4) * 2.2 * (energy > 0.3), 1)
    wide = gaussian_filter1d(np.clip(bright - 0.5, 0, 0.5) * 1.2 * (energy > 0.3), 1)
    blink = _blinks(rng, times)
    raised = style.brow + brow
    smile = np.full(len(times), style.smile * 0.7)
    return {
        "JawDrop": jaw,
        "LipsKiss": kiss,
        "MouthLeftPullSide": wide * 0.6,
        "MouthRightPullSide": wide * 0.6,
        "MouthLeftPullUp": smile,
        "MouthRightPullUp": smile,
        "LeftUpperLidClosed": blink,
        "RightUpperLidClosed": blink,
        "UpperLipUp": 0.25 * jaw,
        "lowerLipDown": 0.25 * jaw,
        "LeftOuterBrowUp": raised,
        "RightOuterBrowUp": raised,
        "LeftInnerBrowUp": 0.45 * raised,
        "RightInnerBrowUp": 0.45 * raised,
    }


def _blinks(rng: np.random.Generator, times: Array) -> Array:
    blink = np.zeros(len(times))
    at = rng.uniform(0.3, 2)
    while len(times) and at < times[-1]:
        blink = np.maximum(blink, np.clip(1.25 - np.abs((times - at) / 0.07) * 0.8, 0, 1))
        at += rng.exponential(2.6) + 0.6
    return blink
