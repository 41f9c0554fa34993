"""The shapes of the speech models in use, and their empty networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torchaudio
from torch import nn

HOP = 320
"""Samples from one feature step to the next: 50 steps per second at 16 kHz."""
RECEPTIVE = 400
"""Samples that the convolutions of one step see."""
KERNELS, STRIDES = (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)
"""Of the seven convolutions, the same in all these models (Baevski et al. 2020, section 4.2)."""


@dataclass(frozen=True)
class Layout:
    """One network. Defaults are those that all released sizes share."""

    name: str
    family: str
    """`wavlm`, `hubert` or `wav2vec2`."""
    wanted: str
    """Files that hold such weights, in words, for messages."""
    width: int
    """Feature size c."""
    layers: int
    heads: int
    feedforward: int
    large: bool = False
    """Layer norms before, not after, attention, in every convolution too; and trained on normalised waves."""
    channels: int = 512
    position_kernel: int = 128
    position_groups: int = 16
    buckets: int = 320
    max_distance: int = 800


WAVLM_BASE = Layout(
    "wavlm-base",
    "wavlm",
    "WavLM-Base.pt, WavLM-Base+.pt or a Hugging Face folder of microsoft/wavlm-base or microsoft/wavlm-base-plus",
    width=768,
    layers=12,
    heads=12,
    feedforward=3072,
)
WAVLM_LARGE = Layout(
    "wavlm-large",
    "wavlm",
    "WavLM-Large.pt or a Hugging Face folder of microsoft/wavlm-large",
    width=1024,
    layers=24,
    heads=16,
    feedforward=4096,
    large=True,
)
HUBERT_BASE = Layout(
    "hubert-base",
    "hubert",
    "a Hugging Face folder of facebook/hubert-base-ls960, or torchaudio's hubert_fairseq_base_ls960.pth",
    width=768,
    layers=12,
    heads=12,
    feedforward=3072,
)
WAV2VEC2_BASE = Layout(
    "wav2vec2-base",
    "wav2vec2",
    "a Hugging Face folder of facebook/wav2vec2-base, wav2vec_small.pt or torchaudio's wav2vec2_fairseq_base_ls960.pth",
    width=768,
    layers=12,
    heads=12,
    feedforward=3072,
)


def build_skeleton(layout: Layout) -> nn.Module:
    """The network of `layout` without weights (on the device `meta`): frozen, in eval mode, draws no random numbers."""
    common: dict[str, Any] = {
        "extractor_mode": "layer_norm" if layout.large else "group_norm",
        "extractor_conv_layer_config": [(layout.channels, k, s) for k, s in zip(KERNELS, STRIDES, strict=True)],
        "extractor_conv_bias": False,
        "encoder_embed_dim": layout.width,
        "encoder_projection_dropout": 0.0,
        "encoder_pos_conv_kernel": layout.position_kernel,
        "encoder_pos_conv_groups": layout.position_groups,
        "encoder_num_layers": layout.layers,
        "encoder_num_heads": layout.heads,
        "encoder_attention_dropout": 0.0,
        "encoder_ff_interm_features": layout.feedforward,
        "encoder_ff_interm_dropout": 0.0,
        "encoder_dropout": 0.0,
        "encoder_layer_norm_first": layout.large,
        "encoder_layer_drop": 0.0,
        "aux_num_out": None,
    }
    with torch.device("meta"):
        if layout.family == "wavlm":
            relative = {"encoder_num_buckets": layout.buckets, "encoder_max_distance": layout.max_distance}
            model: nn.Module = torchaudio.models.wavlm_model(**common, **relative)
        else:
            model = torchaudio.models.wav2vec2_model(**common)
    return model.eval().requires_grad_(False)
