"""Section G: motion of one person put on another, against the same motion rendered on both (cross_identity.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from measures import (
    Frames,
    Row,
    Say,
    absent,
    animate,
    as_pictures,
    each_file,
    encode,
    in_batches,
    mean,
    moving_l1,
    psnr,
    singles,
)
from torch import Tensor

from gesturegen_cli.pipeline import Pipeline

NAME = "cross identity: PSNR above copy"


def measure_transfer(pipeline: Pipeline, folder: Path | None, details: dict[str, Any], say: Say) -> list[Row]:
    """G: each driver's motion, person-free by its own typical pose, on the picture of another person."""
    files = each_file(folder, (".npz",)) if folder is not None and folder.is_dir() else []
    if not files:
        return absent("G", "no --cross FOLDER, which cross_identity.py makes", NAME)
    found: dict[str, dict[str, float]] = details.setdefault("cross", {})
    for path in files:
        say(f"pair {path.stem}")
        with np.load(path) as data:
            found[path.stem] = _transfer(pipeline, data["source"], data["driver"], data["truth"], data["shown"])
    columns = {key: mean([one[key] for one in found.values()]) or 0.0 for key in next(iter(found.values()))}
    gain, own = columns["psnr"] - columns["copied"], columns["own"] - columns["copied"]
    return [
        Row("G", NAME, gain, "dB", 1.6, True, f"{len(found)} pairs of people"),
        Row("G", "cross identity: moving L1, model / copy", columns["moving_l1"] / columns["moving_l1_copied"]),
        Row("G", "PSNR above copy, driven by the person's own frames", own, "dB", note="a bound on transfer"),
    ]


def _transfer(
    pipeline: Pipeline, source: Frames, driver: Frames, truth: Frames, shown: np.ndarray[Any, np.dtype[np.int64]]
) -> dict[str, float]:
    """Scores over the frames `shown`; the driver's typical pose is the mean over all its frames, as in training."""
    model, device = pipeline.deviation, pipeline.device
    picture, real = as_pictures(source[None], device), truth[shown]
    state, motion = model.encode_source(picture), encode(model, driver, device)
    carried = model.retarget(model.neutralize(motion, motion.mean(0)), state)[torch.from_numpy(shown)]
    images = list(animate(model, state, carried))
    own = list(animate(model, state, encode(model, real, device)))
    scores: list[tuple[float, ...]] = []
    moving: list[tuple[float, float]] = []
    for made, same, frames in zip(images, own, in_batches(real, device), strict=True):
        scores += [_scores(one, picture) for one in zip(singles(made), singles(same), singles(frames), strict=True)]
        moving += moving_l1(made, frames, picture)
    columns = [mean(values) or 0.0 for values in (*zip(*scores, strict=True), *zip(*moving, strict=True))]
    return dict(zip(("psnr", "own", "copied", "moving_l1", "moving_l1_copied"), columns, strict=True))


def _scores(one: tuple[Tensor, Tensor, Tensor], picture: Tensor) -> tuple[float, ...]:
    made, same, real = one
    return psnr(made, real), psnr(same, real), psnr(picture, real)
