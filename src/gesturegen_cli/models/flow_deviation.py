"""The `flow` deviation model: articulated layers and latent codes, small enough for a laptop.

Joints and codes of a driving frame are the motion feature; bones move the layers of the source picture, and a decoder
paints what the source does not show. With the default widths: 3.2 M parameters, 98 numbers per frame, 4.3 GFLOP per
256 x 256 frame. A reader and a painter of face and hands, networks of their own, are optional.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from gesturegen_cli.errors import ConfigError
from gesturegen_cli.models.flow_decoder import FlowDecoder, FlowImage, Pyramid, Window
from gesturegen_cli.models.flow_details import CodeReader, Details, FlowDetails, SourceDetails
from gesturegen_cli.models.flow_extractor import FlowExtractor, FlowFeatures, joint_certainty, unpack_motion
from gesturegen_cli.models.flow_losses import flow_losses
from gesturegen_cli.models.flow_motion import FlowField, FlowMotion, SourceLayers, code_map_channels
from gesturegen_cli.models.flow_plates import layer_plates
from gesturegen_cli.models.flow_transfer import neutralize_motion, retarget_motion
from gesturegen_cli.models.speaker_anatomy import CODES, JOINTS, UPRIGHT_JOINTS
from gesturegen_cli.nn.conv import fold_batch_norms


@dataclass(frozen=True)
class FlowSource:
    """One picture, with all that is computed of it once."""

    picture: Tensor
    """`1 3 size size` in [0, 1]."""
    pyramid: Pyramid
    """Decoder features at 1/2, 1/4 and 1/8 of the size."""
    plates: Tensor
    """Background and torso with what covers them filled in, `1 2 3 size size`."""
    features: FlowFeatures
    """Joints, codes, layers and free features."""
    layers: SourceLayers
    """The source's part of the flow."""
    details: SourceDetails | None
    """The source's part of the details, where the model draws them."""

    @property
    def motion(self) -> Tensor:
        """The picture's own motion, `1 d`."""
        return self.features.motion


class FlowDeviation(nn.Module):
    """Extractor, warping calculator and decoder of `flow`.

    Nothing here disables gradients: to render, call under `torch.inference_mode()` on the copy that `fused()` gives.
    """

    motion_parts: ClassVar[tuple[str, ...]] = ("extractor",)
    """The parts that motion features depend on: what learned from such features goes on working while these stay."""
    renders_in_bf16: ClassVar[bool] = True
    """Under autocast, frames are those of float32 but for rounding."""

    @dataclass(frozen=True)
    class Config:
        """Size of pictures in pixels and widths of the networks; the embedded model has reader and painter besides."""

        size: int = 256
        """Side of the pictures: a multiple of 64, at least 64."""
        code_dim: int = 16
        """Numbers per latent code (face, left hand, right hand)."""
        extractor_channels: tuple[int, int, int, int] = (32, 64, 96, 128)
        """At 1/4, 1/8, 1/16 and 1/32 of the size."""
        head_channels: int = 32
        """Of the extractor's last layers, at 1/4 of the size."""
        feature_channels: int = 16
        """Free source features handed to the warping calculator."""
        motion_channels: tuple[int, int, int] = (32, 64, 96)
        """At 1/4, 1/8, and 1/16 and 1/32 of the size."""
        code_channels: int = 12
        """Channels the codes are spread over in the picture."""
        decoder_channels: tuple[int, int, int] = (32, 64, 96)
        """At 1/2, 1/4 and 1/8 of the size."""
        reader_channels: tuple[int, ...] = ()
        """Of the networks that read codes from crops of face and hands, at 1/4, 1/8 and 1/16 of 64 pixels; none: codes
        are pooled from the extractor's features."""
        painter_channels: tuple[int, ...] = ()
        """Of the networks that bend face and hands closely and paint mouths, at 1/2, 1/4 and 1/8 of 64 pixels."""

        def __post_init__(self) -> None:
            _check_config(self)

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.size = config.size
        self.motion_dim = 2 * len(JOINTS) + len(CODES) * config.code_dim
        self.extractor = FlowExtractor(
            config.size,
            config.extractor_channels,
            config.head_channels,
            config.feature_channels,
            config.code_dim,
            CodeReader(config.reader_channels, config.code_dim) if config.reader_channels else None,
        )
        self.motion = FlowMotion(
            config.size, config.motion_channels, config.feature_channels, config.code_dim, config.code_channels
        )
        self.decoder = FlowDecoder(config.decoder_channels, code_map_channels(config.code_channels))
        painter = config.painter_channels
        self.details = FlowDetails(painter, config.code_dim) if painter else None

    def encode(self, frames: Tensor) -> Tensor:
        """Driving frames `b 3 size size` in [0, 1] -> motion features `b d`: joints x, y, then codes."""
        return self.extract(frames).motion

    def encode_source(self, source: Tensor) -> FlowSource:
        """One picture `1 3 size size` in [0, 1] -> all that is needed of it."""
        features = self.extract(source)
        plates = layer_plates(source, features.layer_logits)
        layers, details = self.motion.prepare(features), self.prepare_details(source, features)
        return FlowSource(source, self.encode_pyramid(source), plates, features, layers, details)

    def animate(self, source: FlowSource, motion: Tensor) -> Tensor:
        """Source and motion features `b d` -> images `b 3 size size` in [0, 1], float32."""
        return self.animate_parts(source, motion).image

    def animate_parts(self, source: FlowSource, motion: Tensor) -> FlowImage:
        """Like `animate`, with the parts the image is blended from; its grids sample larger pictures as well."""
        field = self.motion(source.layers, motion)
        details = self.refine(source.picture, source.details, field, motion)
        return self.decode(source.picture, source.pyramid, source.plates, field, details)

    def neutralize(self, motion: Tensor, own: Tensor) -> Tensor:
        """Motion `t d` of a person whose typical motion is `own` `d` -> person-free motion `t d` (flow_transfer)."""
        return neutralize_motion(motion, own)

    def retarget(self, motion: Tensor, source: FlowSource) -> Tensor:
        """Person-free motion `t d` -> motion `t d` of the person in the picture."""
        return retarget_motion(motion, source.motion[0])

    def extract(self, frames: Tensor) -> FlowFeatures:
        """Everything the extractor sees in frames `b 3 size size`: what losses on joints and layers need."""
        features: FlowFeatures = self.extractor(frames)
        return features

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Names of the joints that `locate_person` finds, in its order."""
        return JOINTS

    def locate_person(self, frames: Tensor) -> Tensor:
        """Where the person's joints are in frames `b 3 size size`: `b 25 2`, x and y in [-1, 1] of the picture."""
        return self.extract(frames).joints

    def joint_certainty(self, frames: Tensor) -> Tensor:
        """How sure the place of each joint is in frames `b 3 size size`: `b 25` in [0, 1] (flow_extractor)."""
        return joint_certainty(self.extract(frames).heatmaps)

    def person_certainty(self, source: FlowSource) -> float:
        """How sure the places of head and shoulders are in the picture, in [0, 1] (flow_extractor)."""
        return float(joint_certainty(source.features.heatmaps)[:, list(UPRIGHT_JOINTS)].mean())

    def encode_pyramid(self, pictures: Tensor) -> Pyramid:
        """Decoder features of pictures `b 3 size size` at three scales."""
        return self.decoder.encode(pictures)

    def compose(self, source: FlowFeatures, motion: Tensor) -> FlowField:
        """Features of `b` sources and the motion `b d` of their driving frames -> flow, layers and visibility."""
        field: FlowField = self.motion(self.motion.prepare(source), motion)
        return field

    def prepare_details(self, pictures: Tensor, source: FlowFeatures) -> SourceDetails | None:
        """The part of the details that is the sources', pictures `b 3 size size`."""
        return None if self.details is None else self.details.prepare(pictures, source.joints, source.codes)

    def refine(
        self, pictures: Tensor, source: SourceDetails | None, field: FlowField, motion: Tensor
    ) -> Details | None:
        """What is drawn of face and hands in `b` frames with this flow and motion `b d`; None without such networks."""
        if self.details is None or source is None:
            return None
        details: Details = self.details(pictures, source, *unpack_motion(motion.float()), field.maps)
        return details

    def decode(
        self,
        pictures: Tensor,
        pyramid: Pyramid,
        plates: Tensor,
        field: FlowField,
        details: Details | None = None,
        window: Window | None = None,
    ) -> FlowImage:
        """Sources `b 3 size size`, their pyramid, plates, flow, details -> images and parts, or a window of them."""
        image: FlowImage = self.decoder(pictures, pyramid, plates, field, details, window)
        return image

    def losses(
        self, batch: Mapping[str, Tensor], weights: Mapping[str, float], generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Unweighted loss terms of a batch of pairs, for training (flow_losses)."""
        return flow_losses(self, batch, weights, generator)

    def fused(self) -> FlowDeviation:
        """A copy for rendering: eval mode, batch norms folded, channels last, no gradients. Outputs stay the same."""
        fast = copy.deepcopy(self).eval().requires_grad_(False)
        fold_batch_norms(fast)
        return fast.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return] # torch lacks the overload


def _check_config(config: FlowDeviation.Config) -> None:
    """Raise ConfigError for sizes the networks cannot have."""
    if config.size < 64 or config.size % 64:
        raise ConfigError(
            f"size is {config.size}, expected a multiple of 64, at least 64", "256 is the size of the default model"
        )
    widths = {
        "code_dim": (config.code_dim,),
        "extractor_channels": config.extractor_channels,
        "head_channels": (config.head_channels,),
        "feature_channels": (config.feature_channels,),
        "motion_channels": config.motion_channels,
        "code_channels": (config.code_channels,),
        "decoder_channels": config.decoder_channels,
    }
    optional = {"reader_channels": config.reader_channels, "painter_channels": config.painter_channels}
    widths |= {key: value for key, value in optional.items() if value}
    expected = {"extractor_channels": 4, "motion_channels": 3, "decoder_channels": 3, **dict.fromkeys(optional, 3)}
    for key, value in widths.items():
        if len(value) != expected.get(key, 1) or any(width < 1 for width in value):
            count = expected.get(key, 1)
            raise ConfigError(
                f"{key} is {getattr(config, key)}, expected {count} whole number{'s' * (count > 1)} of at least 1",
                "leave it out to get the default",
            )
