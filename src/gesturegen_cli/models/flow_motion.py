"""Warping calculator of the `flow` model: source features and a motion feature to backward flows.

The picture is four sheets (background, body, both arms), each with a flow of its own, mixed by their shares: a layered
representation, whose edges stay clean. Each bone gives an affine map from the driving picture to the source; the
source's layers, sampled through these maps, say which layer each pixel of the driving picture comes from. A small U-net
corrects that (depth order, holes, cloth). With a zero correction the model is a cut-out animation of the source.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gesturegen_cli.models.flow_extractor import FlowFeatures, code_windows, unpack_motion
from gesturegen_cli.models.speaker_anatomy import (
    BONES,
    CODE_JOINTS,
    CODE_WIDTHS,
    CODES,
    LAYERS,
    SHEET_LAYERS,
    SHEETS,
    average_joints,
    averaging_weights,
)
from gesturegen_cli.nn.conv import ConvBlock, ResidualBlock, ShuffleUp, double_nearest, join, zeroed
from gesturegen_cli.nn.warp import exact, gaussian, pixel_grid, warp

TORSO_BONE = LAYERS.index("torso") - 1
ABSENT = -6.0
"""Layer logit where a bone's map leaves the source picture."""


@dataclass(frozen=True)
class FlowField:
    """Where each pixel of the driving picture comes from; g is a quarter of the model's size. All float32."""

    grids: Tensor
    """Backward flow of each sheet as absolute source coordinates x, y in [-1, 1], `b 4 g g 2`."""
    layer_logits: Tensor
    """Layers of the driving picture, `b 13 g g`."""
    visibility_logits: Tensor
    """Is the place in the source visible? `b 1 g g`."""
    torso_grid: Tensor
    """Where each pixel would come from if it were the torso's, `b g g 2`."""
    code_maps: Tensor
    """The latent codes spread over their windows, `b c g g`."""
    code_maps_half: Tensor
    """The same at half the resolution, `b c g/2 g/2`."""

    @property
    def sheet_logits(self) -> Tensor:
        """Which sheet is in front, `b 4 g g`; their softmax is the sum of that of their layers."""
        return torch.stack([self.layer_logits[:, list(layers)].logsumexp(1) for layers in SHEET_LAYERS], 1)

    @property
    def grid(self) -> Tensor:
        """Mean of the sheets' flows under their shares, `b g g 2`: features are not worth a warp per sheet."""
        return (self.sheet_logits.softmax(1)[..., None] * self.grids).sum(1)

    @property
    def front_grid(self) -> Tensor:
        """Flow of the sheet with the largest share at each place, `b g g 2`."""
        front = self.sheet_logits.argmax(1)[:, None, ..., None]
        return self.grids.gather(1, front.expand(-1, -1, -1, -1, 2))[:, 0]

    @property
    def maps(self) -> Tensor:
        """Flows of the sheets (8), layer probabilities (13) and visibility (1) as maps `b 22 g g`."""
        shown = self.visibility_logits.sigmoid()
        return torch.cat([sheet_maps(self.grids), self.layer_logits.softmax(1), shown], 1)


@dataclass(frozen=True)
class SourceLayers:
    """What the flow needs of the source, computed once per picture."""

    starts: Tensor
    """Start points of the bones, `b 12 2`."""
    ends: Tensor
    """End points of the bones, `b 12 2`."""
    codes: Tensor
    """Latent codes, `b 3 code_dim`."""
    layer_logits: Tensor
    """`b 13 g g`."""
    context: Tensor
    """Bone maps, layer probabilities and free features for the U-net, `b c g g`."""


def bone_maps(source: tuple[Tensor, Tensor], driving: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Affine maps of the bones, driving to source: matrices `b 12 2 2` and offsets `b 12 2`.

    Bones are given as (starts, ends), each `b 12 2`. A map rotates by the angle between the bones and scales along the
    bone by the ratio of their lengths, softened and clamped, so nothing can explode.
    """
    length_s, along_s = _direction(source[1] - source[0])
    length_d, along_d = _direction(driving[1] - driving[0])
    ratio = ((length_s + 0.02) / (length_d + 0.02)).clamp(0.5, 2.0)
    across_s = torch.stack([-along_s[..., 1], along_s[..., 0]], -1)
    across_d = torch.stack([-along_d[..., 1], along_d[..., 0]], -1)
    matrix = (ratio[..., None] * along_s)[..., :, None] * along_d[..., None, :]
    matrix = matrix + across_s[..., :, None] * across_d[..., None, :]
    # Directions of very short bones are softened towards zero; the identity takes the share they lose, so that a bone
    # without length moves its layer without collapsing it, and equal poses give the identity exactly.
    sure = ((along_s * along_s).sum(-1) * (along_d * along_d).sum(-1) + 1e-12).sqrt()
    matrix = matrix + (1 - sure)[..., None, None] * torch.eye(2, device=matrix.device)
    middle_s, middle_d = (source[0] + source[1]) / 2, (driving[0] + driving[1]) / 2
    return matrix, middle_s - (matrix * middle_d[..., None, :]).sum(-1)


def _direction(bone: Tensor) -> tuple[Tensor, Tensor]:
    """Softened length and direction of bones `b 12 2`; both have finite slopes at length zero."""
    length = (bone * bone).sum(-1).add(4e-4).sqrt()
    return length, bone / length[..., None]


def bone_capsules(starts: Tensor, ends: Tensor, widths: Tensor, grid: Tensor) -> Tensor:
    """Gaussian of the distance to each bone: ends `b 12 2`, `widths` `12`, `grid` `g g 2` -> `b 12 g g`."""
    # x and y as separate planes: sums over a last axis of two numbers are slow.
    along_x, along_y = (ends - starts)[..., None, None].unbind(2)
    away_x, away_y = (grid.permute(2, 0, 1) - starts[..., None, None]).unbind(2)
    length = (along_x * along_x + along_y * along_y).clamp_min(1e-6)
    nearest = ((away_x * along_x + away_y * along_y) / length).clamp(0, 1)
    off_x, off_y = away_x - nearest * along_x, away_y - nearest * along_y
    return gaussian((off_x * off_x + off_y * off_y) / widths[:, None, None] ** 2)


class FlowMotion(nn.Module):
    """Layered flow with a U-net that corrects it."""

    starts: Tensor
    ends: Tensor
    widths: Tensor
    code_centres: Tensor
    code_widths: Tensor
    pixels: Tensor
    pixels_half: Tensor

    def __init__(
        self, size: int, channels: tuple[int, int, int], feature_channels: int, code_dim: int, code_channels: int
    ) -> None:
        super().__init__()
        a, b, c = channels
        bones, layers = len(BONES), len(LAYERS)
        self.codes = nn.ModuleList([nn.Linear(2 * code_dim, code_channels) for _ in CODES])
        inputs = layers + bones + code_map_channels(code_channels) + bones + layers + feature_channels
        self.enter = nn.Sequential(ConvBlock(inputs, a, 1), ConvBlock(a, a))
        self.down1 = nn.Sequential(ConvBlock(a, b, 3, 2), ResidualBlock(b))
        self.down2 = nn.Sequential(ConvBlock(b, c, 3, 2), ResidualBlock(c))
        self.down3 = nn.Sequential(ConvBlock(c, c, 3, 2), ResidualBlock(c))
        self.up2 = nn.Sequential(ConvBlock(2 * c, c, 1), ResidualBlock(c))
        self.up1 = nn.Sequential(ConvBlock(c + b, b, 1), ResidualBlock(b))
        self.up0 = ShuffleUp(b, a)
        self.mix = ConvBlock(2 * a, a)
        self.correction = zeroed(nn.Conv2d(a, layers + 2 * len(SHEETS) + 1, 3, 1, 1))
        constants = {
            "starts": averaging_weights(tuple(bone.start for bone in BONES)),
            "ends": averaging_weights(tuple(bone.end for bone in BONES)),
            "widths": torch.tensor([bone.width for bone in BONES]),
            "code_centres": averaging_weights(CODE_JOINTS),
            "code_widths": torch.tensor(CODE_WIDTHS),
            "pixels": pixel_grid(size // 4),
            "pixels_half": pixel_grid(size // 8),
        }
        for name, value in constants.items():
            self.register_buffer(name, value, persistent=False)

    def prepare(self, source: FlowFeatures) -> SourceLayers:
        """The source's part of the flow, once per picture."""
        with exact(source.joints):
            starts = average_joints(self.starts, source.joints)
            ends = average_joints(self.ends, source.joints)
            capsules = bone_capsules(starts, ends, self.widths, self.pixels)
            context = torch.cat([capsules, source.layer_logits.softmax(1), source.features], 1)
        return SourceLayers(starts, ends, source.codes, source.layer_logits, context)

    def forward(self, source: SourceLayers, motion: Tensor) -> FlowField:
        """Layers of 1 or `b` sources and motion `b d` -> the flow of `b` frames."""
        with exact(motion):
            joints, codes = unpack_motion(motion.float())
            starts, ends = average_joints(self.starts, joints), average_joints(self.ends, joints)
            positions = self._positions((source.starts, source.ends), (starts, ends))
            layers = _sample_layers(source.layer_logits, positions)
            capsules = bone_capsules(starts, ends, self.widths, self.pixels)
            maps = self.code_maps(source.codes, joints, codes, self.pixels)
            maps_half = self.code_maps(source.codes, joints, codes, self.pixels_half)
            context = source.context.expand(len(motion), -1, -1, -1)
            inputs = join([layers * 0.3, capsules, maps, context])
        correction = self._correct(inputs).float()
        with exact(motion):
            logits = layers + correction[:, : len(LAYERS)]
            grids = self._move_sheets(logits, positions)
            grids = grids + 0.25 * torch.tanh(sheet_grids(correction[:, len(LAYERS) : -1]))
        # Most of a picture is visible: the bias saves the first steps of training.
        return FlowField(grids, logits, correction[:, -1:] + 2.0, positions[:, TORSO_BONE], maps, maps_half)

    def code_maps(self, source_codes: Tensor, joints: Tensor, codes: Tensor, grid: Tensor) -> Tensor:
        """Driving codes and their change, spread over Gaussian windows, with local coordinates: `b c n n`."""
        windows, local = code_windows(grid, joints, self.code_centres, self.code_widths)
        pairs = torch.cat([codes, codes - source_codes], -1)
        encoded = torch.stack([code(pairs[:, i]) for i, code in enumerate(self.codes)], 2)
        basis = [windows, windows * local[..., 0], windows * local[..., 1]]
        height, width = grid.shape[:2]
        return torch.cat([encoded @ windows, *basis], 1).reshape(len(joints), -1, height, width)

    def _positions(self, source: tuple[Tensor, Tensor], driving: tuple[Tensor, Tensor]) -> Tensor:
        """Source coordinates of every pixel under every bone, `b 12 g g 2`."""
        matrix, offset = bone_maps(source, driving)
        x, y = self.pixels[..., 0, None], self.pixels[..., 1, None]
        return matrix[:, :, None, None, :, 0] * x + matrix[:, :, None, None, :, 1] * y + offset[:, :, None, None]

    def _correct(self, inputs: Tensor) -> Tensor:
        """The U-net: `b c g g` -> layer logits, flows of sheets and visibility, `b 22 g g`."""
        x0 = self.enter(inputs)
        x1 = self.down1(x0)
        x2 = self.down2(x1)
        x3 = self.down3(x2)
        y2 = self.up2(join([double_nearest(x3), x2]))
        y1 = self.up1(join([double_nearest(y2), x1]))
        out: Tensor = self.correction(self.mix(join([self.up0(y1), x0])))
        return out

    def _move_sheets(self, logits: Tensor, positions: Tensor) -> Tensor:
        """Mean position of each sheet's layers, logits `b 13 g g`; the background stays where it is. -> `b 4 g g 2`.

        Within a sheet positions are mixed, which bends elbows; between sheets they must not be: half way from a hand
        to the wall behind it lies something else.
        """
        grids = [self.pixels.expand(len(logits), -1, -1, -1)]
        for layers in SHEET_LAYERS[1:]:
            masks = logits[:, list(layers)].softmax(1)
            grids.append((masks[..., None] * positions[:, [layer - 1 for layer in layers]]).sum(1))
        return torch.stack(grids, 1)


def sheet_maps(grids: Tensor) -> Tensor:
    """Flows of sheets `b 4 h w 2` as maps `b 8 h w`."""
    return grids.permute(0, 1, 4, 2, 3).flatten(1, 2)


def sheet_grids(maps: Tensor) -> Tensor:
    """Back from maps `b 8 h w` to flows `b 4 h w 2`."""
    return maps.view(len(maps), len(SHEETS), 2, *maps.shape[2:]).permute(0, 1, 3, 4, 2)


def warp_sheets(pictures: Tensor, grids: Tensor, shares: Tensor) -> Tensor:
    """Pictures `1|b 3 h w` sampled by every sheet's flow `b 4 i j 2` and mixed by shares `b 4 i j`: `b 3 i j`."""
    mixed = shares[:, :1] * warp(pictures, grids[:, 0])
    for sheet in range(1, len(SHEETS)):
        mixed = mixed + shares[:, [sheet]] * warp(pictures, grids[:, sheet])
    return mixed


def code_map_channels(code_channels: int) -> int:
    """Channels of `FlowMotion.code_maps`: encoded codes, and window and two coordinates of each code."""
    return code_channels + 3 * len(CODES)


def _sample_layers(logits: Tensor, positions: Tensor) -> Tensor:
    """Source layer logits `b|1 13 g g` seen through the bones' positions `b 12 g g 2` -> `b 13 g g`."""
    count, size = len(positions), logits.shape[-1]
    logits = logits.expand(count, -1, -1, -1)
    parts = (logits[:, 1:] - ABSENT).reshape(-1, 1, size, size)
    sampled = F.grid_sample(parts, positions.flatten(0, 1), align_corners=False).reshape(count, -1, size, size)
    return torch.cat([logits[:, :1], sampled + ABSENT], 1)
