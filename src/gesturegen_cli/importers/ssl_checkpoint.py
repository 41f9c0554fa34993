"""`ssl`: stage 1 as the paper's authors published it (arXiv 2409.17674), file `model.my2.pt`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from gesturegen_cli.checkpoint_file import named_tensors, read_checkpoint
from gesturegen_cli.errors import ConfigError, InputError
from gesturegen_cli.media.files import printable, shown
from gesturegen_cli.types import ImportedComponent, ImportedModel

WRAPPER = "module."
"""Prefix that training on several GPUs leaves on every name."""


class SslImporter:
    """Published weights of the paper's stage 1 as the deviation model `rotation`, which has the published names.

    What the release does differently from the paper's text (yaw and roll heads swapped, 3.14 for pi, the unaligned
    sampling grid) is the default of that model, so no tensor changes.
    """

    @dataclass(frozen=True)
    class Config:
        """Settings of the importer."""

        model: dict[str, Any] = field(default_factory=dict)
        """`Config` of `rotation` where the weights are not of the published size."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def __call__(self, files: Sequence[Path]) -> ImportedModel:
        """Read the one file; tensors stay on disk until they are used. InputError when it is not such a checkpoint."""
        if len(files) != 1:
            raise ConfigError(f"{len(files)} checkpoints, the kind 'ssl' takes 1", "name the file of stage 1 alone")
        file = files[0]
        top = read_checkpoint(file)
        bare = "state_dict" not in top
        if bare and not all(isinstance(value, Tensor) for value in top.values()):
            held = ", ".join(printable(str(key)) for key in list(top)[:8])
            hint = "is it the file model.my2.pt of stage 1?"
            raise InputError(f"checkpoint {shown(file)!r} holds {held}, expected 'state_dict'", hint)
        tensors = named_tensors(top if bare else top["state_dict"], file)
        names = {key: key.removeprefix(WRAPPER) for key in tensors}
        if len(set(names.values())) < len(names):
            double = next(key for key in names if key.startswith(WRAPPER) and names[key] in names)
            raise InputError(f"checkpoint {shown(file)!r} holds {double!r} with and without 'module.'", "keep one")
        component = ImportedComponent("rotation", self.config.model, {names[k]: v for k, v in tensors.items()})
        return ImportedModel(
            {"deviation": component},
            {key: f"deviation: {name}" for key, name in names.items()},
            origin="weights of the authors of arXiv 2409.17674, stage 1",
        )
