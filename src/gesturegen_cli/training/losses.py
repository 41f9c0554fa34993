"""Losses of stage 1. A model may bring its own; any other deviation model learns to reconstruct the driving frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gesturegen_cli.config.schema import DeviationLoss
from gesturegen_cli.nn.discriminator import PatchDiscriminator, discriminator_loss, generator_losses
from gesturegen_cli.nn.losses import gradient_loss, image_loss, weighted_mean
from gesturegen_cli.nn.perceptual import Vgg19, perceptual_loss
from gesturegen_cli.nn.warp import exact
from gesturegen_cli.protocols import DeviationModel

JITTER = 0.1
"""Colours of what the extractor sees are scaled and shifted by up to this share."""
BLURRED = 0.3
"""Share of the frames that the extractor sees blurred."""
MOUTH_BOX = 2
"""Boxes are left hand, right hand, mouth."""


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


@runtime_checkable
class AnimatesPairs(Protocol):
    """Optional: many pictures, each with a motion of its own, as one batch. Without it they go one by one."""

    def animate_pairs(self, sources: Tensor, motion: Tensor) -> Tensor:
        """Pictures `b 3 h w` and motion features `b d` -> images `b 3 h w`."""
        ...


@runtime_checkable
class Coached(Protocol):
    """Optional: a network beside the model that helps it to learn."""

    def coach(self) -> nn.Module:
        """A module called with the model, a batch of pairs and the driving frames' motion `b d`.

        It gives images `b 3 h w` and loss terms by name, weighted by the settings of their names.
        """
        ...


class Trainee(nn.Module):
    """A deviation model with what only training needs: a discriminator that judges it, and its coach."""

    def __init__(
        self, model: nn.Module, discriminator: nn.Module | None = None, coach: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.model = model
        self.discriminator = discriminator
        self.coach = coach


def trainee(model: nn.Module, adversarial: bool) -> Trainee:
    """The model with its coach, where it has one, and a discriminator, where it is wanted."""
    coach = model.coach() if isinstance(model, Coached) else None
    return Trainee(model, PatchDiscriminator() if adversarial else None, coach)


def model_of(module: nn.Module) -> nn.Module:
    """The deviation model itself, without what training may have put beside it."""
    return module.model if isinstance(module, Trainee) else module


@dataclass(frozen=True)
class Objective:
    """What stage 1 minimises: the settings, and the fixed network of the perceptual loss if there is one."""

    config: DeviationLoss
    vgg19: Vgg19 | None = None

    @property
    def weights(self) -> dict[str, float]:
        """Terms with their weights, and settings that models with their own losses read."""
        numbers = {name: value for name, value in asdict(self.config).items() if isinstance(value, float)}
        return {**numbers, "discriminator": 1.0}

    def __call__(
        self, module: nn.Module, batch: Mapping[str, Tensor], generator: torch.Generator, step: int
    ) -> Mapping[str, Tensor]:
        """Unweighted terms of a batch of pairs; `step` is the number of steps done.

        The model's own terms, or those of reconstruction (docs/method.md). The discriminator's own loss is one of them:
        gradients of either side stop at the other, so that one backward pass and one optimiser train both.
        """
        model = model_of(module)
        if isinstance(model, OwnLosses):
            return model.losses(batch, self.weights, generator)
        if step < self.config.still_steps:
            batch = held_still(batch)
        motion = model.encode(jitter(batch["driving_input"], generator))  # type: ignore[operator] # by contract of the registry
        coach, judge = (module.coach, module.discriminator) if isinstance(module, Trainee) else (None, None)
        if coach is None:
            image, terms = animate_pairs(model, batch["source"], motion), {}  # type: ignore[arg-type] # by contract of the registry
        else:
            image, terms = coach(model, batch, motion)
        image = image.float()
        terms = self._picture_terms(batch, image) | terms
        if self.config.cycle > 0:
            terms["cycle"] = (model.encode(image) - motion.detach()).abs().mean()  # type: ignore[operator] # by contract
        if judge is not None and step >= self.config.adversarial_start:
            real = batch["driving"]
            terms["adversarial"], terms["matching"] = generator_losses(judge, real, image)
            terms["discriminator"] = discriminator_loss(judge, real, image)
        return terms

    def _picture_terms(self, batch: Mapping[str, Tensor], image: Tensor) -> dict[str, Tensor]:
        target = batch["driving"]
        with exact(image):
            terms = {"image": image_loss(image, target), "gradient": gradient_loss(image, target)}
            terms["moving"] = moving_loss(image, target, batch["source"])
            if "boxes" in batch:
                errors = box_losses(image, target, batch["boxes"])
                terms |= {"hands": errors[:MOUTH_BOX].sum(), "mouth": errors[MOUTH_BOX]}
        if self.vgg19 is not None:
            terms["perceptual"] = perceptual_loss(self.vgg19.to(image.device), image, target)
        return terms


def held_still(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Pairs whose driving frame is the source itself. Boxes, which are the driving frame's, are left out."""
    still = {name: value for name, value in batch.items() if name != "boxes"}
    return still | {name: batch[name.replace("driving", "source")] for name in still if name.startswith("driving")}


def jitter(frames: Tensor, generator: torch.Generator) -> Tensor:
    """Frames `b 3 h w` with other colours, some a little blurred, geometry unchanged.

    For the extractor alone: what its input cannot tell, motion features cannot carry (docs/method.md).
    """
    count = len(frames)
    gain, offset = (JITTER * (2 * torch.rand(count, 3, 1, 1, generator=generator) - 1) for _ in range(2))
    blurred = torch.rand(count, 1, 1, 1, generator=generator) < BLURRED
    soft = F.avg_pool2d(F.pad(frames, (1, 1, 1, 1), mode="replicate"), 3, 1)
    mixed = torch.where(blurred.to(frames.device), soft, frames)
    return (mixed * (1 + gain.to(frames)) + offset.to(frames)).clamp(0, 1)


def moving_loss(image: Tensor, target: Tensor, source: Tensor) -> Tensor:
    """L1 between pictures `b c h w`, weighted by the change from `source` to `target` (ours).

    A model that copies the source pays most here, and one that keeps still backgrounds gains nothing.
    """
    change = (source - target).abs().mean(1, keepdim=True)
    return ((image - target).abs().mean(1, keepdim=True) * change).sum() / change.sum().clamp_min(1e-6)


def box_losses(image: Tensor, target: Tensor, boxes: Tensor) -> Tensor:
    """Mean L1 of pictures `b c h w` inside boxes `b k 4` (x0, y0, x1, y1 in [-1, 1]) -> `k`, every box equal."""
    height, width = image.shape[2:]
    y = ((torch.arange(height, device=image.device) * 2 + 1) / height - 1)[:, None]
    x = (torch.arange(width, device=image.device) * 2 + 1) / width - 1
    x0, y0, x1, y1 = boxes[..., None, None].unbind(2)
    inside = ((x >= x0) & (x <= x1) & (y >= y0) & (y <= y1)).float()
    error = (image - target).abs().mean(1, keepdim=True)
    area = inside.sum((2, 3))
    means = (inside * error).sum((2, 3)) / area.clamp_min(1)
    seen = (area > 0).float()
    return torch.stack([weighted_mean(means[:, k], seen[:, k]) for k in range(boxes.shape[1])])


def reconstruct(model: DeviationModel, source: Tensor, driving: Tensor) -> Tensor:
    """Driving frames `b 3 h w` made from sources `b 3 h w` and the motion of the driving frames; differentiable."""
    return animate_pairs(model, source, model.encode(driving))


def animate_pairs(model: DeviationModel, sources: Tensor, motion: Tensor) -> Tensor:
    """Sources `b 3 h w`, each with its own motion `b d` -> images `b 3 h w`; as one batch where the model can."""
    if isinstance(model, AnimatesPairs):
        return model.animate_pairs(sources, motion)
    images = [model.animate(model.encode_source(sources[i : i + 1]), motion[i : i + 1]) for i in range(len(sources))]
    return torch.cat(images)
