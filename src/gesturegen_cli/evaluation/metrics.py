"""Every metric of an evaluation: its name, its unit, which values are good, and what it needs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from gesturegen_cli.errors import ConfigError


@dataclass(frozen=True)
class Metric:
    """One metric. `better` is `higher`, `lower`, or `reference`: the nearer to the reference's own value the better."""

    key: str
    label: str
    unit: str
    better: str
    group: str
    """Heading it stands under: pictures, sets, speech, motion, stability, checks."""
    about: str
    """What it is, in one line."""


METRICS: dict[str, Metric] = {
    metric.key: metric
    for metric in (
        Metric("psnr", "PSNR", "dB", "higher", "pictures", "10 log10(1 / MSE) on RGB in [0, 1]"),
        Metric("ssim", "SSIM", "", "higher", "pictures", "structural similarity, 11 x 11 Gaussian of sigma 1.5"),
        Metric("lpips", "LPIPS", "", "lower", "pictures", "distance of AlexNet features, v0.1"),
        Metric("l1", "L1", "", "lower", "pictures", "mean absolute difference"),
        Metric("hand_l1", "hand L1", "", "lower", "pictures", "L1 inside the boxes of the reference's hands"),
        Metric("hand_psnr", "hand PSNR", "dB", "higher", "pictures", "PSNR inside the boxes of the reference's hands"),
        Metric("mouth_l1", "mouth L1", "", "lower", "pictures", "L1 inside the box of the reference's mouth"),
        Metric("moving_l1", "moving L1", "", "lower", "pictures", "L1 where the reference left its first frame"),
        Metric("sharpness", "sharpness", "", "reference", "pictures", "Laplacian variance against the reference's"),
        Metric("hand_sharpness", "hand sharpness", "", "reference", "pictures", "the same inside the hands' boxes"),
        Metric("fgd", "FGD", "", "lower", "sets", "Frechet distance of windows of poses"),
        Metric("fvd", "FVD", "", "lower", "sets", "Frechet distance of I3D features of 16 frames"),
        Metric("fvd_self", "FVD-self", "", "lower", "sets", "Frechet distance of features of our own video network"),
        Metric("div", "DIV", "", "reference", "sets", "mean L1 distance between the features of two windows of poses"),
        Metric("bas", "BAS", "", "reference", "speech", "speech onsets near rests of the motion, sigma 3 frames"),
        Metric("bas_chance", "BAS by chance", "", "reference", "speech", "BAS of the same rests, shifted in time"),
        Metric("bc", "BC", "", "reference", "speech", "speech onsets near pauses of the joints' angles, sigma 0.1 s"),
        Metric("silence", "motion in silence", "", "reference", "speech", "speed in pauses against speed in speech"),
        Metric("speed", "speed", "widths/s", "reference", "motion", "mean speed of the joints in shoulder widths"),
        Metric("jerk", "jerk", "widths/s^3", "reference", "motion", "mean third derivative of the joints"),
        Metric("range", "range of motion", "widths", "reference", "motion", "5 % to 95 % range of the wrists"),
        Metric("seam", "seam", "", "reference", "stability", "step into window boundaries against the usual step"),
        Metric("flicker", "flicker", "grey levels", "lower", "stability", "change of still background per frame"),
        Metric("colour_drift", "colour drift", "levels/min", "lower", "stability", "drift of the mean colour"),
        Metric("face_drift", "face drift", "1/min", "lower", "stability", "drift of the head's picture"),
        Metric("length", "length error", "frames", "lower", "checks", "frames too many or too few for the speech"),
        Metric("sync", "sound offset", "ms", "lower", "checks", "shift of the sound against the reference's"),
    )
}
"""All metrics by key, in the order of every table."""

GROUPS = ("pictures", "sets", "speech", "motion", "stability", "checks")

CHOICES: dict[str, tuple[str, ...]] = {
    "all": tuple(METRICS),
    "paper": ("psnr", "ssim", "fgd", "fvd", "fvd_self", "div", "bas", "bas_chance"),
    "fast": ("psnr", "ssim", "l1", "length", "sync"),
}
"""Names for sets of metrics. `paper`: those of arXiv 2409.17674 and its successor; `fast`: the cheapest
of pictures, and the checks; joints are sought all the same, for the report."""


def suggest(name: str, known: Iterable[str]) -> str:
    """A hint for a name that is not among the known ones: the one that is probably meant, else all of them."""
    near = get_close_matches(name, list(known), 1)
    return f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(known)}"


def choose_metrics(text: str) -> tuple[str, ...]:
    """`all`, `paper`, `fast`, or keys with commas between them -> keys in the order of METRICS.

    Raises ConfigError for an unknown name.
    """
    chosen: set[str] = set()
    for name in filter(None, (part.strip().lower().replace("-", "_") for part in text.split(","))):
        if name not in CHOICES and name not in METRICS:
            raise ConfigError(f"unknown metric {name!r}", suggest(name, (*CHOICES, *METRICS)))
        chosen.update(CHOICES.get(name, (name,)))
    if not chosen:
        raise ConfigError("no metric was named", f"choose from {', '.join(CHOICES)}, or name some")
    return tuple(key for key in METRICS if key in chosen)
