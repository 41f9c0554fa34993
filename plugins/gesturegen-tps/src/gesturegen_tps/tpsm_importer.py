"""`tpsm`: the models that the authors of TPSM published (Zhao & Zhang 2022): `vox`, `taichi`, `ted`, `mgif`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gesturegen_cli.checkpoint_file import read_checkpoint
from gesturegen_cli.config.schema import ranged
from gesturegen_cli.errors import ConfigError, InputError
from gesturegen_cli.media.files import shown
from gesturegen_cli.types import ImportedComponent, ImportedModel
from gesturegen_tps.checkpoint_parts import Parts, extent, joined, take_parts
from gesturegen_tps.keypoints import POINTS
from gesturegen_tps.released_order import heatmaps_first

MOTION_PARTS = ("kp_detector", "dense_motion_network", "inpainting_network")
BACKGROUND = "bg_predictor"
IGNORED = ("avd_network", "optimizer", "optimizer_bg_predictor", "optimizer_avd", "epoch")
"""The network that retargets keypoints by identity is not used, the rest is for going on with training."""
FIRST_MOTION_WEIGHT = "hourglass.encoder.down_blocks.0.conv.weight"


class TpsmImporter:
    """A checkpoint with keypoint detector, dense motion and inpainting as the deviation model `tps`.

    Number of transforms and the background predictor are read off the tensors. Weights do not tell the size of
    pictures they were trained with.
    """

    @dataclass(frozen=True)
    class Config:
        """Settings of the importer."""

        size: int = ranged(256, 64, 1024)
        """Side of the pictures: 384 for `ted`, 256 for the others."""
        model: dict[str, Any] = field(default_factory=dict)
        """More of the `Config` of `tps`, such as `transfer`, or widths that are not the published ones."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def __call__(self, files: Sequence[Path]) -> ImportedModel:
        """Read the one file. InputError when it is not such a checkpoint."""
        if len(files) != 1:
            raise ConfigError(f"{len(files)} checkpoints, the kind 'tpsm' takes 1", "name one, such as vox.pth.tar")
        parts = take_parts(read_checkpoint(files[0]), files[0], MOTION_PARTS, (BACKGROUND,), IGNORED)
        params = {**motion_params(parts, files[0]), "background": BACKGROUND in parts, "size": self.config.size}
        return ImportedModel(
            {"deviation": ImportedComponent("tps", {**params, **self.config.model}, joined(parts))},
            {name: f"deviation: {name}" for name in joined(parts)},
            origin="weights of the authors of TPSM (Zhao & Zhang 2022)",
            licence="MIT, by the repository that offers them; the videos they learned from have terms of their own",
        )


def motion_params(parts: Parts, file: Path) -> dict[str, Any]:
    """What keypoint detector and dense motion tell of the `Config` of `tps`."""
    numbers = extent(parts["kp_detector"], "fg_encoder.fc.weight", 0, file)
    transforms, rest = divmod(numbers, 2 * POINTS)
    if rest or not transforms:
        found = f"checkpoint {shown(file)!r} has keypoints of {numbers} numbers, expected a multiple of {2 * POINTS}"
        raise InputError(found, "is it another kind of checkpoint?")
    seen = extent(parts["dense_motion_network"], FIRST_MOTION_WEIGHT, 1, file)
    expected = 3 * (transforms + 1) + POINTS * transforms + 1
    if seen != expected:
        found = f"checkpoint {shown(file)!r} has keypoints of {transforms} transforms, so dense motion takes {expected}"
        raise InputError(f"{found} channels; its takes {seen}", "its parts belong to different models")
    weight = parts["dense_motion_network"][FIRST_MOTION_WEIGHT]
    return {"transforms": transforms, "heatmaps_first": heatmaps_first(weight, transforms)}
