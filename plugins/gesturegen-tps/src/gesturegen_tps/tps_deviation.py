"""The `tps` deviation model: that of TPSM (Zhao & Zhang 2022) and S2G-MDDiffusion (He et al. 2024).

A frame's motion feature is its keypoints, K x 5 points. For every five of them a thin-plate spline carries places of
the driving frame to the source; a network mixes the K moved copies into one flow, and another paints what the source
hides. With the default widths the state dict has the names and shapes of the published weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from gesturegen_cli.config.schema import choice, ranged
from gesturegen_cli.errors import ConfigError
from gesturegen_tps.background import BackgroundPredictor
from gesturegen_tps.dense_motion import REDUCTION, DenseMotion, DenseMotionNetwork
from gesturegen_tps.inpainting import Features, InpaintingNetwork
from gesturegen_tps.keypoints import POINTS, KeypointDetector
from gesturegen_tps.refinement import RefinementNetwork


@dataclass(frozen=True)
class TpsSource:
    """Pictures, with all that is computed of them once."""

    pictures: Tensor
    """`b 3 size size` in [0, 1]; b is 1 for one picture that is animated."""
    small: Tensor
    """The same at a quarter of the size."""
    points: Tensor
    """Keypoints `b k 5 2`."""
    features: Features
    """Of the inpainting network."""


class TpsDeviation(nn.Module):
    """Keypoints, dense motion, inpainting and, if asked for, refinement.

    Rendering from motion holds the background still: the camera's motion between two frames (`background`) can be
    predicted from both pictures only, so it helps training and is no part of the motion feature. The predictor's
    parameters ask for gradients only where training asks for all of them.
    """

    motion_parts: ClassVar[tuple[str, ...]] = ("kp_detector",)
    """The parts that motion features depend on."""

    @dataclass(frozen=True)
    class Config:
        """Size, parts and widths; the default widths are the published ones."""

        size: int = ranged(256, 64, 1024)
        """Side of the pictures: a multiple of 4 * 2^motion_blocks; with `refine` a power of two."""
        transforms: int = ranged(10, 1, 100)
        """Thin-plate transforms K, of five points each: TPSM has 10, S2G-MDDiffusion 20."""
        background: bool = False
        """Predict the camera's motion in training (TPSM but for mgif)."""
        refine: bool = False
        """Paint hidden places again with the third stage of S2G-MDDiffusion."""
        transfer: str = choice("absolute", "absolute", "relative")
        """Motion across people: points as they are, or their way from the person's typical pose."""
        keypoint_width: int = ranged(64, 1, 1024)
        """Channels after the stem of the keypoint detector and the background predictor."""
        motion_width: int = ranged(64, 4, 1024)
        """Channels of dense motion at a quarter of the size, doubled with every halving."""
        motion_widest: int = ranged(1024, 8, 8192)
        """Limit of that doubling."""
        motion_blocks: int = ranged(5, 2, 8)
        """Halvings in dense motion."""
        image_channels: tuple[int, int, int, int] = (64, 128, 256, 512)
        """Of the source's features at the size, 1/2, 1/4 and 1/8 of it."""
        refine_width: int = ranged(64, 1, 1024)
        """Channels of the refinement at half of the size."""
        dropout: float = ranged(0.5, 0, 0.99)
        """Probability that training leaves a transform out, once it has risen: so none becomes idle."""
        dropout_start: float = ranged(0.0, 0, 0.99)
        """The same probability at the first step."""
        dropout_rise: int = ranged(1000, 1)
        """Steps in which it rises; a tenth of all steps in the published recipe."""
        dropout_until: int = ranged(3500, 0)
        """Steps after which nothing is left out any more; a third of all steps in the published recipe."""
        background_start: int = ranged(0, 0)
        """Training steps in which the background is taken to be still."""
        heatmaps_first: bool = True
        """Whether dense motion gets heat maps before the moved copies. Weights fit one order only."""
        refine_skips_first: bool = False
        """Whether the refinement joins levels of its way down before those of its way up. Likewise."""

        def __post_init__(self) -> None:
            _check_config(self)

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.size = config.size
        self.motion_dim = config.transforms * POINTS * 2
        self.kp_detector = KeypointDetector(config.transforms, config.keypoint_width)
        self.dense_motion_network = DenseMotionNetwork(
            config.transforms, config.motion_width, config.motion_blocks, config.motion_widest, config.heatmaps_first
        )
        self.inpainting_network = InpaintingNetwork(config.image_channels)
        self.bg_predictor = BackgroundPredictor(config.keypoint_width) if config.background else None
        if self.bg_predictor is not None:
            self.bg_predictor.requires_grad_(False)
        self.e2e_generator: RefinementNetwork | None = None
        if config.refine:
            self.e2e_generator = RefinementNetwork(config.size, config.refine_width, config.refine_skips_first)

    def encode(self, frames: Tensor) -> Tensor:
        """Driving frames `b 3 size size` in [0, 1] -> motion features `b d`: x, y of point after point, in [-1, 1]."""
        points: Tensor = self.kp_detector(frames)
        return points.flatten(1)

    def encode_source(self, source: Tensor) -> TpsSource:
        """Pictures `b 3 size size` in [0, 1], usually one -> all that is needed of them."""
        return self.prepare_source(source, self.kp_detector(source))

    def prepare_source(self, pictures: Tensor, points: Tensor) -> TpsSource:
        """`encode_source` for pictures `b 3 size size` whose keypoints `b k 5 2` are known."""
        small = self.dense_motion_network.down(pictures)
        return TpsSource(pictures, small, points, self.inpainting_network.encode(pictures))

    def animate(self, source: TpsSource, motion: Tensor) -> Tensor:
        """One picture, or one per frame, and motion features `b d` -> images `b 3 size size` in [0, 1], float32."""
        dense = self.dense_motion(source, self.unpack(motion))
        image: Tensor = self.inpainting_network(source.pictures, source.features, dense)
        return self.refined(image, dense.occlusion[-1])[1].clamp(0, 1)

    def animate_pairs(self, sources: Tensor, motion: Tensor) -> Tensor:
        """Pictures `b 3 size size`, each with its own motion `b d` -> images: `animate` for training on pairs."""
        return self.animate(self.encode_source(sources), motion)

    def dense_motion(
        self, source: TpsSource, points: Tensor, background: Tensor | None = None, keep: Tensor | None = None
    ) -> DenseMotion:
        """Flow and occlusion for driving keypoints `b k 5 2`; see `DenseMotionNetwork` for the rest."""
        dense: DenseMotion = self.dense_motion_network(source.small, source.points, points, background, keep)
        return dense

    def refined(self, image: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Image `b 3 h w` and finest occlusion `b 1 h w` -> what the refinement paints, and it where hidden.

        Both are the image itself in a model without refinement.
        """
        if self.e2e_generator is None:
            return image, image
        painted: Tensor = self.e2e_generator(image, seen)
        return painted, image * seen + painted * (1 - seen)

    def unpack(self, motion: Tensor) -> Tensor:
        """Motion features `b d` -> points `b k 5 2`, float32."""
        return motion.float().view(-1, self.config.transforms, POINTS, 2)

    def neutralize(self, motion: Tensor, own: Tensor) -> Tensor:
        """Motion `t d`, less the person's typical motion `own` `d` if the transfer is relative."""
        return motion - own if self.config.transfer == "relative" else motion

    def retarget(self, motion: Tensor, source: TpsSource) -> Tensor:
        """Person-free motion `t d` -> motion of the person in the picture: the inverse of `neutralize`."""
        return motion + source.points[0].flatten() if self.config.transfer == "relative" else motion

    def losses(
        self, batch: Mapping[str, Tensor], weights: Mapping[str, float], generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Unweighted loss terms of a batch of pairs, for training (tps_losses)."""
        from gesturegen_tps.tps_losses import tps_losses

        return tps_losses(self, batch, weights, generator)


def _check_config(config: TpsDeviation.Config) -> None:
    """Raise ConfigError for sizes the networks cannot have."""
    step = REDUCTION * 2**config.motion_blocks
    if config.size % step:
        hint = f"take {max(step, config.size // step * step)}, or fewer motion_blocks"
        raise ConfigError(f"size is {config.size}, expected a multiple of {step} (4 * 2^motion_blocks)", hint)
    if config.refine and config.size & (config.size - 1):
        raise ConfigError(f"size is {config.size}, refinement expects a power of two", "take 256, or refine=false")
    if len(config.image_channels) != 4 or any(width < 1 for width in config.image_channels):
        found = f"image_channels is {config.image_channels}"
        raise ConfigError(f"{found}, expected 4 whole numbers of at least 1", "leave it out")
    if config.dropout_start > config.dropout:
        found = f"dropout_start is {config.dropout_start}, dropout {config.dropout}"
        raise ConfigError(f"{found}, expected it to rise", "lower dropout_start")
