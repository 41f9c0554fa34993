"""Latent deviation decoder of the `flow` model: warped source features to a picture.

The picture is a blend of the source, sampled at full resolution, and of a synthetic picture for what the source does
not show. What an arm uncovers comes from plates (flow_plates), which are mixed into the synthetic picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gesturegen_cli.models.flow_details import Details
from gesturegen_cli.models.flow_motion import FlowField, sheet_grids, sheet_maps, warp_sheets
from gesturegen_cli.models.flow_plates import hidden_shares
from gesturegen_cli.models.speaker_anatomy import SHEETS
from gesturegen_cli.nn.conv import ConvBlock, ResidualBlock, ShuffleUp, double_linear, join
from gesturegen_cli.nn.warp import exact, warp

CRISPNESS = 1.5
"""Steepness of shares at full resolution. They are decided at lower ones, where what moves a little more or less in
training is averaged: at 1, hands keep 40 % of their contrast, at 1.5 half of it, for 0.1 dB of PSNR."""

Pyramid = tuple[Tensor, Tensor, Tensor]
"""Source features at 1/2, 1/4 and 1/8 of the model's size, `b c h w` each."""


@dataclass(frozen=True)
class Window:
    """A square part of the output, in cells of 8 x 8 pixels; training on windows is cheaper than on whole pictures."""

    top: int
    left: int
    cells: int


@dataclass(frozen=True)
class FlowImage:
    """Decoded pictures; s is the model's size, or the side of the window. All float32."""

    image: Tensor
    """mask * warped + laid, `b 3 s s` in [0, 1]."""
    mask: Tensor
    """Share of the warped picture, `b 1 s s` in [0, 1]."""
    warped: Tensor
    """The source sampled at `grids` and mixed by `shares`, `b 3 s s`."""
    laid: Tensor
    """What the decoder paints itself, and plates, times their share 1 - mask, `b 3 s s`."""
    grids: Tensor
    """Source coordinates of every output pixel for each sheet, `b 4 s s 2`: samples larger pictures as well."""
    shares: Tensor
    """How much of each sheet `warped` is made of, `b 4 s s`."""

    @cached_property
    def synthetic(self) -> Tensor:
        """What is laid over the warped picture, in its own colours, `b 3 s s` in [0, 1]."""
        return self.laid / (1 - self.mask).clamp_min(1e-4)


class FlowDecoder(nn.Module):
    """Encodes the source once, then decodes its warped features from 1/8 to full size."""

    def __init__(self, channels: tuple[int, int, int], code_map_channels: int) -> None:
        super().__init__()
        a, b, c = channels
        self.encode1 = ConvBlock(3, a, 5, 2)
        self.encode2 = nn.Sequential(ConvBlock(a, b, 3, 2), ConvBlock(b, b))
        self.encode3 = nn.Sequential(ConvBlock(b, c, 3, 2), ResidualBlock(c))
        self.decode3 = nn.Sequential(ConvBlock(c + 1 + code_map_channels, c), ResidualBlock(c), ResidualBlock(c))
        self.up2 = ShuffleUp(c, b)
        self.decode2 = nn.Sequential(ConvBlock(2 * b + 1 + code_map_channels, b), ResidualBlock(b))
        self.up1 = ShuffleUp(b, a)
        self.decode1 = nn.Sequential(ConvBlock(2 * a + 1, a), ConvBlock(a, a))
        self.paint = nn.Conv2d(a, 4 * 4 + 2, 3, 1, 1)
        nn.init.normal_(self.paint.weight, std=0.01)
        if self.paint.bias is not None:
            nn.init.zeros_(self.paint.bias)

    def encode(self, picture: Tensor) -> Pyramid:
        """Source pictures `b 3 size size` in [0, 1] -> their features at three scales."""
        half = self.encode1(picture * 2 - 1)
        quarter = self.encode2(half)
        return half, quarter, self.encode3(quarter)

    def forward(
        self,
        picture: Tensor,
        pyramid: Pyramid,
        plates: Tensor,
        field: FlowField,
        details: Details | None = None,
        window: Window | None = None,
    ) -> FlowImage:
        """Sources (1, or one per flow), their pyramids and plates, `b` flows -> `b` pictures, or a window of them."""
        with exact(picture):
            hidden = hidden_shares(field.layer_logits, field.visibility_logits)
            torso = field.torso_grid.permute(0, 3, 1, 2)
            quarter, seen_quarter = field.grid.permute(0, 3, 1, 2), field.visibility_logits.sigmoid()
            eighth, seen_eighth = F.avg_pool2d(quarter, 2), F.avg_pool2d(seen_quarter, 2)
            half, seen_half = double_linear(quarter), double_linear(seen_quarter)
            sheets = double_linear(torch.cat([sheet_maps(field.grids), field.sheet_logits], 1))
        codes, codes_half = field.code_maps, field.code_maps_half
        if window is not None:
            eighth, seen_eighth, codes_half = (_crop(x, window, 1) for x in (eighth, seen_eighth, codes_half))
            quarter, seen_quarter, codes = (_crop(x, window, 2) for x in (quarter, seen_quarter, codes))
            half, seen_half, sheets = (_crop(x, window, 4) for x in (half, seen_half, sheets))
            hidden, torso = (_crop(x, window, 2) for x in (hidden, torso))
        x = self.decode3(join([_visible(pyramid[2], eighth, seen_eighth), seen_eighth, codes_half]))
        x = self.decode2(join([self.up2(x), _visible(pyramid[1], quarter, seen_quarter), seen_quarter, codes]))
        x = self.decode1(join([self.up1(x), _visible(pyramid[0], half, seen_half), seen_half]))
        painted = self.paint(x).float()
        with exact(picture):
            behind = _behind(plates, double_linear(double_linear(torso)), window)
            pasted = None if details is None else details.pasted(picture.shape[-1])
            if pasted is not None and window is not None:
                pasted = _crop(pasted, window, 8)
            return _compose(picture, painted, sheets, behind, double_linear(double_linear(hidden)), pasted)


def _visible(features: Tensor, flow: Tensor, visibility: Tensor) -> Tensor:
    """Source features at the flow `b 2 n n`, faded where the source does not show the place."""
    return warp(features, flow.permute(0, 2, 3, 1)) * visibility


def _crop(x: Tensor, window: Window, scale: int) -> Tensor:
    """The window of `b c n n`, where a cell is `scale` pixels wide."""
    top, left, side = window.top * scale, window.left * scale, window.cells * scale
    return x[:, :, top : top + side, left : left + side]


def _behind(plates: Tensor, torso: Tensor, window: Window | None) -> tuple[Tensor, Tensor]:
    """Plates `1|b 2 3 size size` and the torso's coordinates `b 2 s s` -> both as they lie in the output, `b 3 s s`."""
    background = plates[:, 0] if window is None else _crop(plates[:, 0], window, 8)
    return background.expand(len(torso), -1, -1, -1), warp(plates[:, 1], torso.permute(0, 2, 3, 1))


def _compose(
    picture: Tensor,
    painted: Tensor,
    sheets: Tensor,
    behind: tuple[Tensor, Tensor],
    hidden: Tensor,
    details: Tensor | None,
) -> FlowImage:
    """Output of the last convolution `b 18 s/2 s/2`, flows and logits of sheets `b 12 s/2 s/2`, plates, their
    shares `b 2 s s` -> pictures. `details` `b 10 s s` are flows of body and arms, paint and share of the crops.
    """
    count = 2 * len(SHEETS)
    painted = painted.contiguous()  # planes of channels-last maps are slow to read
    closer = 0.05 * torch.tanh(painted[:, 16:]).repeat(1, len(SHEETS), 1, 1)
    sheets = double_linear(torch.cat([sheets[:, :count] + closer, sheets[:, count:]], 1))
    flows, shares = sheets[:, :count], (CRISPNESS * sheets[:, count:]).softmax(1)
    if details is not None:
        flows[:, 2:].add_(details[:, :6])
    grids = sheet_grids(flows)
    warped = warp_sheets(picture, grids, shares)
    full = F.pixel_shuffle(painted[:, :16], 2)
    # The start is mostly the warped picture, in mid-contrast colours where it is not.
    mask = torch.sigmoid(CRISPNESS * (full[:, 3:] + 1.5))
    shown = 1 - hidden.sum(1, keepdim=True)
    own = (1 - mask) * shown
    laid = torch.addcmul(hidden[:, :1] * behind[0], hidden[:, 1:], behind[1])
    laid = torch.addcmul(laid, own, torch.sigmoid(full[:, :3] * 4))
    mask = mask * shown
    if details is not None:
        kept = 1 - details[:, 9:]
        mask, laid = mask * kept, torch.addcmul(details[:, 6:9], laid, kept)
    return FlowImage(torch.addcmul(laid, mask, warped), mask, warped, laid, grids, shares)
