"""What makes a random person: body, face, clothes, hair and colours as plain numbers and names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from .arrays import Array
from .assets import Assets

T = TypeVar("T")

# morphs that move or reshape whole features too far to stay believable when mixed at random
_SKIPPED = re.compile(
    r"(head-trans|neck-trans|head-age|head-angle|head-scale|ear-shape-pointed|eye-trans|move|push"
    r"|head-(square|triangular|invertedtriangular|diamond|rectangular|round|oval)"
    r"|neck-scale-(depth|horiz)|jaw-drop|double)"
)
_HEADS = ("oval", "round", "square", "rectangular", "triangular", "invertedtriangular", "diamond")
# a crop top, and a suit whose shading texture does not match its colours
_UNUSED_CLOTHES = ("female_sportsuit01", "male_worksuit01")
_TOPS = ("long", "long", "short", "threequarter", "turtle")
_HAIR = {
    "male": ("short01", "short02", "short03", "short04", "short02", "short04", None, "afro01"),
    "female": (
        *("bob01", "bob02", "braid01", "braid01", "long01", "long01"),
        *("ponytail01", "ponytail01", "afro01", "short03"),
    ),
}
_DARK = ((0.035, 0.028, 0.025), (0.06, 0.045, 0.035), (0.10, 0.06, 0.04))
_LIGHT = ((0.17, 0.10, 0.055), (0.28, 0.17, 0.09), (0.45, 0.33, 0.19), (0.30, 0.12, 0.06))
_GREY = ((0.33, 0.32, 0.31), (0.55, 0.54, 0.53))


@dataclass(frozen=True)
class PersonSpec:
    """One person. `age` 0 is about 25 years, 1 about 80; weights are 0..1; colours are linear RGB."""

    gender: str
    maleness: float
    age: float
    ethnicity: dict[str, float]
    muscle: float
    weight: float
    details: tuple[tuple[tuple[str, ...], float], ...]
    clothes: str | None  # an outfit, or None for a procedural top
    top: str
    hair: str | None
    hair_rgb: Array
    eyebrows: str
    eyelashes: str
    eye: str
    skin_gain: Array
    skin_pick: int
    cloth_seed: int


def pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    """One of `options`, uniformly."""
    return options[int(rng.integers(len(options)))]


def sample_person(assets: Assets, rng: np.random.Generator) -> PersonSpec:
    """A random person from the asset folder."""
    gender = "male" if rng.random() < 0.5 else "female"
    ethnicity = dict(zip(("african", "asian", "caucasian"), rng.dirichlet([0.45] * 3).tolist(), strict=True))
    age = float(np.clip(rng.beta(1.2, 2.2), 0, 1))
    outfits = [n for n in assets.names("clothes") if n.startswith(gender) and n not in _UNUSED_CLOTHES]
    brown = ("brown_eye.png", "brown_eye.png", "brownlight_eye.png")
    eyes = assets.names("eyes/textures") if ethnicity["caucasian"] > 0.5 else brown
    return PersonSpec(
        gender=gender,
        maleness=float(np.clip((gender == "male") + rng.normal(0, 0.08), 0, 1)),
        age=age,
        ethnicity=ethnicity,
        muscle=float(np.clip(rng.normal(0.5, 0.13), 0.1, 0.9)),
        weight=float(np.clip(rng.normal(0.52, 0.15), 0.15, 0.95)),
        details=tuple(_sample_details(assets, rng)),
        clothes=pick(rng, outfits) if rng.random() < 0.5 else None,
        top=pick(rng, _TOPS),
        hair=_sample_hair(rng, gender, ethnicity),
        hair_rgb=_sample_hair_colour(rng, age, ethnicity),
        eyebrows=pick(rng, assets.names("eyebrows")),
        eyelashes=pick(rng, assets.names("eyelashes")),
        eye=pick(rng, eyes),
        skin_gain=np.exp(rng.normal(0, 0.07) + rng.normal(0, 0.02, 3)),
        skin_pick=int(rng.integers(0, 3)),
        cloth_seed=int(rng.integers(1 << 30)),
    )


def _sample_details(assets: Assets, rng: np.random.Generator) -> Iterator[tuple[tuple[str, ...], float]]:
    for key, names in sorted(assets.details().items()):
        if not _SKIPPED.search(key) and rng.random() < 0.22:
            yield tuple(names), float(min(abs(rng.normal(0, 0.3)), 0.8))
    yield (f"head/head-{pick(rng, _HEADS)}",), float(rng.uniform(0, 0.6))


def _sample_hair(rng: np.random.Generator, gender: str, ethnicity: dict[str, float]) -> str | None:
    hair = pick(rng, _HAIR[gender])
    if hair == "afro01" and ethnicity["african"] < 0.4:
        return "short02" if gender == "male" else "ponytail01"
    return hair


def _sample_hair_colour(rng: np.random.Generator, age: float, ethnicity: dict[str, float]) -> Array:
    if rng.random() < (age - 0.25) * 1.4:
        colours: Sequence[tuple[float, float, float]] = _GREY
    elif ethnicity["caucasian"] > 0.45 and rng.random() < 0.65:
        colours = _LIGHT
    else:
        colours = _DARK
    return np.array(pick(rng, colours)) * rng.uniform(0.85, 1.15)


def macro_weights(spec: PersonSpec) -> Iterator[tuple[str, float]]:
    """(morph name, weight) of the body: products of gender, age, ethnicity, muscle and weight factors."""
    ages = {"young": 1 - spec.age, "old": spec.age}
    muscles, weights = _three_way(spec.muscle), _three_way(spec.weight)
    for gender, g in (("male", spec.maleness), ("female", 1 - spec.maleness)):
        for age, y in ages.items():
            for ethnicity, e in spec.ethnicity.items():
                if g * y * e > 0.01:
                    yield f"macro/{ethnicity}-{gender}-{age}", g * y * e
            for muscle, m in muscles.items():
                for weight, w in weights.items():
                    if g * y * m * w > 0.005:
                        yield f"macro/universal-{gender}-{age}-{muscle}muscle-{weight}weight", g * y * m * w


def _three_way(x: float) -> dict[str, float]:
    return {"max": max(0.0, 2 * x - 1), "min": max(0.0, 1 - 2 * x), "average": 1 - abs(2 * x - 1)}
