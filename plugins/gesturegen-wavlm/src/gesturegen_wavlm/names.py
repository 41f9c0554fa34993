"""Tensor names of published speech models, and what torchaudio calls the same tensors.

Three dialects are known. `N` is a layer; `A` stands for `encoder.transformer.layers.N` of torchaudio.

| torchaudio | original (fairseq; microsoft/unilm) | Hugging Face (WavLMModel, HubertModel, Wav2Vec2Model) |
|---|---|---|
| feature_extractor.conv_layers.N.conv | feature_extractor.conv_layers.N.0 | the same |
| feature_extractor.conv_layers.N.layer_norm | feature_extractor.conv_layers.N.2 or .N.2.1 | the same |
| encoder.feature_projection.layer_norm | layer_norm | feature_projection.layer_norm |
| encoder.feature_projection.projection | post_extract_proj | feature_projection.projection |
| encoder.transformer.pos_conv_embed.conv | encoder.pos_conv.0 | encoder.pos_conv_embed.conv |
| encoder.transformer.layer_norm | encoder.layer_norm | encoder.layer_norm |
| A.attention.{q,k,v,out}_proj | encoder.layers.N.self_attn.* | encoder.layers.N.attention.* |
| A.layer_norm | encoder.layers.N.self_attn_layer_norm | encoder.layers.N.layer_norm |
| A.feed_forward.intermediate_dense | encoder.layers.N.fc1 | encoder.layers.N.feed_forward.intermediate_dense |
| A.feed_forward.output_dense | encoder.layers.N.fc2 | encoder.layers.N.feed_forward.output_dense |
| A.final_layer_norm | encoder.layers.N.final_layer_norm | encoder.layers.N.final_layer_norm |

WavLM only, where torchaudio keeps attention in `A.attention.attention` with q, k and v stacked as `in_proj_weight` and
`in_proj_bias`:

| torchaudio, A.attention | original, encoder.layers.N.self_attn | Hugging Face, encoder.layers.N.attention |
|---|---|---|
| rel_attn_embed (layer 0 only) | relative_attention_bias | rel_attn_embed |
| gru_rel_pos_linear | grep_linear | gru_rel_pos_linear |
| gru_rel_pos_const | grep_a | gru_rel_pos_const |

The weight-normalised positional convolution has `weight_g` and `weight_v` in older files of each dialect, and
`parametrizations.weight.original0` and `original1` in newer ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from gesturegen_wavlm.layouts import Layout

PREFIX = re.compile(r"(?:wavlm|hubert|wav2vec2|(?:w2v_encoder\.)?w2v_model)\.")
"""In front of every name where a head for recognition or classification was added."""
HEADS = re.compile(
    r"(?:mask_emb|masked_spec_embed|label_embs_concat|layer_weights)"
    r"|(?:quantizer|project_q|project_hid|final_proj|target_glu|lm_head|projector|classifier|aux)\..+"
    r"|(?:w2v_encoder\.)?proj\.(?:weight|bias)"
)
"""Parts that only training or recognition needs; the one list of names that are left out."""

_LAYER = "encoder.transformer.layers"
_ORIGINAL = (
    (r"feature_extractor\.conv_layers\.(\d+)\.0\.(.+)", r"feature_extractor.conv_layers.\1.conv.\2"),
    (r"feature_extractor\.conv_layers\.(\d+)\.2\.(?:1\.)?(\w+)", r"feature_extractor.conv_layers.\1.layer_norm.\2"),
    (r"layer_norm\.(.+)", r"encoder.feature_projection.layer_norm.\1"),
    (r"post_extract_proj\.(.+)", r"encoder.feature_projection.projection.\1"),
    (r"encoder\.pos_conv\.0\.(.+)", r"encoder.transformer.pos_conv_embed.conv.\1"),
    (r"encoder\.layer_norm\.(.+)", r"encoder.transformer.layer_norm.\1"),
    (r"encoder\.layers\.(\d+)\.self_attn\.relative_attention_bias\.(.+)", rf"{_LAYER}.\1.attention.rel_attn_embed.\2"),
    (r"encoder\.layers\.(\d+)\.self_attn\.grep_linear\.(.+)", rf"{_LAYER}.\1.attention.gru_rel_pos_linear.\2"),
    (r"encoder\.layers\.(\d+)\.self_attn\.grep_a", rf"{_LAYER}.\1.attention.gru_rel_pos_const"),
    (r"encoder\.layers\.(\d+)\.self_attn\.(.+)", rf"{_LAYER}.\1.attention.\2"),
    (r"encoder\.layers\.(\d+)\.self_attn_layer_norm\.(.+)", rf"{_LAYER}.\1.layer_norm.\2"),
    (r"encoder\.layers\.(\d+)\.fc1\.(.+)", rf"{_LAYER}.\1.feed_forward.intermediate_dense.\2"),
    (r"encoder\.layers\.(\d+)\.fc2\.(.+)", rf"{_LAYER}.\1.feed_forward.output_dense.\2"),
    (r"encoder\.layers\.(\d+)\.final_layer_norm\.(.+)", rf"{_LAYER}.\1.final_layer_norm.\2"),
)
_HUGGING_FACE = (
    (r"feature_projection\.(.+)", r"encoder.feature_projection.\1"),
    (r"encoder\.(.+)", r"encoder.transformer.\1"),
)
_RULES: dict[str, tuple[tuple[str, str], ...]] = {
    "original": _ORIGINAL,
    "Hugging Face": _HUGGING_FACE,
    "torchaudio": (),
}
_POSITIONS = "encoder.transformer.pos_conv_embed.conv"
_WEIGHT_NORM = {
    f"{_POSITIONS}.weight_g": f"{_POSITIONS}.parametrizations.weight.original0",
    f"{_POSITIONS}.weight_v": f"{_POSITIONS}.parametrizations.weight.original1",
}


def plain_names(found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of the speech model itself: without prefixes, and without heads (`HEADS`)."""
    whole = {PREFIX.sub("", key, count=1) if PREFIX.match(key) else key: value for key, value in found.items()}
    return {key: value for key, value in whole.items() if not HEADS.fullmatch(key)}


def find_dialect(names: Iterable[str]) -> str | None:
    """Whose names these plain names are: `original`, `Hugging Face` or `torchaudio`; None for no speech model."""
    for name in names:
        if name.startswith("encoder.transformer."):
            return "torchaudio"
        if name.startswith("encoder.pos_conv.0."):
            return "original"
        if name.startswith("encoder.pos_conv_embed."):
            return "Hugging Face"
    return None


def find_family(names: Iterable[str]) -> str | None:
    """`wavlm`, `hubert` or `wav2vec2` where a name with its head gives that away, else None."""
    families = {"wavlm": r"gru_rel_pos|grep_|^wavlm\.", "hubert": r"label_embs|^hubert\.", "wav2vec2": r"quantizer\."}
    told = {family for name in names for family, sign in families.items() if re.search(sign, name)}
    return told.pop() if len(told) == 1 else None


def to_torchaudio(plain: Mapping[str, Tensor], dialect: str, layout: Layout) -> dict[str, Tensor]:
    """Plain names of a dialect to torchaudio's. A name that no rule knows stays as it is, and fits nothing."""
    renamed = {}
    for name, value in plain.items():
        new = next((re.sub(rule, to, name) for rule, to in _RULES[dialect] if re.fullmatch(rule, name)), name)
        new = _WEIGHT_NORM.get(new, new)
        renamed[name if new in renamed else new] = value  # the second of two that mean the same fits nothing either
    joins = layout.family == "wavlm" and dialect != "torchaudio"
    return _stack_projections(renamed, layout.width) if joins else renamed


def _stack_projections(tensors: Mapping[str, Tensor], width: int) -> dict[str, Tensor]:
    """Query, key and value of each layer as one tensor, as `torch.nn.MultiheadAttention` has them.

    Those of other sizes are left alone: a hostile file can hold shapes that no memory could.
    """
    sizes = {"weight": (width, width), "bias": (width,)}
    stacked = dict(tensors)
    for name in tensors:
        match = re.fullmatch(rf"({_LAYER}\.\d+\.attention)\.(q|out)_proj\.(weight|bias)", name)
        if match and match[2] == "out":
            stacked[f"{match[1]}.attention.out_proj.{match[3]}"] = stacked.pop(name)
        elif match:
            parts = [f"{match[1]}.{part}_proj.{match[3]}" for part in "qkv"]
            if all(part in tensors and tensors[part].shape == sizes[match[3]] for part in parts):
                joined = torch.cat([stacked.pop(part) for part in parts])
                stacked[f"{match[1]}.attention.in_proj_{match[3]}"] = joined
    return stacked
