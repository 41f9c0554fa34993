"""Sections D, E and F: pictures and clips of real people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from measures import (
    Frames,
    Row,
    Say,
    absent,
    animate,
    as_pictures,
    background,
    each_file,
    encode,
    in_batches,
    mean,
    moving_l1,
    psnr,
    singles,
    still_places,
    take,
)
from torch import Tensor

from gesturegen_cli.errors import InputError
from gesturegen_cli.evaluation.items import find_items
from gesturegen_cli.evaluation.view import View, iter_pictures
from gesturegen_cli.media.audio import load_audio
from gesturegen_cli.pipeline import Pipeline
from gesturegen_cli.rendering import Source
from gesturegen_cli.types import SAMPLE_RATE, AudioClip

PICTURES = (".png", ".jpg", ".jpeg", ".webp")
GESTURING = ("man_gesturing_4s", "man_gesturing_phone_33s", "man_gesturing_seated_20s")
TALKING = ("man_talking_6s", "woman_talking_7s")
FPS, FIRST, EVERY = 25.0, 250, 4
"""Of a real clip every 4th of the first 250 frames is driven, as in the study of the model."""
SPOKEN, SHOWN = 8.0, 5
"""Seconds of speech, and every which frame of it, that the background is watched for."""
LEAST = 0.01
"""Least share of a picture that has to be background for it to count."""


def load_sources(pipeline: Pipeline, folder: Path, say: Say) -> list[Source]:
    """The pictures of a folder as `generate` would take them; those it would refuse are left out."""
    sources = []
    for path in each_file(folder, PICTURES):
        try:
            sources.append(pipeline.load_source(path))
        except InputError as error:
            say(f"left out: {error.message}")
    return sources


def measure_identity(pipeline: Pipeline, sources: list[Source], details: dict[str, Any]) -> list[Row]:
    """D: every picture rendered with its own motion."""
    model, found = pipeline.deviation, details.setdefault("identity", {})
    for source in sources:
        made = model.animate(source.state, source.motion[None]).float()
        found[source.name] = float((made - source.picture).abs().mean())
    worst = max(found, key=lambda name: found[name], default="")
    note = f"{len(found)} pictures, worst {found[worst]:.4f} ({worst})" if found else "no pictures"
    return [Row("D", "identity of real pictures, L1", mean([*found.values()]), "", 0.006, note=note)]


def measure_background(
    pipeline: Pipeline, sources: list[Source], speech: Path, details: dict[str, Any], say: Say
) -> list[Row]:
    """E: what changes where nothing should, while the person in the picture speaks."""
    name, model = "still background, mean change", pipeline.deviation
    if pipeline.bundle.spec.kind != "full":
        return absent("E", "the bundle has no stage 2", name)
    if not hasattr(model, "extract"):
        return absent("E", "the model has no layers", name)
    clip, found = load_audio(speech), details.setdefault("background", {})
    clip = AudioClip(clip.samples[: round(SPOKEN * SAMPLE_RATE)], clip.name)
    for source in sources:
        say(f"background of {source.name}")
        motion = pipeline.sample_motion(clip, source).motion[::SHOWN].to(pipeline.device)
        change, share = _background_change(model, source, model.retarget(motion, source.state))
        if share >= LEAST:
            found[source.name] = {"change": change, "share": share}
    values = [one["change"] for one in found.values()]
    note = (
        f"{len(found)} of {len(sources)} pictures have a background far enough away, worst {max(values, default=0):.2f}"
    )
    return [Row("E", name, mean(values), "grey levels", 1.0, note=note)]


def _background_change(model: Any, source: Source, motion: Tensor) -> tuple[float, float]:
    """Mean change in grey levels over the places that should be still, and their share of the picture."""
    own = background(model, source.picture)
    least, change = own.clone(), torch.zeros_like(own)
    for images in animate(model, source.state, motion):
        least = torch.minimum(least, background(model, images).amin(dim=0, keepdim=True))
        change += (images - source.picture).abs().mean(dim=1, keepdim=True).sum(dim=0, keepdim=True)
    still = still_places(own, least)
    if not still.any():
        return 0.0, 0.0
    return float(change[still].mean()) / len(motion) * 255, float(still.float().mean())


def measure_clips(pipeline: Pipeline, folder: Path, details: dict[str, Any], say: Say) -> list[Row]:
    """F: real clips driven by themselves from their first frame."""
    view = View(FPS, pipeline.deviation.size, pipeline.device, "middle", FIRST)
    found: dict[str, dict[str, float]] = details.setdefault("clips", {})
    for item in find_items(folder):
        say(f"clip {item.id}")
        found[item.id] = _drive(pipeline, take(iter_pictures(item, view), every=EVERY))
    gesturing, talking = ([v for k, v in found.items() if k.startswith(names)] for names in (GESTURING, TALKING))
    worst = max(found, key=lambda name: found[name]["ratio"])
    above = [one["psnr"] - one["copied"] for one in gesturing]
    least = min((one["psnr"] - one["copied"] for one in talking), default=None)
    clips = f"{len(gesturing)} of {len(GESTURING)} clips"
    return [
        Row("F", "gesturing clips: PSNR above copy", mean(above), "dB", 2.2, True, clips),
        Row("F", "gesturing clips: moving L1, model / copy", mean([v["ratio"] for v in gesturing]), "", 0.72),
        Row("F", "every clip: largest moving L1, model / copy", found[worst]["ratio"], "", 0.9999, note=worst),
        Row(
            "F",
            "talking clips: least PSNR above copy",
            least,
            "dB",
            0.0,
            True,
            f"{len(talking)} of {len(TALKING)} clips",
        ),
    ]


def _drive(pipeline: Pipeline, frames: Frames) -> dict[str, float]:
    """Scores of a clip `t h w 3` and of its first frame repeated; the first frame itself does not count."""
    model, device = pipeline.deviation, pipeline.device
    source = as_pictures(frames[:1], device)
    state, motion = model.encode_source(source), encode(model, frames[1:], device)
    scores: list[tuple[float, float]] = []
    moving: list[tuple[float, float]] = []
    for made, real in zip(animate(model, state, motion), in_batches(frames[1:], device), strict=True):
        each = zip(singles(made), singles(real), strict=True)
        scores += [(psnr(image, truth), psnr(source, truth)) for image, truth in each]
        moving += moving_l1(made, real, source)
    (own, copied), (error, repeated) = (
        [mean(column) or 0.0 for column in zip(*rows, strict=True)] for rows in (scores, moving)
    )
    return {
        "frames": len(scores),
        "psnr": own,
        "copied": copied,
        "moving_l1": error,
        "moving_l1_copied": repeated,
        "ratio": error / repeated,
    }
