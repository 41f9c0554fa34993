"""Latent deviation extractor of the `flow` model: a picture to joints, latent codes, layers and free features."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gesturegen_cli.models.flow_details import CodeReader
from gesturegen_cli.models.speaker_anatomy import (
    CODE_JOINTS,
    CODE_WIDTHS,
    CODES,
    JOINTS,
    LAYERS,
    average_joints,
    averaging_weights,
)
from gesturegen_cli.nn.conv import ConvBlock, ResidualBlock, ShuffleUp, double_nearest, join, zeroed
from gesturegen_cli.nn.warp import exact, expected_position, gaussian, pixel_grid


@dataclass(frozen=True)
class FlowFeatures:
    """What the extractor sees in `b` pictures; g is a quarter of the model's size. All float32."""

    joints: Tensor
    """x, y in [-1, 1] over the picture (outside it: up to half a picture beyond), `b 25 2`."""
    codes: Tensor
    """Latent codes of face, left hand and right hand in [-1, 1], `b 3 code_dim`."""
    layer_logits: Tensor
    """Which layer each pixel belongs to, `b 13 g g`."""
    features: Tensor
    """Free features of the picture, used on the source only, `b c g g`."""
    heatmaps: Tensor
    """Logits of the joint heat maps, `b 25 g g`."""

    @property
    def motion(self) -> Tensor:
        """The motion feature `b d`: joints, then codes. The only thing a driving frame may give."""
        return pack_motion(self.joints, self.codes)

    def take(self, items: slice) -> FlowFeatures:
        """The features of some pictures of the batch."""
        return FlowFeatures(**{field.name: getattr(self, field.name)[items] for field in fields(self)})


def pack_motion(joints: Tensor, codes: Tensor) -> Tensor:
    """Joints `b 25 2` and codes `b 3 code_dim` -> motion `b d`."""
    return torch.cat([joints.flatten(1), codes.flatten(1)], 1)


def unpack_motion(motion: Tensor) -> tuple[Tensor, Tensor]:
    """Motion `b d` -> joints `b 25 2` and codes `b 3 code_dim`."""
    count = 2 * len(JOINTS)
    batch = len(motion)
    return motion[:, :count].reshape(batch, -1, 2), motion[:, count:].reshape(batch, len(CODES), -1)


def code_windows(grid: Tensor, joints: Tensor, centres: Tensor, widths: Tensor) -> tuple[Tensor, Tensor]:
    """Gaussian windows of the codes around their joints.

    `grid` `n n 2`, `joints` `b 25 2`, `centres` `3 25` (averaging weights), `widths` `3` -> windows `b 3 n*n` and
    the local coordinates `b 3 n*n 2`, in sigmas, that they are functions of.
    """
    centre = average_joints(centres, joints)
    local = (grid.reshape(1, 1, -1, 2) - centre[:, :, None]) / widths[None, :, None, None]
    return gaussian((local * local).sum(-1)), local


def joint_certainty(heatmaps: Tensor) -> Tensor:
    """How much of each joint's heat map `b k g g` (logits) lies within three cells of its mean, `b k` in [0, 1]."""
    with exact(heatmaps):
        side = heatmaps.shape[-1]
        weights = heatmaps.float().flatten(2).softmax(-1).view_as(heatmaps)
        away = pixel_grid(side).to(weights) - expected_position(weights)[:, :, None, None]
        near = away.square().sum(-1) <= (3 * 2 / side) ** 2
        return (weights * near).sum((2, 3))


class FlowExtractor(nn.Module):
    """U-net on the picture at half size; joints by soft-argmax; codes from its features or by a reader of crops."""

    pixels: Tensor
    code_centres: Tensor
    code_widths: Tensor

    def __init__(
        self,
        size: int,
        channels: tuple[int, int, int, int],
        head_channels: int,
        feature_channels: int,
        code_dim: int,
        reader: CodeReader | None = None,
    ) -> None:
        """Without a reader, codes are pooled from the features around the joints (Gaussian windows)."""
        super().__init__()
        a, b, c, d = channels
        self.stem = ConvBlock(3, a, 5, 2)
        self.down1 = nn.Sequential(ConvBlock(a, b, 3, 2), ResidualBlock(b))
        self.down2 = nn.Sequential(ConvBlock(b, c, 3, 2), ResidualBlock(c))
        self.down3 = nn.Sequential(ConvBlock(c, d, 3, 2), ResidualBlock(d), ResidualBlock(d))
        self.context = nn.Linear(d, d)
        self.up2 = nn.Sequential(ConvBlock(d + c, c, 1), ResidualBlock(c))
        self.up1 = nn.Sequential(ConvBlock(c + b, b, 1), ResidualBlock(b))
        self.up0 = nn.Sequential(ConvBlock(b, b), ShuffleUp(b, head_channels))
        self.skip = nn.Conv2d(a, head_channels, 1)
        self.mix = ConvBlock(head_channels, head_channels)
        self.maps = nn.Conv2d(head_channels, len(JOINTS) + len(LAYERS) + feature_channels, 1)
        self.reader = reader
        self.codes = nn.ModuleList([nn.Linear(b, code_dim) for _ in CODES] if reader is None else [])
        self.offset = zeroed(nn.Linear(d, 2 * len(JOINTS)))
        self.register_buffer("pixels", pixel_grid(size // 8), persistent=False)
        self.register_buffer("code_centres", averaging_weights(CODE_JOINTS), persistent=False)
        self.register_buffer("code_widths", torch.tensor(CODE_WIDTHS), persistent=False)

    def forward(self, frames: Tensor) -> FlowFeatures:
        """Pictures `b 3 size size` in [0, 1] -> their features."""
        x0 = self.stem(F.avg_pool2d(frames, 2) * 2 - 1)
        x1 = self.down1(x0)
        x2 = self.down2(x1)
        x3 = self.down3(x2)
        context = F.relu(self.context(x3.mean((2, 3))))
        x3 = x3 + context[..., None, None]
        y2 = self.up2(join([double_nearest(x3), x2]))
        y1 = self.up1(join([double_nearest(y2), x1]))
        maps = self.maps(self.mix(F.relu(self.up0(y1) + self.skip(x0))))
        with exact(frames):
            maps = maps.float()
            joints = self._joints(maps, context.float())
        codes = self._pool(y1, joints) if self.reader is None else self.reader(frames, joints)
        first, second = len(JOINTS), len(JOINTS) + len(LAYERS)
        return FlowFeatures(joints, codes, maps[:, first:second], maps[:, second:], maps[:, :first])

    def _joints(self, maps: Tensor, context: Tensor) -> Tensor:
        heat = maps[:, : len(JOINTS)]
        # The offset lets a joint lie outside the picture, where no heat map reaches.
        offset = 0.5 * torch.tanh(self.offset(context)).reshape(-1, len(JOINTS), 2)
        return expected_position(heat.flatten(2).softmax(-1).view_as(heat)) + offset

    def _pool(self, features: Tensor, joints: Tensor) -> Tensor:
        with exact(features):
            # Codes say what is seen at the joints; they must not move the joints.
            windows = code_windows(self.pixels, joints.detach(), self.code_centres, self.code_widths)[0] + 1e-6
            pooled = (windows / windows.sum(-1, keepdim=True)) @ features.float().flatten(2).transpose(1, 2)
            return torch.stack([torch.tanh(code(pooled[:, i])) for i, code in enumerate(self.codes)], 1)
