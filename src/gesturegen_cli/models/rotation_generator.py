"""Source encoder and latent deviation decoder of `rotation` (docs/method.md)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gesturegen_cli.models.rotation_blocks import Down, Residual, ResizeResidual, Same, Up, group_norm
from gesturegen_cli.models.rotation_field import FieldUp, smooth_depth
from gesturegen_cli.nn.conv import join

Channels = tuple[int, int, int, int]

SMOOTH = 10.0
"""A fresh volume's channels are alike over a tenth of its depth."""
LEAK = 0.2
PRELU = 0.14159


@dataclass(frozen=True)
class RotationSource:
    """Pictures, with all that is computed of them once. One picture serves any number of frames."""

    neutral: Tensor
    """Un-posed features `b c h/8 w/8`."""
    still: tuple[Tensor, Tensor]
    """What the gates show where nothing moves, at 1/4 and 1/2 of the size."""
    motion: Tensor | None = None
    """Their own motion `b d`, for models that carry motion over relative to it."""


class NeutralFeature(nn.Module):
    """A small U-net that takes the pose out of the source's features, same shape `b c h w`."""

    def __init__(self, channels: int, widths: tuple[int, int]) -> None:
        super().__init__()
        low, high = widths
        self.down_0 = ResizeResidual(channels, low, 0.5, 8)
        self.down_1 = ResizeResidual(low, high, 0.5, 16)
        self.mid_0 = ResizeResidual(high, high, 1, 16)
        self.up_1 = ResizeResidual(2 * high, high, 2, 16)
        self.up_0 = ResizeResidual(high + low, low, 2, 8)
        last = nn.Conv2d(low, channels, 3, padding=1)
        smooth_depth(last, channels / SMOOTH)
        self.out_o = nn.Sequential(group_norm(12, low), nn.ReLU(), last)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the network to `b c h w`."""
        half = self.down_0(x)
        quarter = self.down_1(half)
        y = self.up_1(join([self.mid_0(quarter), quarter]))
        return self.out_o(self.up_0(join([y, half])))  # type: ignore[no-any-return] # nn.Module.__call__ is untyped


class GatedDecoder(nn.Module):
    """Moved features to an image; gates choose per channel and place between what moved and what stood still."""

    def __init__(self, channels: Channels, blocks: int) -> None:
        super().__init__()
        low, middle, high = channels[1:]
        self.conv_in = nn.Conv2d(high, high, 1)
        self.res_ms = nn.Sequential(*(Residual(high, 16) for _ in range(blocks)))
        self.up0 = nn.Sequential(Up(high, high), Residual(high, 8))
        self.mask_up0 = nn.Conv2d(high, high, 3, padding=1)
        self.re_up0 = ResizeResidual(middle, high, 1, 4)
        self.re_ac0 = nn.PReLU(high, PRELU)
        self.up1 = nn.Sequential(Up(high, middle), Residual(middle, 8))
        self.mask_up1 = nn.Conv2d(middle, middle, 3, padding=1)
        self.re_up1 = ResizeResidual(low, middle, 1, 4)
        self.re_ac1 = nn.PReLU(middle, PRELU)
        self.up2 = nn.Sequential(Up(middle, low), Residual(low, 4))
        self.conv_img = nn.Conv2d(low, 3, 3, padding=1)

    def encode_still(self, half: Tensor, quarter: Tensor) -> tuple[Tensor, Tensor]:
        """Source features at 1/2 and 1/4 of the size -> what both gates show of the still picture; once per picture."""
        return self.re_up0(quarter), self.re_up1(half)

    def forward(self, moved: Tensor, still: tuple[Tensor, Tensor]) -> Tensor:
        """Moved features `b c h/8 w/8` -> images `b 3 h w` in [0, 1], float32."""
        x = self.up0(self.res_ms(self.conv_in(moved)))
        x = self.re_ac0(_gate(self.mask_up0(x), x, still[0]))
        x = self.up1(x)
        x = self.re_ac1(_gate(self.mask_up1(x), x, still[1]))
        return torch.sigmoid(self.conv_img(F.leaky_relu(self.up2(x), LEAK)).float())


def _gate(logits: Tensor, moved: Tensor, still: Tensor) -> Tensor:
    # Under autocast CUDA's group norms give float32 where its convolutions give bfloat16.
    return torch.lerp(still.to(moved.dtype).expand_as(moved), moved, logits.sigmoid().to(moved.dtype))


class RotationGenerator(nn.Module):
    """All of the model but its extractor, under the names of the published state dict."""

    def __init__(
        self,
        channels: Channels,
        source_blocks: int,
        neutral_channels: tuple[int, int],
        field_channels: Channels,
        field_blocks: int,
        decoder_blocks: int,
    ) -> None:
        super().__init__()
        self.first = Same(3, channels[0], 7)
        self.down_blocks = nn.ModuleList(Down(channels[i], channels[i + 1]) for i in range(3))
        self.res_ms = nn.Sequential(*(Residual(channels[3], 16) for _ in range(source_blocks)))
        self.Res_Feat = NeutralFeature(channels[3], neutral_channels)
        self.pose_up = FieldUp(field_channels, field_blocks)
        self.decoder = GatedDecoder(channels, decoder_blocks)

    def encode_source(self, pictures: Tensor) -> RotationSource:
        """Pictures `b 3 h w` in [0, 1] -> all that is needed of them."""
        x, levels = self.first(pictures), []
        for down in self.down_blocks:
            x = down(x)
            levels.append(x)
        neutral = self.Res_Feat(self.res_ms(x))
        return RotationSource(neutral, self.decoder.encode_still(levels[0], levels[1]))
