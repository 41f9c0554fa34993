"""A deviation model for gesturegen: a picture, a code of the frame, and a small decoder. Replace it by your own."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gesturegen_cli.config.schema import ranged
from gesturegen_cli.errors import ConfigError


class TemplateDeviation(nn.Module):
    """The driving frame as one vector, which shifts the features of the source before they become an image."""

    @dataclass(frozen=True)
    class Config:
        """`size` is filled in by gesturegen; users set the others, with deviation.params.KEY."""

        size: int = ranged(256, 64, 1024)
        """Side of the pictures in pixels, a multiple of 16."""
        width: int = ranged(32, 8, 512)
        """Channels at a quarter of the size."""
        code: int = ranged(32, 1, 4096)
        """Numbers in a motion feature."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        if config.size % 16:
            raise ConfigError(f"size is {config.size}, expected a multiple of 16", "256 is usual")
        self.config = config
        self.size, self.motion_dim = config.size, config.code
        width, cells = config.width, config.size // 16
        self.extractor = nn.Sequential(
            *_down(3, width), *_down(width, width), nn.Flatten(), nn.Linear(width * cells**2, config.code), nn.Tanh()
        )
        self.source = nn.Sequential(nn.Conv2d(3, width, 4, 4), nn.GroupNorm(1, width), nn.SiLU())
        self.place = nn.Linear(config.code, width * cells**2)
        self.decoder = nn.Sequential(
            nn.Conv2d(2 * width, width, 3, padding=1), nn.SiLU(), nn.Conv2d(width, 3 * 16, 3, padding=1)
        )

    def encode(self, frames: Tensor) -> Tensor:
        """Driving frames `b 3 size size` in [0, 1] -> motion features `b code`."""
        motion: Tensor = self.extractor(frames)
        return motion.float()

    def encode_source(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """One picture `1 3 size size` -> the picture and its features; called once per picture."""
        return source, self.source(source)

    def animate(self, source: tuple[Tensor, Tensor], motion: Tensor) -> Tensor:
        """What `encode_source` gave, and motion `b code` -> images `b 3 size size` in [0, 1]: the picture, changed."""
        picture, features = source
        cells = self.size // 16
        moved = nn.functional.interpolate(self.place(motion).unflatten(-1, (-1, cells, cells)), scale_factor=4.0)
        both = torch.cat([features.expand(len(motion), -1, -1, -1), moved], 1)
        change = nn.functional.pixel_shuffle(self.decoder(both), 4).float()
        return torch.sigmoid(torch.logit(picture.float(), 0.01) + change)

    def neutralize(self, motion: Tensor, own: Tensor) -> Tensor:
        """Motion `t d` of somebody whose typical motion is `own` `d` -> person-free motion `t d`."""
        return motion

    def retarget(self, motion: Tensor, source: tuple[Tensor, Tensor]) -> Tensor:
        """Person-free motion `t d` -> motion `t d` of the person in the picture."""
        return motion


def _down(channels: int, out: int) -> list[nn.Module]:
    """A quarter of the height and width."""
    return [nn.Conv2d(channels, out, 4, 4), nn.GroupNorm(1, out), nn.SiLU()]
