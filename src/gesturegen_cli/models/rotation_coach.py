"""What helps `rotation` to learn and is not part of it: a smooth volume, and labels where the clips have them.

Its motion has no meaning of its own: the extractor, the un-posing of the source and the decoder have to agree on one,
from nothing but the error of the picture. On labelled clips (digital speakers) two small networks read the driving
frame's joints out of its motion, and its layers out of the moved features; nobody needs them afterwards. Ours, not the
paper's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor, nn

from gesturegen_cli.models.flow_losses import exchange_sides
from gesturegen_cli.models.rotation_field import field_penalty, warp_volume
from gesturegen_cli.models.speaker_anatomy import JOINTS, LAYERS
from gesturegen_cli.nn.warp import exact

if TYPE_CHECKING:
    from gesturegen_cli.models.rotation_deviation import RotationDeviation

WIDTH = 64
CHANGED = 5.0
"""Extra weight of places whose layer is not the source's: there a copy of the source is wrong."""
FARTHEST = 1.2
"""Joints outside the picture count as just outside."""


class RotationCoach(nn.Module):
    """Draws pairs for training and tells what their motion is worth."""

    def __init__(self, motion_dim: int, depth: int) -> None:
        super().__init__()
        self.joints = nn.Linear(motion_dim, 2 * len(JOINTS))
        self.layers = nn.Sequential(
            nn.Conv2d(depth, WIDTH, 3, padding=1),
            nn.GroupNorm(4, WIDTH),
            nn.ReLU(),
            nn.Conv2d(WIDTH, WIDTH, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(WIDTH, 4 * len(LAYERS), 1),
            nn.PixelShuffle(2),  # to a quarter of the size, where the labels are
        )

    def forward(
        self, model: RotationDeviation, batch: Mapping[str, Tensor], motion: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """A batch of pairs and the driving frames' motion `b d` -> images `b 3 h w`, and loss terms by name."""
        source = model.encode_source(batch["source"])
        field, translation = model.deviation_field(motion)
        moved = warp_volume(source.neutral, field, translation, model.config.align_corners)
        image = model.generator.decoder(moved, source.still)
        terms = {"deviation": field_penalty(field, translation), "depth": depth_roughness(source.neutral)}
        if "driving_joints" in batch:
            terms |= self._label_terms(moved, motion, exchange_sides(batch))
        return image, terms

    def _label_terms(self, moved: Tensor, motion: Tensor, labels: Mapping[str, Tensor]) -> dict[str, Tensor]:
        seen, wanted = labels["driving_parts"], labels["driving_joints"].clamp(-FARTHEST, FARTHEST)
        logits = self.layers(moved)
        with exact(motion):
            wrong = F.cross_entropy(logits.float(), seen, reduction="none")
            changed = (seen != labels["source_parts"]).float()
            weight = 1 + CHANGED * changed
            found = self.joints(motion.float()).view(wanted.shape)
            return {"parts": (wrong * weight).sum() / weight.sum(), "pose": (found - wanted).abs().mean()}


def depth_roughness(volume: Tensor) -> Tensor:
    """Mean squared step from channel to channel of `b c h w`, relative to the variance.

    The warp looks between channels. Where neighbours have nothing in common, the least move along the depth is noise,
    and the model learns to hold still.
    """
    if volume.shape[1] < 2:
        return volume.new_zeros(())
    with exact(volume):
        volume = volume.float()
        return volume.diff(dim=1).square().mean() / volume.var().detach().clamp_min(1e-4)
