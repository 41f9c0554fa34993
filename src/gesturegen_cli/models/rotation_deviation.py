"""The `rotation` deviation model: that of the paper arXiv 2409.17674, complete and trainable.

A frame's motion feature is a field of rotations and one translation. It says, for every cell, where the features of the
un-posed source have to be looked up; a gated decoder turns them into an image. With the default widths the state dict
has the names and shapes of the authors' release: 651 tensors, 210,645,333 parameters, 2307 numbers per frame.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from gesturegen_cli.config.schema import choice
from gesturegen_cli.errors import ConfigError
from gesturegen_cli.models.rotation_coach import RotationCoach
from gesturegen_cli.models.rotation_extractor import RotationExtractor
from gesturegen_cli.models.rotation_field import rotation_matrices, warp_volume
from gesturegen_cli.models.rotation_generator import RotationGenerator, RotationSource


class RotationDeviation(nn.Module):
    """Extractor, warping calculator and decoder of `rotation`.

    The motion feature of a frame depends on that frame alone. As published it belongs to no person, so that
    `neutralize` and `retarget` change nothing but values that no frame can have. Where it still tells who is seen
    (models that saw few pairs), `transfer` "relative" makes it the way from the person's typical feature.
    """

    motion_parts: ClassVar[tuple[str, ...]] = ("pose_base",)
    """The parts that motion features depend on."""

    @dataclass(frozen=True)
    class Config:
        """Size of pictures in pixels, widths of the networks, conventions; the defaults are the released model."""

        size: int = 256
        """Side of the pictures: a multiple of 64."""
        extractor_channels: tuple[int, int, int, int] = (64, 256, 512, 1024)
        """After the stem, and of the bottlenecks at 1/4, 1/8 and 1/16 of the size."""
        extractor_blocks: tuple[int, int, int] = (3, 3, 5)
        """Bottlenecks at 1/4, 1/8 and 1/16 of the size, besides the two that halve it."""
        source_channels: tuple[int, int, int, int] = (64, 128, 256, 512)
        """Of source and image features at full size, 1/2, 1/4 and 1/8; the last is also the depth of the warp."""
        source_blocks: int = 4
        """Residual blocks of the source at 1/8 of the size."""
        neutral_channels: tuple[int, int] = (768, 1024)
        """Of the network that takes the pose out of the source, at 1/16 and 1/32 of the size."""
        field_channels: tuple[int, int, int, int] = (64, 128, 256, 512)
        """Of the network from rotations to free matrices."""
        field_blocks: int = 3
        """Residual blocks in its middle."""
        decoder_blocks: int = 8
        """Residual blocks of the decoder at 1/8 of the size."""
        align_corners: bool = False
        """How the warp samples. False as released; with True, no deviation is exactly no motion."""
        half_turn: float = 3.14
        """Radians taken for 180 degrees; 3.14 as released."""
        compact: bool = False
        """Motion features hold three angles per cell instead of nine matrix entries: 771 numbers instead of 2307."""
        transfer: str = choice("absolute", "absolute", "relative")
        """Motion across people: features as they are, or their way from the person's typical one, linearly."""

        def __post_init__(self) -> None:
            _check_config(self)

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.size = config.size
        self.cells = config.size // 16
        self.motion_dim = self.cells**2 * (3 if config.compact else 9) + 3
        self.pose_base = RotationExtractor(config.extractor_channels, config.extractor_blocks)
        self.generator = RotationGenerator(
            config.source_channels,
            config.source_blocks,
            config.neutral_channels,
            config.field_channels,
            config.field_blocks,
            config.decoder_blocks,
        )

    def encode(self, frames: Tensor) -> Tensor:
        """Driving frames `b 3 size size` in [0, 1] -> motion features `b d`, all in [-1, 1].

        Cells row by row, each with its matrix row by row (or, if compact, pitch, yaw and roll in units of 99 degrees);
        then the translation.
        """
        angles, translation = self.pose_base(frames)
        cells = angles if self.config.compact else rotation_matrices(angles, self.config.half_turn)
        return torch.cat([cells.flatten(1), translation], 1)

    def encode_source(self, source: Tensor) -> RotationSource:
        """Pictures `b 3 size size` in [0, 1] -> all that is needed of them."""
        state = self.generator.encode_source(source)
        return replace(state, motion=self.encode(source)) if self.config.transfer == "relative" else state

    def animate(self, source: RotationSource, motion: Tensor) -> Tensor:
        """One picture, or one per frame, and motion features `b d` -> images `b 3 size size` in [0, 1], float32."""
        field, translation = self.deviation_field(motion)
        moved = warp_volume(source.neutral, field, translation, self.config.align_corners)
        image: Tensor = self.generator.decoder(moved, source.still)
        return image

    def animate_pairs(self, sources: Tensor, motion: Tensor) -> Tensor:
        """Pictures `b 3 size size`, each with its own motion `b d` -> images: `animate` for training on pairs."""
        return self.animate(self.generator.encode_source(sources), motion)

    def deviation_field(self, motion: Tensor) -> tuple[Tensor, Tensor]:
        """Motion features `b d` -> free matrices `b size/8 size/8 3 3` and translation `b 3`."""
        cells, translation = motion[:, :-3].float(), motion[:, -3:].float()
        if self.config.compact:
            rotations = rotation_matrices(cells.view(-1, self.cells, self.cells, 3), self.config.half_turn)
        else:
            rotations = cells.reshape(-1, self.cells, self.cells, 3, 3)
        return self.generator.pose_up(rotations), translation

    def coach(self) -> RotationCoach:
        """A network that helps in training and is thrown away afterwards."""
        return RotationCoach(self.motion_dim, self.config.source_channels[-1])

    def neutralize(self, motion: Tensor, own: Tensor) -> Tensor:
        """Motion `t d`, less the person's typical motion `own` `d` if the transfer is relative."""
        return motion - own if self.config.transfer == "relative" else motion

    def retarget(self, motion: Tensor, source: RotationSource) -> Tensor:
        """Person-free motion `t d` -> motion of the person in the picture, limited to values that frames can have."""
        return (motion if source.motion is None else motion + source.motion[0]).clamp(-1, 1)

    def fused(self) -> RotationDeviation:
        """A copy for rendering: eval mode, no gradients, channels last."""
        fast = copy.deepcopy(self).eval().requires_grad_(False)
        return fast.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return] # torch lacks the overload


def _check_config(config: RotationDeviation.Config) -> None:
    """Raise ConfigError for sizes the networks cannot have."""
    if config.size < 64 or config.size % 64:
        raise ConfigError(f"size is {config.size}, expected a multiple of 64, at least 64", "256 is the published size")
    lengths = {"extractor_channels": 4, "extractor_blocks": 3, "source_channels": 4, "neutral_channels": 2}
    for key, count in (lengths | {"field_channels": 4}).items():
        value = getattr(config, key)
        if len(value) != count or any(width < 1 for width in value):
            raise ConfigError(f"{key} is {value}, expected {count} whole numbers of at least 1", "leave it out")
    for key in ("source_blocks", "field_blocks", "decoder_blocks"):
        if getattr(config, key) < 0:
            raise ConfigError(f"{key} is {getattr(config, key)}, expected at least 0", "leave it out")
    if any(width % 4 for width in config.extractor_channels[1:]):
        found = f"extractor_channels is {config.extractor_channels}"
        raise ConfigError(f"{found}, expected multiples of 4 after the first", "bottlenecks take a quarter of them")
    if not 0 < config.half_turn < 4:
        raise ConfigError(f"half_turn is {config.half_turn}, expected about pi", "3.14 is the published value")
