"""What the `flow` model learns from: pairs of frames, and labels where the data has them (model.md of the study).

Terms are unweighted; those without a weight in the configuration are figures for the log. Geometry and losses are in
float32 also under autocast.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from gesturegen_cli.models.flow_crops import place_crops
from gesturegen_cli.models.flow_decoder import FlowImage, Window
from gesturegen_cli.models.flow_details import CROP_SHEETS, CodeReader, Details
from gesturegen_cli.models.flow_extractor import FlowFeatures
from gesturegen_cli.models.flow_motion import FlowField, sheet_grids, sheet_maps, warp_sheets
from gesturegen_cli.models.flow_plates import layer_plates
from gesturegen_cli.models.speaker_anatomy import (
    LAYER_SHEETS,
    LAYERS,
    MIRRORED_JOINTS,
    MIRRORED_LAYERS,
    SHEETS,
    SIDES,
)
from gesturegen_cli.nn import losses
from gesturegen_cli.nn.conv import double_linear
from gesturegen_cli.nn.warp import exact, warp

if TYPE_CHECKING:
    from gesturegen_cli.models.flow_deviation import FlowDeviation

Batch = Mapping[str, Tensor]

CLASS_WEIGHTS = (0.5, 1.0, 1.0, 1.5, 1.5, 2.0, 2.0, *(3.0,) * 6)
"""Of the layers in cross entropies: small and fast parts count more."""
FIRST_HAND_LAYER = LAYERS.index("left_palm")
GAZE_X = 6
"""Which of a face's labels is the gaze to the left (plugins/gesturegen-speakers, articulation.py)."""
HEAD_LAYER = LAYERS.index("head")
HAND_PARTS = ("palm", "fingers", "thumb")
SMALLEST_HAND = 6
"""Cells of the flow's resolution from which on a source shows enough of a hand to take it from there."""


def flow_losses(
    model: FlowDeviation, batch: Batch, weights: Mapping[str, float], generator: torch.Generator
) -> dict[str, Tensor]:
    """All loss terms of one batch of pairs (keys of data/pairs.py), on a random quarter of the output picture."""
    source = batch["source"]
    count, labelled = len(source), "source_joints" in batch
    if labelled:
        batch = {**batch, **exchange_sides(batch)}
    inputs = [batch["source_input"], batch["driving_input"]]
    moved: tuple[Tensor, Tensor] | None = None
    reads = any(value.requires_grad for value in model.extractor.parameters())
    if not labelled and reads and weights.get("equivariance", 0) > 0:
        picture, scale, shift = random_similarity(batch["driving_input"], generator)
        inputs.append(picture)
        moved = scale, shift
    features = model.extract(torch.cat(inputs).contiguous(memory_format=torch.channels_last))
    first, second = features.take(slice(0, count)), features.take(slice(count, 2 * count))
    field = model.compose(first, second.motion)
    window = random_window(model.size, generator)
    plates = layer_plates(source, first.layer_logits)
    details = model.refine(source, model.prepare_details(source, first), field, second.motion)
    image = model.decode(source, model.encode_pyramid(source), plates, field, details, window)
    with exact(source):
        terms = _picture_terms(batch, field, image, window, weights.get("hand_weight", 0.0))
        if labelled:
            terms |= _label_terms(batch, first, second, field)
        if details is not None:
            terms["details"] = _detail_term(batch, field, details, weights.get("hand_weight", 0.0))
        if model.extractor.reader is not None and "driving_face" in batch:
            terms["articulation"] = _articulation_term(model.extractor.reader, batch, first, second)
        if moved is not None:
            expected = second.joints.detach() * moved[0] + moved[1]
            terms["equivariance"] = (features.joints[2 * count :] - expected).abs().mean()
        if "anchor" in batch:
            terms["anchor"] = (features.motion[: 2 * count] - batch["anchor"]).abs().mean()
    return terms


def exchange_sides(batch: Batch) -> dict[str, Tensor]:
    """Joints, parts, faces and hands with left and right exchanged in the mirrored pairs."""
    mirrored = batch["mirrored"][:, None, None]
    layer = torch.tensor(MIRRORED_LAYERS, device=mirrored.device)
    exchanged = {}
    for role in ("source", "driving"):
        if f"{role}_face" in batch:
            face, hands = batch[f"{role}_face"], batch[f"{role}_hands"]
            gaze = torch.tensor([-1.0 if k == GAZE_X else 1.0 for k in range(face.shape[1])], device=face.device)
            exchanged[f"{role}_face"] = torch.where(mirrored[..., 0], face * gaze, face)
            exchanged[f"{role}_hands"] = torch.where(mirrored, hands.flip(1), hands)
        joints, parts = batch[f"{role}_joints"], batch[f"{role}_parts"]
        exchanged[f"{role}_joints"] = torch.where(mirrored, joints[:, list(MIRRORED_JOINTS)], joints)
        exchanged[f"{role}_parts"] = torch.where(mirrored, layer[parts], parts)
    return exchanged


def random_window(size: int, generator: torch.Generator) -> Window:
    """A window of half the side, anywhere; more often in the middle of the width, where the speaker is."""
    cells = size // 8
    side = cells // 2
    draws = torch.rand(3, generator=generator)
    top = int(draws[0] * (cells - side + 1))
    left = int((draws[1] + draws[2]) / 2 * (cells - side + 1))
    return Window(top, left, side)


def random_similarity(pictures: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures `b 3 h w` moved at random -> pictures, scale `b 1 1`, shift `b 1 2`: points go to scale * p + shift."""
    draws = torch.rand(len(pictures), 3, generator=generator).to(pictures.device)
    scale = 0.85 + 0.25 * draws[:, :1]
    shift = 0.2 * draws[:, 1:] - 0.1
    matrix = torch.zeros(len(pictures), 2, 3, device=pictures.device)
    matrix[:, 0, 0] = matrix[:, 1, 1] = 1 / scale[:, 0]
    matrix[:, :, 2] = -shift / scale
    with exact(pictures):
        grid = F.affine_grid(matrix, list(pictures.shape), align_corners=False)
        return warp(pictures, grid), scale[:, None], shift[:, None]


def _picture_terms(
    batch: Batch, field: FlowField, image: FlowImage, window: Window, hand_weight: float
) -> dict[str, Tensor]:
    """Terms on pixels. Where nothing says what is visible, the model's own opinion does, at a price for "hidden"."""
    target = _window_of(batch["driving"], window)
    visible, emphasis = batch.get("visible"), None
    half = sheet_grids(double_linear(sheet_maps(field.grids)))
    shares = double_linear(field.sheet_logits).softmax(1)
    source_half, driving_half = F.avg_pool2d(batch["source"], 2), F.avg_pool2d(batch["driving"], 2)
    difference = (warp_sheets(source_half, half, shares) - driving_half).abs()
    seen_map = field.visibility_logits.sigmoid() if visible is None else visible
    seen = F.interpolate(seen_map, scale_factor=2.0, mode="nearest")
    terms = {"photometric": (difference * seen).mean()}
    if visible is None:
        terms["photometric"] = terms["photometric"] + 0.05 * (1 - seen).mean()
        shown = image.mask.detach()
    else:
        shown = _window_of(F.interpolate(torch.maximum(visible, own_hands(batch)), scale_factor=4.0), window)
        emphasis = _window_of(_pixel_weights(batch["driving_parts"], hand_weight), window)
        terms["blend"] = F.binary_cross_entropy(image.mask.clamp(1e-4, 1 - 1e-4), shown, emphasis)
        terms["texture"] = losses.texture_loss(image.image, target, emphasis)
    terms["image"] = losses.image_loss(image.image, target, emphasis)
    terms["gradient"] = losses.gradient_loss(image.image, target)
    terms["synthetic"] = losses.image_loss(image.synthetic, target, emphasis)
    terms["warped"] = losses.image_loss(image.warped, target, shown)
    return terms


def own_hands(batch: Batch) -> Tensor:
    """Where the driving frame shows a hand that the source shows somewhere: 0 or 1, `b 1 g g`.

    Such a hand is made of the source's, moved, also where it turns another side to the camera: skin with the wrong
    lines looks more like a hand than the mean of all hands, which is what painting it would give.
    """
    source, driving = batch["source_parts"], batch["driving_parts"]
    shown = torch.zeros_like(driving, dtype=torch.float32)
    for side in SIDES:
        layers = torch.tensor([LAYERS.index(f"{side}_{part}") for part in HAND_PARTS], device=source.device)
        owned = torch.isin(source, layers).flatten(1).sum(1) >= SMALLEST_HAND
        shown = torch.where(owned[:, None, None], torch.maximum(shown, torch.isin(driving, layers).float()), shown)
    return shown[:, None]


def _detail_term(batch: Batch, field: FlowField, details: Details, hand_weight: float) -> Tensor:
    """L1 and differences of neighbouring pixels in the crops, where the sheet of their part is seen."""
    target, drawn = details.crops.sample(batch["driving"]), details.drawn(batch["source"])
    if "driving_parts" in batch:
        parts = batch["driving_parts"]
        shares = F.one_hot(_sheets_of(parts), len(SHEETS)).permute(0, 3, 1, 2).float()
        weights = _part_weights(parts, hand_weight)
    else:
        shares = field.sheet_logits.softmax(1).detach()
        weights = torch.ones_like(shares[:, 0])
    seen = details.crops.sample(torch.cat([shares, weights[:, None]], 1))
    own = torch.stack([seen[:, i, sheet] for i, sheet in enumerate(CROP_SHEETS)], 1)[:, :, None]
    drawn, target, weight = ((x * own).flatten(0, 1) for x in (drawn, target, seen[:, :, -1:]))
    return losses.image_loss(drawn, target, weight) + losses.gradient_loss(drawn, target) / 2


def _sheets_of(parts: Tensor) -> Tensor:
    """The sheets of part labels, of the same shape."""
    return torch.tensor(LAYER_SHEETS, device=parts.device)[parts]


def _articulation_term(reader: CodeReader, batch: Batch, source: FlowFeatures, driving: FlowFeatures) -> Tensor:
    """What the codes tell of faces and hands, against the labels of both frames, where they are in the picture."""
    total = source.codes.new_zeros(())
    for features, role in ((source, "source"), (driving, "driving")):
        centres = place_crops(batch[f"{role}_joints"]).centres
        seen = (centres.abs().amax(-1) < 1) & (centres[..., 1] < batch["desk"][:, None])
        face, hands = reader.articulation(features.codes)
        told = torch.cat([face[:, None], hands], 1)
        label = torch.cat([batch[f"{role}_face"][:, None], batch[f"{role}_hands"]], 1)
        error = F.smooth_l1_loss(told, label, beta=0.1, reduction="none").sum(-1)
        total = total + losses.weighted_mean(error, seen.float())
    return total


def _window_of(pictures: Tensor, window: Window) -> Tensor:
    top, left, side = 8 * window.top, 8 * window.left, 8 * window.cells
    return pictures[:, :, top : top + side, left : left + side]


def _pixel_weights(parts: Tensor, hand_weight: float) -> Tensor:
    """Weights of pixels `b 1 4g 4g` from part labels `b g g`: background 1, body 2, head 3, hands 2 + hand_weight."""
    return F.interpolate(_part_weights(parts, hand_weight)[:, None], scale_factor=4.0, mode="nearest")


def _part_weights(parts: Tensor, hand_weight: float) -> Tensor:
    body, hands, head = parts > 0, parts >= FIRST_HAND_LAYER, parts == HEAD_LAYER
    return 1 + body.float() + hand_weight * hands.float() + head.float()


def _label_terms(batch: Batch, source: FlowFeatures, driving: FlowFeatures, field: FlowField) -> dict[str, Tensor]:
    """Terms on joints, layers and flow, and the errors in pixels for the log."""
    pairs = ((source, "source"), (driving, "driving"))
    classes = torch.tensor(CLASS_WEIGHTS, device=field.grids.device)
    terms = {name: field.grids.new_zeros(()) for name in ("joints", "heatmap", "layers")}
    for features, role in pairs:
        target = batch[f"{role}_joints"]
        hidden = target[..., 1] > batch["desk"][:, None]
        inside = target.abs().amax(-1)
        by_sight = ((inside < 1.05).float() * 0.9 + 0.1) * torch.where(hidden, 0.25, 1.0)
        terms["joints"] = terms["joints"] + losses.joint_loss(features.joints, target, by_sight)
        on_map = (inside < 1).float() * torch.where(hidden, 0.1, 1.0)
        terms["heatmap"] = terms["heatmap"] + losses.heatmap_loss(features.heatmaps, target, on_map)
        layer_error = F.cross_entropy(features.layer_logits, batch[f"{role}_parts"], classes)
        terms["layers"] = terms["layers"] + layer_error
    body, visible = (batch["driving_parts"] > 0).float(), batch["visible"][:, 0]
    weight = (0.2 + 0.8 * body) * (0.15 + 0.85 * visible) * (visible + body > 0)
    terms["composed"] = F.cross_entropy(field.layer_logits, batch["driving_parts"], classes)
    # Every sheet learns where it is seen.
    sheet = _sheets_of(batch["driving_parts"])[:, None, ..., None]
    moved = field.grids.gather(1, sheet.expand(-1, -1, -1, -1, 2))[:, 0]
    terms["flow"] = losses.flow_loss(moved, batch["grid"], weight)
    terms["visibility"] = F.binary_cross_entropy_with_logits(field.visibility_logits, batch["visible"])
    with torch.no_grad():
        pixels = batch["driving"].shape[-1] / 2
        joint_error = (driving.joints - batch["driving_joints"]).norm(dim=-1) * pixels
        terms["joint_px"] = losses.weighted_mean(joint_error, (batch["driving_joints"].abs().amax(-1) < 1).float())
        flow_error = (field.front_grid - batch["grid"]).norm(dim=-1) * pixels
        terms["flow_px"] = losses.weighted_mean(flow_error, body * (visible > 0.5))
    return terms
