"""What measure.py computes with: rows of the table, parts of pictures, speeds of motion.

Pictures are `b 3 h w` in [0, 1]. A model's motion begins with its joints (x, y in [-1, 1] of the picture); what follows
them is called its codes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from gesturegen_cli.bundle import load_component, open_bundle
from gesturegen_cli.evaluation.image_quality import laplacian, psnr_of
from gesturegen_cli.evaluation.regions import box_mask, moving_mask
from gesturegen_cli.pipeline import Pipeline, choose_device

BATCH = 8
"""Pictures computed at a time."""
HAND = ("wrist", "thumb_tip", "index_knuckle", "index_tip", "middle_tip", "little_knuckle", "little_tip")
FAR = 0.08
"""Distance from the person, in shares of the picture's side, from which the background is asked to be still."""
SURE, PERSON = 0.9, 0.5
"""Probability of background from which a place of the picture is background, and below which it may be the person."""

Frames = NDArray[np.uint8]


@dataclass(frozen=True)
class Row:
    """One line of the table; `value` None: it was not measured, and `note` says why. `bar` None: for comparison."""

    section: str
    name: str
    value: float | None
    unit: str = ""
    bar: float | None = None
    more_is_better: bool = False
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the bar is met; None without a bar or a value."""
        if self.bar is None or self.value is None:
            return None
        return self.value >= self.bar if self.more_is_better else self.value <= self.bar


def mean(values: Sequence[float]) -> float | None:
    """Mean, or None of nothing."""
    return fmean(values) if values else None


def load_pipeline(name: str, device: str) -> Pipeline:
    """The models of a bundle as `generate` uses them. One of stage 1 alone lacks all that draws motion from speech."""
    bundle = open_bundle(name)
    if bundle.spec.kind == "full":
        return Pipeline.from_pretrained(name, device=device)
    place, absent = choose_device(device), cast(Any, None)
    deviation = load_component(bundle, "deviation")
    deviation = (deviation.fused() if hasattr(deviation, "fused") else deviation).to(place)
    return Pipeline(bundle, deviation, absent, absent, absent, place)


def as_pictures(frames: Frames, device: torch.device) -> Tensor:
    """Frames `b h w 3` -> pictures."""
    return torch.from_numpy(np.ascontiguousarray(frames)).to(device).permute(0, 3, 1, 2).float() / 255


def in_batches(frames: Frames, device: torch.device) -> Iterator[Tensor]:
    """Frames `t h w 3` -> pictures, BATCH at a time."""
    for start in range(0, len(frames), BATCH):
        yield as_pictures(frames[start : start + BATCH], device)


def singles(pictures: Tensor) -> list[Tensor]:
    """Pictures one by one, `1 3 h w` each."""
    return [pictures[i : i + 1] for i in range(len(pictures))]


def encode(model: Any, frames: Frames, device: torch.device) -> Tensor:
    """Motion `t d` of frames `t h w 3`."""
    return torch.cat([model.encode(batch).float() for batch in in_batches(frames, device)])


def animate(model: Any, state: Any, motion: Tensor) -> Iterator[Tensor]:
    """Pictures of motion `t d`, BATCH at a time."""
    for start in range(0, len(motion), BATCH):
        yield model.animate(state, motion[start : start + BATCH]).float().clamp(0, 1)


def joint_numbers(model: Any) -> int:
    """How many of the motion's numbers are joints."""
    return 2 * len(model.joint_names)


def hand_joints(names: Sequence[str]) -> list[int]:
    """Places of the joints of wrists and hands among the joints' names."""
    return [i for i, name in enumerate(names) if name.partition("_")[2] in HAND]


def hand_speed(model: Any, motion: Tensor) -> Tensor:
    """Speed of wrists and hands in person-free motion `t d`, `t - 1`: body sizes per frame, mean over joints."""
    joints = motion[:, : joint_numbers(model)].reshape(len(motion), -1, 2)[:, hand_joints(model.joint_names)]
    speed: Tensor = torch.diff(joints, dim=0).norm(dim=-1).mean(dim=-1)
    return speed


def psnr(made: Tensor, real: Tensor, where: Tensor | None = None) -> float:
    """PSNR in dB of one picture, or of the part of it where `where` `1 1 h w` is 1."""
    square = (made - real).square().mean(dim=1, keepdim=True)
    return float(psnr_of(square.mean() if where is None else (square * where).sum() / where.sum()))


def moving_l1(made: Tensor, real: Tensor, source: Tensor) -> list[tuple[float, float]]:
    """L1 of each picture, and of copying `source`, where source and real picture differ; those that differ only."""
    found = []
    for image, truth, moving in zip(made, real, moving_mask(real, source), strict=True):
        if area := float(moving.sum()):
            pair = ((one - truth).abs().mean(dim=0) * moving[0] for one in (image, source[0]))
            error, copied = (float(values.sum()) / area for values in pair)
            found.append((error, copied))
    return found


def moving_psnr(made: Tensor, real: Tensor, source: Tensor) -> list[float]:
    """PSNR in dB of each picture where source and real picture differ; those that differ only."""
    masks = moving_mask(real, source)
    each = zip(singles(made), singles(real), singles(masks), strict=True)
    return [psnr(image, truth, moving) for image, truth, moving in each if moving.any()]


def box_inside(box: Tensor, side: int) -> Tensor | None:
    """Mask `1 1 side side` of a box `4` (x0, y0, x1, y1 in [-1, 1]); None where a part of it is outside the picture."""
    if float(box.abs().max()) > 1:
        return None
    mask = box_mask(box.reshape(1, 1, 4), side)
    return mask if mask.any() else None


def sharpness(picture: Tensor, where: Tensor) -> float:
    """Variance of the Laplacian of a picture's grey values where `where` `1 1 h w` is 1."""
    return float(laplacian(picture)[where > 0].var(correction=0))


def joint_error(found: Tensor, real: Tensor) -> list[float]:
    """Distances in pixels of a picture of 256, of joints `k 2` whose real places are inside the picture."""
    inside = real.abs().amax(dim=-1) < 1
    distances: list[float] = ((found - real).norm(dim=-1)[inside] * 128).tolist()
    return distances


def flow_error(grid: Tensor, flow: Tensor, where: Tensor) -> float | None:
    """Mean distance in pixels of a picture of 256 between a model's flow `1 g g 2` (places in the source) and the real
    one `n n 2` (differences), where `where` `n n` holds; None where it never does.
    """
    side = len(flow)
    centres = (torch.arange(side) * 2 + 1) / side - 1
    here = torch.stack(torch.meshgrid(centres, centres, indexing="xy"), -1)
    # labels are given at the middle of their cells, which is where the mean of a finer flow lies
    own = F.adaptive_avg_pool2d(grid.float().cpu().permute(0, 3, 1, 2), side)[0].permute(1, 2, 0)
    error = (own - here - flow).norm(dim=-1)[where] * 128
    return float(error.mean()) if len(error) else None


def background(model: Any, pictures: Tensor) -> Tensor:
    """Probability of background `b 1 h w`, as the model's layers say."""
    shares = model.extract(pictures).layer_logits.float().softmax(1)[:, :1]  # layer 0 is the background
    return F.interpolate(shares, pictures.shape[-2:], mode="bilinear", align_corners=False)


def still_places(own: Tensor, least: Tensor) -> Tensor:
    """Where nothing may change, `1 1 h w`: surely background in the picture (`own`), and far from where it ever was
    less likely than PERSON (`least`: the least probability of background over all frames).
    """
    reach = int(FAR * own.shape[-1]) + 1
    person = ((least < PERSON) | (own < PERSON)).float()
    for size, padding in (((2 * reach + 1, 1), (reach, 0)), ((1, 2 * reach + 1), (0, reach))):
        person = F.max_pool2d(person, size, 1, padding)
    return (own > SURE) & (person == 0)


def take(frames: Iterator[Frames], *, every: int) -> Frames:
    """Every `every`-th of frames `h w 3`, from the first on, `t h w 3`."""
    return np.stack(list(islice(frames, 0, None, every)))


def each_file(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """The files of a folder with one of these endings, by name."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in suffixes)


def absent(section: str, why: str, *names: str) -> list[Row]:
    """Rows of what was not measured."""
    return [Row(section, name, None, note=why) for name in names]


Say = Callable[[str], None]
"""Told what is being done."""
