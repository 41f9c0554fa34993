"""Gesture planning: which hand does what on which accent, as minimum-jerk tracks whose strokes end on accents."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .arrays import Array
from .motion import HAND_SHAPES, hand_key
from .person_spec import pick
from .speech_features import SpeechFeatures
from .tracks import Track

KINDS = ("beat", "present", "point", "precision", "sweep", "raise")


@dataclass(frozen=True)
class Style:
    """How one speaker gestures."""

    amplitude: float
    rate: float  # share of accents that get a stroke
    right: float  # share of one-handed strokes made by the right hand
    both: float  # share of two-handed strokes
    rest: str  # folded, ready or low
    lift: float
    nod: float
    sway: float
    smile: float
    brow: float
    favourites: Array  # [6] probabilities of KINDS


@dataclass(frozen=True)
class Stroke:
    """A planned stroke: time of its apex in seconds, kind, hands ('L', 'R' or 'LR')."""

    apex: float
    kind: str
    hands: str


@dataclass
class _Hand:
    """A hand while it is being planned."""

    track: Track
    rest: Array
    free: float = 0.0  # time from which it may start to move again
    resting: bool = True


def sample_style(rng: np.random.Generator) -> Style:
    """A random speaker."""
    return Style(
        amplitude=float(rng.uniform(0.7, 1.25)),
        rate=float(rng.uniform(0.55, 0.95)),
        right=float(rng.uniform(0.25, 0.75)),
        both=float(rng.uniform(0.25, 0.6)),
        rest=pick(rng, ("folded", "ready", "low", "ready")),
        lift=float(rng.normal(0, 0.035)),
        nod=float(rng.uniform(0.5, 1.3)),
        sway=float(rng.uniform(0.5, 1.4)),
        smile=float(rng.uniform(0, 0.35)),
        brow=float(rng.uniform(0.15, 0.4)),
        favourites=rng.dirichlet(np.ones(len(KINDS)) * 1.2),
    )


def rest_keys(kind: str, rng: np.random.Generator) -> dict[str, Array]:
    """Rest pose of both hands: folded in front, ready at the belly, or low at the sides."""
    if kind == "folded":
        left, right = ((0.11, -0.62, 0.41), 95), ((0.10, -0.57, 0.52), 100)
        return {"L": hand_key(*left, "relaxed", 4), "R": hand_key(*right, "relaxed", 4)}
    if kind == "ready":
        places = {side: np.array([0.25, -0.60, 0.44]) + rng.normal(0, 0.02, 3) * [1, 1, 0] for side in "LR"}
        return {side: hand_key(place, 105, "relaxed", 5) for side, place in places.items()}
    return {side: hand_key((0.33, -0.93, 0.20), 100, "relaxed", 6) for side in "LR"}


def plan(features: SpeechFeatures, rng: np.random.Generator, style: Style) -> tuple[dict[str, Track], list[Stroke]]:
    """Tracks of both hands [13] (see motion.Motion) and the strokes in them; in silence the hands rest."""
    hands = {side: _Hand(Track(key), key) for side, key in rest_keys(style.rest, rng).items()}
    strokes: list[Stroke] = []
    for start, end in features.phrases:
        strokes += _plan_phrase([a for a in features.accents if start <= a[0] <= end], rng, style, hands)
        following = min((p[0] for p in features.phrases if p[0] > end), default=np.inf)
        for hand in hands.values():
            if not hand.resting and (following - end > 0.55 or rng.random() < 0.35):
                retract(hand, end, rng)
    return {side: hand.track for side, hand in hands.items()}, strokes


def retract(hand: _Hand, phrase_end: float, rng: np.random.Generator) -> None:
    """Bring the hand back to rest around the end of a phrase."""
    begin = max(hand.free + 0.15, phrase_end - 0.1)
    duration = rng.uniform(0.55, 0.9)
    hand.track.to(begin, begin + duration, hand.rest)
    hand.free, hand.resting = begin + duration * 0.7, True


def _plan_phrase(
    accents: list[tuple[float, float]], rng: np.random.Generator, style: Style, hands: dict[str, _Hand]
) -> list[Stroke]:
    strokes = []
    kind, two_handed, main = "", False, "R"
    for time, strength in accents:
        if rng.random() > style.rate:
            continue
        if not kind or rng.random() < 0.45:
            kind = KINDS[int(rng.choice(len(KINDS), p=style.favourites))]
            two_handed = rng.random() < style.both and kind != "point"
            main = "R" if rng.random() < style.right else "L"
        elif rng.random() < 0.6:  # repeated small strokes within one gesture unit
            kind = "beat"
        apex = time - rng.uniform(0, 0.05)
        amplitude = style.amplitude * float(np.clip(0.55 + 0.3 * strength, 0.6, 1.35))
        sides = "LR" if two_handed else main
        seed = int(rng.integers(1 << 30))  # both hands make the same shape
        keys = [stroke_keys(kind, np.random.default_rng(seed), amplitude, style.lift) for _ in sides]
        made = [_stroke(hands[s], k, kind, apex, amplitude, rng) for s, k in zip(sides, keys, strict=True)]
        if any(made):
            strokes.append(Stroke(apex, kind, sides))
    return strokes


def _stroke(
    hand: _Hand, keys: tuple[Array, Array], kind: str, apex: float, amplitude: float, rng: np.random.Generator
) -> bool:
    """Preparation, stroke ending at `apex`, then a small recoil; False when the hand has no time for it."""
    before, peak = keys
    if kind == "beat" and not hand.resting:  # beat where the hand is instead of moving away
        before, peak = hand.track.last.copy(), hand.track.last.copy()
        before[1] += 0.09 * amplitude
        peak[1] -= 0.05 * amplitude
        peak[2] += 0.03
        before[4] = max(before[4] - 8, -30)
        peak[4] = min(peak[4] + 6, 30)
    duration = rng.uniform(0.14, 0.22)
    distance = float(np.linalg.norm(before[:3] - hand.track.last[:3]))
    preparation = float(np.clip(0.22 + 0.55 * distance, 0.2, 0.6))
    if apex - duration - 0.12 < hand.free:
        return False
    hand.track.to(max(hand.free, apex - duration - preparation), apex - duration * 0.8, before)
    hand.track.to(apex - duration, apex, peak)
    settled = peak.copy()
    settled[:3] = peak[:3] * 0.75 + before[:3] * 0.25
    settled[4] = peak[4] * 0.5
    hand.track.to(apex + 0.02, apex + 0.32, settled)
    hand.free, hand.resting = apex + 0.12, False
    return True


def stroke_keys(kind: str, rng: np.random.Generator, amplitude: float, lift: float) -> tuple[Array, Array]:
    """Hand rows [13] before the stroke and at its apex, for one hand in its own sideways frame."""
    shift = rng.normal(0, 0.03, 3) + np.array([0, lift, 0])

    def place(centre: tuple[float, float, float], *offset: float) -> Array:
        return np.asarray(np.array(centre) + shift + np.array(offset) * amplitude)

    if kind == "beat":
        shape, c = pick(rng, ("relaxed", "flat", "cup", "claw")), (0.24, -0.45, 0.50)
        roll = pick(rng, (95, 50, 140)) + rng.normal(0, 8)
        return hand_key(place(c, 0, 0.13, -0.05), roll, shape, -8), hand_key(
            place(c, 0.02, -0.08, 0.06), roll, shape, 10
        )
    if kind == "present":
        shape, c = pick(rng, ("open", "cup", "flat")), (0.26, -0.50, 0.46)
        apex = hand_key(place(c, 0.16, 0.02, 0.12), rng.uniform(5, 35), shape, -24)
        return hand_key(place(c, -0.08, 0.06, -0.04), 80, "relaxed"), apex
    if kind == "point":
        c = (0.24, -0.30, 0.52)
        apex = hand_key(place(c, 0, -0.05, 0.10), rng.uniform(100, 140), "point", 6)
        return hand_key(place(c, 0, 0.06, -0.12), 90, "point", -5), apex
    if kind == "precision":
        c = (0.24, -0.32, 0.50)
        apex = hand_key(place(c, 0, -0.06, 0.05), rng.uniform(100, 130), "precision", 8)
        return hand_key(place(c, 0, 0.12, -0.04), 105, "precision", -6), apex
    if kind == "sweep":
        c = (0.22, -0.42, 0.50)
        apex = hand_key(place(c, 0.22, 0, 0.02), rng.uniform(125, 160), "open", -6)
        return hand_key(place(c, -0.12, 0.04, 0), 135, "flat"), apex
    c = (0.30, -0.22, 0.44)  # raise: open palm beside the chest
    apex = hand_key(place(c, 0.06, 0.08, 0.05), rng.uniform(110, 155), "open", -14)
    return hand_key(place(c, -0.04, -0.14, 0), 90, "relaxed"), apex


def plan_workspace(
    features: SpeechFeatures, rng: np.random.Generator, style: Style
) -> tuple[dict[str, Track], list[Stroke]]:
    """Like `plan`, but the hands visit random places of the whole workspace with random shapes, arriving on accents."""
    hands = {side: _Hand(Track(key), key) for side, key in rest_keys(style.rest, rng).items()}
    strokes = []
    for time, _ in features.accents:
        for side, hand in hands.items():
            key = _random_hand(rng)
            distance = float(np.linalg.norm(key[:3] - hand.track.last[:3]))
            turn = abs(float(key[3] - hand.track.last[3])) / 165
            duration = max(0.35 + 0.45 * distance, 0.3 + 0.5 * turn) * rng.uniform(0.9, 1.3)
            if rng.random() < 0.8 and time - duration >= hand.free:
                hand.track.to(time - duration, time, key)
                hand.free, hand.resting = time + 0.05, False
                strokes.append(Stroke(time, "workspace", side))
    if features.phrases:
        for hand in hands.values():
            if not hand.resting:
                retract(hand, features.phrases[-1][1], rng)
    return {side: hand.track for side, hand in hands.items()}, strokes


def _random_hand(rng: np.random.Generator) -> Array:
    key = hand_key(rng.uniform([-0.05, -0.95, 0.12], [0.62, 0.12, 0.62]), rng.uniform(0, 165), "relaxed")
    key[4] = np.clip(rng.normal(0, 16), -35, 35)
    first, second = rng.choice(len(HAND_SHAPES), 2, replace=False)
    mix = rng.random()
    key[5:] = 0
    key[5 + first], key[5 + second] = mix + 0.01, 1 - mix
    return key
