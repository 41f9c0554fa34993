"""What the `tps` model learns from: pairs of frames of one clip (Zhao & Zhang 2022; He et al. 2024 for refinement).

Terms are unweighted; those without a weight in the configuration are figures for the log. Geometry and losses are in
float32 also under autocast.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gesturegen_cli.nn.losses import gradient_loss, image_loss, weighted_mean
from gesturegen_cli.nn.warp import exact
from gesturegen_tps.dense_motion import DenseMotion
from gesturegen_tps.inpainting import Features, moved_features
from gesturegen_tps.sampling_grid import sample
from gesturegen_tps.thin_plate import ThinPlates, corner_grid, random_thin_plates

if TYPE_CHECKING:
    from gesturegen_tps.tps_deviation import TpsDeviation

HOLE = 3.0
"""Hidden places count as much more in the refinement."""

Batch = Mapping[str, Tensor]


def tps_losses(
    model: TpsDeviation, batch: Batch, weights: Mapping[str, float], generator: torch.Generator
) -> dict[str, Tensor]:
    """All loss terms of one batch of pairs (keys of the core's data/pairs.py); `generator` is on the CPU.

    `image`, `gradient`, `moving`: reconstruction of the driving frame. `equivariance`: keypoints move as their picture
    does, and the background's way there and back is none. `warped`: features of the moved source are those of the
    driving frame. `synthetic`: the refinement, which teaches none of what comes before it.
    """
    source, driving = batch["source"], batch["driving"]
    steps = trained_steps(model)
    points, terms = _keypoints(model, batch, weights, generator)
    background, camera = _background(model, batch, steps)
    if camera is not None:
        terms["background"] = camera
        terms["equivariance"] = terms.get("equivariance", 0) + camera
    prepared = model.prepare_source(source, points[0])
    dense = model.dense_motion(prepared, points[1], background, kept_transforms(model, len(source), steps, generator))
    image = model.inpainting_network(source, prepared.features, dense)
    with exact(source):
        terms |= picture_terms(image, driving, source)
        if weights.get("warped", 0) > 0:
            terms["warped"] = feature_loss(prepared.features, _features(model, driving), dense)
    if model.e2e_generator is not None:
        seen = dense.occlusion[-1].detach()
        painted, merged = model.refined(image.detach(), seen)
        with exact(source):
            terms["synthetic"] = masked_l1(painted, driving, seen) + HOLE * masked_l1(painted, driving, 1 - seen)
            terms["merged"] = image_loss(merged.detach(), driving)
    return terms


def trained_steps(model: TpsDeviation) -> Tensor:
    """How many batches the model has learned from: batch norms count them, and what they count is saved with them."""
    counted = model.kp_detector.fg_encoder.bn1.num_batches_tracked
    return torch.zeros((), dtype=torch.long) if counted is None else counted.clone()


def picture_terms(image: Tensor, target: Tensor, source: Tensor) -> dict[str, Tensor]:
    """Reconstruction of driving frames `b 3 h w`; `moving` is weighted by how much source and target differ."""
    change = (source - target).abs().mean(1, keepdim=True)
    error = (image - target).abs().mean(1, keepdim=True)
    terms = {"image": image_loss(image, target), "gradient": gradient_loss(image, target)}
    return {**terms, "moving": weighted_mean(error, change)}


def feature_loss(source: Features, driving: Features, dense: DenseMotion) -> Tensor:
    """L1 of moved features of the source and those of the driving frame where the source is seen, over all levels.

    Only the flow learns from it.
    """
    still = DenseMotion(dense.grid, tuple(seen.detach() for seen in dense.occlusion))
    moved = moved_features(tuple(level.detach() for level in source), still)
    pairs = zip(moved, reversed(driving), still.occlusion, strict=True)
    return torch.stack([(there - here.detach() * seen).abs().mean() for there, here, seen in pairs]).sum()


def masked_l1(image: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """L1 of pictures `b 3 h w` under a mask `b 1 h w`, divided by its area in each picture; mean of the pictures."""
    area = 3 * mask.sum((1, 2, 3))
    return (((image - target).abs() * mask).sum((1, 2, 3)) / area.clamp_min(1)).mean()


def kept_transforms(model: TpsDeviation, count: int, steps: Tensor, generator: torch.Generator) -> Tensor:
    """Which transforms to do without, `count k+1`, false for those: any but the background, more and more often.

    The paper also scales those that are kept; the published weights were trained without, and so is this model.
    """
    config = model.config
    share = (steps / config.dropout_rise).clamp(max=1)
    rate = config.dropout_start + (config.dropout - config.dropout_start) * share
    rate = rate * (steps < config.dropout_until)
    kept = torch.rand(count, config.transforms + 1, generator=generator).to(rate.device) >= rate
    kept[:, 0] = True
    return kept


def _keypoints(
    model: TpsDeviation, batch: Batch, weights: Mapping[str, float], generator: torch.Generator
) -> tuple[tuple[Tensor, Tensor], dict[str, Tensor]]:
    """Keypoints `b k 5 2` of sources and driving frames, in one pass, and their equivariance."""
    frames = [batch["source_input"], batch["driving_input"]]
    plates: ThinPlates | None = None
    if weights.get("equivariance", 0) > 0:
        size, count, device = frames[1].shape[-1], len(frames[1]), frames[1].device
        plates = random_thin_plates(count, generator, device)
        grid = plates(corner_grid(size, device).view(-1, 2)).view(count, size, size, 2)
        frames.append(sample(frames[1], grid, outside="reflection"))
    points = model.kp_detector(torch.cat(frames)).chunk(len(frames))
    if plates is None:
        return (points[0], points[1]), {}
    with exact(frames[0]):
        expected = plates(points[2].flatten(1, 2)).view_as(points[1])
        return (points[0], points[1]), {"equivariance": (points[1] - expected).abs().mean()}


def _background(model: TpsDeviation, batch: Batch, steps: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """Affine maps `b 3 3` from driving frames to sources, and how far the way there and back is from none."""
    if model.bg_predictor is None:
        return None, None
    source, driving = batch["source_input"], batch["driving_input"]
    both = model.bg_predictor(torch.cat([source, driving]), torch.cat([driving, source]))
    there, back = both.chunk(2)
    begun = steps >= model.config.background_start
    still = torch.eye(3, device=there.device)
    with exact(source):
        consistent = (there @ back - still).abs().mean()
    return torch.where(begun, there, still), consistent * begun


@torch.no_grad()
def _features(model: TpsDeviation, pictures: Tensor) -> Features:
    return model.inpainting_network.encode(pictures)
