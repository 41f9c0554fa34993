"""Poses: where a person's joints are in every frame, found by one estimator for all videos."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gesturegen_cli.bundle import Bundle, load_component
from gesturegen_cli.errors import ConfigError

SMOOTHING = 1.0
"""Standard deviation, in frames, of the Gaussian over time that takes the estimator's jitter out of poses."""
_LIMBS: tuple[tuple[str, str, float], ...] = (
    ("chin", "head_top", 0.6),
    ("waist", "neck", 0.7),
    ("left_shoulder", "right_shoulder", 0.5),
    *(
        (f"{side}_{start}", f"{side}_{end}", 0.4)
        for side in ("left", "right")
        for start, end in (("shoulder", "elbow"), ("elbow", "wrist"), ("wrist", "middle_tip"))
    ),
)
"""Start, end and radius, in shoulder widths, of the capsules that hold the person: generous, for clothes and errors."""
_HAND = ("wrist", "thumb_tip", "index_knuckle", "index_tip", "middle_tip", "little_knuckle", "little_tip")
HANDS_SEEN_FROM = 0.6
"""Mean certainty of a hand's joints from which the hand is taken to be in the picture: of real videos in which no hand
is, 0.43 is the most that is usual; of those with hands, blurred ones and such at the border stay below."""
_CERTAINTY_EVERY = 4
"""Of the frames of a batch one in so many is asked: a hand does not come and go faster."""
_HAND_MARGIN, _HAND_LEAST = 0.03, 0.06
"""Rim around the joints of a hand, and least half side of its box, in units of half a picture."""
_MOUTH_WIDTH, _MOUTH_HEIGHT = 0.55, 0.35
"""Half sides of the mouth's box, in units of the distance from the eyes to the chin."""
_MOUTH_LEAST = 0.035
"""Least half side of the mouth's box in units of half a picture: one pixel of 64."""
_MOUTH_DOWN = 0.62
"""Where the mouth is on the way from the eyes to the chin."""


@dataclass(frozen=True, eq=False)
class Estimator:
    """The deviation model that finds joints."""

    model: Any
    name: str
    digest: str
    joints: tuple[str, ...]

    def locate(self, frames: Tensor) -> Tensor:
        """Frames `b 3 h w` -> joints `b k 2` on the CPU, x and y in [-1, 1] of the picture."""
        with torch.inference_mode():
            joints: Tensor = self.model.locate_person(self._at_its_size(frames)).float().cpu()
        return joints

    def sees_hands(self, frames: Tensor) -> Tensor:
        """Whether the left and the right hand are seen in a stretch of frames `b 3 h w`: bool `2`.

        Where a hand is said to be proves nothing: the estimator gives places for hands outside the picture as well.
        It is seen where the mean certainty of its joints over the stretch reaches HANDS_SEEN_FROM: a few blurred
        frames do not hide it, and a single lucky one does not show it. A model that does not tell its certainty is
        believed.
        """
        if not hasattr(self.model, "joint_certainty"):
            return torch.ones(2, dtype=torch.bool)
        with torch.inference_mode():
            certainty: Tensor = self.model.joint_certainty(self._at_its_size(frames[::_CERTAINTY_EVERY]))
        sure = certainty.float().cpu().mean(dim=0)
        hands = [[self.joints.index(f"{side}_{joint}") for joint in _HAND] for side in ("left", "right")]
        return sure[torch.tensor(hands)].mean(dim=1) >= HANDS_SEEN_FROM

    def _at_its_size(self, frames: Tensor) -> Tensor:
        side = self.model.size
        if frames.shape[-1] != side:
            frames = F.interpolate(frames, (side, side), mode="bicubic", antialias=True, align_corners=False)
        return frames.clamp(0, 1)


def load_estimator(bundle: Bundle, device: torch.device) -> Estimator:
    """The deviation model of a bundle. ConfigError when it does not know the joints that are needed."""
    model = load_component(bundle, "deviation")
    names = tuple(getattr(model, "joint_names", ()))
    needed = {joint for start, end, _ in _LIMBS for joint in (start, end)} | {"left_eye", "right_eye"}
    needed |= {f"{side}_{joint}" for side in ("left", "right") for joint in _HAND}
    if not hasattr(model, "locate_person") or not needed <= set(names):
        raise ConfigError(
            f"bundle '{bundle.name}' finds no joints, and an estimator of poses has to", "leave --estimator out"
        )
    # a model may offer a copy that is faster and gives the same numbers
    model = (model.fused() if hasattr(model, "fused") else model).to(device)
    return Estimator(model, bundle.name, bundle.digest, names)


def as_pose(joints: Tensor, names: tuple[str, ...]) -> Tensor:
    """Joints `t k 2` in [-1, 1] -> poses `t k 2`: smoothed over time, about the neck, in shoulder widths.

    The width is the median of the clip, so that a turn of the body does not blow the pose up.
    """
    smooth = smooth_time(joints)
    return (smooth - smooth[:, names.index("neck"), None]) / shoulder_width(smooth, names)


def shoulder_width(joints: Tensor, names: tuple[str, ...]) -> float:
    """Median distance of the shoulders over `t k 2`, in its units; never 0."""
    across = joints[:, names.index("left_shoulder")] - joints[:, names.index("right_shoulder")]
    return float(across.norm(dim=-1).median().clamp_min(0.02))


def smooth_time(joints: Tensor) -> Tensor:
    """Gaussian over the first axis of `t k 2`, ends repeated."""
    reach = round(4 * SMOOTHING)
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / SMOOTHING) ** 2)
    rows = joints.flatten(1).T[:, None]
    padded = F.pad(rows, (reach, reach), mode="replicate")
    return F.conv1d(padded, (weights / weights.sum())[None, None])[:, 0].T.reshape(joints.shape)


def hand_squares(joints: Tensor, names: tuple[str, ...]) -> Tensor:
    """Centre x, y and half side of the left and the right hand, `t 2 3`, from joints `t k 2` in [-1, 1]."""
    found = []
    for side in ("left", "right"):
        points = joints[:, [names.index(f"{side}_{joint}") for joint in _HAND]]
        low, high = points.amin(dim=1), points.amax(dim=1)
        half = ((high - low).amax(dim=-1, keepdim=True) / 2 + _HAND_MARGIN).clamp_min(_HAND_LEAST)
        found.append(torch.cat([(low + high) / 2, half], dim=-1))
    return torch.stack(found, dim=1)


def part_boxes(joints: Tensor, names: tuple[str, ...]) -> Tensor:
    """Boxes x0, y0, x1, y1 of left hand, right hand and mouth, `t 3 4`, from joints `t k 2` in [-1, 1]."""
    hands = hand_squares(joints, names)
    eyes = (joints[:, names.index("left_eye")] + joints[:, names.index("right_eye")]) / 2
    down = joints[:, names.index("chin")] - eyes
    length = down.norm(dim=-1, keepdim=True).clamp_min(0.02)
    mouth = eyes + _MOUTH_DOWN * down
    half = (length * torch.tensor([_MOUTH_WIDTH, _MOUTH_HEIGHT])).clamp_min(_MOUTH_LEAST)
    boxes = [torch.cat([hands[:, i, :2] - hands[:, i, 2:], hands[:, i, :2] + hands[:, i, 2:]], dim=-1) for i in (0, 1)]
    return torch.stack([*boxes, torch.cat([mouth - half, mouth + half], dim=-1)], dim=1)


def head_squares(joints: Tensor, names: tuple[str, ...]) -> Tensor:
    """Centre x, y and half side of the head, `t 3`, from joints `t k 2`."""
    top, chin = joints[:, names.index("head_top")], joints[:, names.index("chin")]
    half = (chin - top).norm(dim=-1, keepdim=True).clamp_min(0.05) * 0.6
    return torch.cat([(top + chin) / 2, half], dim=-1)


def person_mask(joints: Tensor, names: tuple[str, ...], side: int) -> Tensor:
    """Where the person may be: `t side side`, True inside capsules around the limbs of joints `t k 2`."""
    centres = (torch.arange(side) * 2 + 1) / side - 1
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    places = torch.stack([x, y], dim=-1).reshape(1, -1, 2)
    width = shoulder_width(joints, names)
    inside = torch.zeros(len(joints), side * side, dtype=torch.bool)
    for start, end, radius in _LIMBS:
        a, b = joints[:, None, names.index(start)], joints[:, None, names.index(end)]
        along = b - a
        share = ((places - a) * along).sum(-1) / along.square().sum(-1).clamp_min(1e-6)
        distance = (places - a - share.clamp(0, 1)[..., None] * along).norm(dim=-1)
        inside |= distance < radius * width
    # what is below the waist belongs to the person too, as do chairs and desks that arms rest on
    waist = joints[:, names.index("waist"), 1]
    inside |= (places[..., 1] > waist[:, None]) & (
        (places[..., 0] - joints[:, names.index("waist"), 0, None]).abs() < 1.2 * width
    )
    return inside.reshape(-1, side, side)
