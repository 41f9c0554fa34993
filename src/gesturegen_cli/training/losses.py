"""Losses of stage 1. A model may bring its own; any other deviation model learns to reconstruct the driving frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from gesturegen_cli.nn.losses import gradient_loss, image_loss
from gesturegen_cli.protocols import DeviationModel


@runtime_checkable
class OwnLosses(Protocol):
    """Optional part of the deviation model seam: the model knows best what its inner parts should learn."""

    def losses(
        self, batch: Mapping[str, Tensor], weights: Mapping[str, float], generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Unweighted loss terms of a batch of pairs (keys of `data.pairs.FramePairs.batch`).

        `batch["anchor"]` `2b d`, where there is one, is the motion that the start model gives for sources and then
        driving frames. Terms named in `weights` add up to the loss, others are figures for the log. `generator` is on
        the CPU.
        """
        ...


def deviation_losses(
    model: nn.Module, batch: Mapping[str, Tensor], weights: Mapping[str, float], generator: torch.Generator
) -> Mapping[str, Tensor]:
    """The model's own terms, or L1 of the reconstructed pictures and of their gradients."""
    if isinstance(model, OwnLosses):
        return model.losses(batch, weights, generator)
    image = reconstruct(model, batch["source"], batch["driving_input"]).float()  # type: ignore[arg-type] # by contract of the registry
    return {
        "image": image_loss(image, batch["driving"]),
        "gradient": gradient_loss(image, batch["driving"]),
    }


def reconstruct(model: DeviationModel, source: Tensor, driving: Tensor) -> Tensor:
    """Driving frames `b 3 h w` made from sources `b 3 h w` and the motion of the driving frames; differentiable."""
    motion = model.encode(driving)
    images = [model.animate(model.encode_source(source[i : i + 1]), motion[i : i + 1]) for i in range(len(source))]
    return torch.cat(images)
