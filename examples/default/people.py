"""Sections A, B, C and the digital half of D: pairs of frames of labelled digital people."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from measures import (
    Frames,
    Row,
    as_pictures,
    box_inside,
    encode,
    flow_error,
    joint_error,
    joint_numbers,
    mean,
    psnr,
    sharpness,
    singles,
)
from measures import moving_l1 as moving_l1_of
from torch import Tensor

from gesturegen_cli.data.frames import BOXES, labelled_frames, read_labels
from gesturegen_cli.data.manifest import Clip
from gesturegen_cli.data.pairs import Labels
from gesturegen_cli.pipeline import Pipeline

HANDS, MOUTH = slice(0, 2), 2
"""Which of a label's boxes are which."""


@dataclass(frozen=True)
class Pair:
    """Indices into a clip's labelled frames; `option` says which of the driving frame's flows belongs to the source."""

    driving: int
    source: int
    option: int


@dataclass
class People:
    """Goes through labelled clips; `add` them, then take the `rows`. `most` pairs of each clip, 0 all."""

    pipeline: Pipeline
    sections: str
    most: int
    found: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def add(self, clip: Clip, frames: Frames) -> None:
        """Measure the pairs of a clip of which `frames` `t h w 3` are all."""
        model, device = self.pipeline.deviation, self.pipeline.device
        labels, numbers = read_labels(clip.labels, None), labelled_frames(clip)  # type: ignore[arg-type] # has labels
        shown = frames[numbers]
        if "D" in self.sections:
            picture = as_pictures(shown[:1], device)
            made = model.animate(model.encode_source(picture), model.encode(picture))
            self.found["identity"].append(float((made.float() - picture).abs().mean()))
        if not set("ABC") & set(self.sections):
            return
        motion = encode(model, shown, device)
        for pair in choose_pairs(labels["source_frames"], self.most):
            ends = as_pictures(shown[[pair.source, pair.driving]], device)
            self._pair(ends[:1], ends[1:], motion[[pair.source, pair.driving]], labels, pair)

    def _pair(self, source: Tensor, driving: Tensor, motion: Tensor, labels: Labels, pair: Pair) -> None:
        model: Any = self.pipeline.deviation
        frozen = motion[1:].clone()
        frozen[:, joint_numbers(model) :] = motion[:1, joint_numbers(model) :]
        images = model.animate(model.encode_source(source), torch.cat([motion[1:], frozen])).float().clamp(0, 1)
        made, still = singles(images)
        if "A" in self.sections:
            self.found["psnr"].append(psnr(made, driving))
            self.found["copied"].append(psnr(source, driving))
            for error, copied in moving_l1_of(made, driving, source):
                self.found["moving"].append(error)
                self.found["moving copied"].append(copied)
            self._geometry(source, driving, motion, labels, pair)
        if BOXES in labels:
            self._boxes((made, still, driving), torch.from_numpy(labels[BOXES][pair.driving]))

    def _geometry(self, source: Tensor, driving: Tensor, motion: Tensor, labels: Labels, pair: Pair) -> None:
        """Errors of joints and flow, of models that have them."""
        model: Any = self.pipeline.deviation
        if hasattr(model, "locate_person"):
            real = torch.from_numpy(labels["joints"][pair.driving]).float()
            self.found["joints"] += joint_error(model.locate_person(driving)[0].float().cpu(), real)
        if hasattr(model, "compose") and hasattr(model, "extract"):
            flow = torch.from_numpy(labels["flow"][pair.driving, pair.option].astype(np.float32))
            seen = (labels["parts"][pair.driving] > 0) & (labels["visible"][pair.driving, pair.option] > 0)
            error = flow_error(
                model.compose(model.extract(source), motion[1:]).front_grid, flow, torch.from_numpy(seen)
            )
            self.found["flow"] += [] if error is None else [error]

    def _boxes(self, pictures: tuple[Tensor, Tensor, Tensor], boxes: Tensor) -> None:
        made, still, driving = pictures
        side, device = driving.shape[-1], driving.device
        hands = [mask for box in boxes[HANDS] if (mask := box_inside(box, side)) is not None]
        mouth = box_inside(boxes[MOUTH], side)
        if "B" in self.sections:
            for mask in hands:
                self.found["sharp"].append(sharpness(made, mask.to(device)))
                self.found["sharp truth"].append(sharpness(driving, mask.to(device)))
        if "C" in self.sections:
            named = [("hand", mask) for mask in hands] + ([("mouth", mouth)] if mouth is not None else [])
            for name, mask in named:
                where = mask.to(device)
                self.found[f"{name} codes"].append(psnr(made, driving, where) - psnr(still, driving, where))

    def rows(self) -> list[Row]:
        """What was found."""
        m = {key: mean(values) for key, values in self.found.items()}

        def ratio(one: str, other: str) -> float | None:
            a, b = m.get(one), m.get(other)
            return a / b if a is not None and b else None

        pairs, boxes = f"{len(self.found['psnr'])} pairs", f"{len(self.found['sharp'])} hands"
        hand, mouth = m.get("hand codes"), m.get("mouth codes")
        both = (hand + mouth) / 2 if hand is not None and mouth is not None else None
        rows = [
            Row("A", "PSNR of unseen digital people", m.get("psnr"), "dB", 26.2, True, pairs),
            Row("A", "the same, of copying the source", m.get("copied"), "dB"),
            Row("A", "moving L1, model / copy", ratio("moving", "moving copied"), "", 0.54),
            Row("A", "joints inside the picture, error", m.get("joints"), "px of 256", 3.2),
            Row("A", "flow of what is visible, error", m.get("flow"), "px of 256", 2.8),
            Row("B", "sharpness of hands, output / truth", ratio("sharp", "sharp truth"), "", 0.45, True, boxes),
            Row("C", "freezing the codes costs, mean of both", both, "dB", 0.3, True),
            Row("C", "the same, in mouths", mouth, "dB", note=f"{len(self.found['mouth codes'])} mouths"),
            Row("C", "the same, in hands", hand, "dB", note=f"{len(self.found['hand codes'])} hands"),
            Row("D", "identity of digital people, L1", m.get("identity"), "", 0.006),
        ]
        return [row for row in rows if row.section in self.sections]


def choose_pairs(source_frames: Any, most: int) -> list[Pair]:
    """Each labelled frame with its first source frame, `most` of them, evenly spaced over the clip (0: all).

    A frame may be its own first source frame: copying would then be perfect, so it takes its second.
    """
    pairs = []
    for driving, sources in enumerate(np.asarray(source_frames).tolist()):
        options = [option for option, source in enumerate(sources) if source != driving]
        if options:
            pairs.append(Pair(driving, sources[options[0]], options[0]))
    if most and most < len(pairs):
        pairs = [pairs[round(at)] for at in np.linspace(0, len(pairs) - 1, most)]
    return pairs
