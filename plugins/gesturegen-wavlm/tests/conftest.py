"""Speech models of a few kilobytes, and their weights written in every published spelling.

The spellings are built from torchaudio's names by tables of their own, not by inverting the plugin's.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from gesturegen_wavlm import layouts
from gesturegen_wavlm.encoders import HubertBase, Wav2Vec2Base, WavLMBase, WavLMLarge
from gesturegen_wavlm.s2g import S2G1059

SMALL = {
    "width": 16,
    "layers": 3,
    "heads": 2,
    "feedforward": 24,
    "channels": 8,
    "position_kernel": 8,
    "position_groups": 2,
    "buckets": 20,
    "max_distance": 40,
}


class SmallWavLM(WavLMBase):
    layout = replace(layouts.WAVLM_BASE, **SMALL)


class SmallWavLMLarge(WavLMLarge):
    layout = replace(layouts.WAVLM_LARGE, **SMALL)


class SmallHubert(HubertBase):
    layout = replace(layouts.HUBERT_BASE, **SMALL)


class SmallWav2Vec2(Wav2Vec2Base):
    layout = replace(layouts.WAV2VEC2_BASE, **SMALL)


class SmallS2G(S2G1059):
    layout = replace(layouts.WAVLM_LARGE, **SMALL)


ENCODERS = {cls.layout.name: cls for cls in (SmallWavLM, SmallWavLMLarge, SmallHubert, SmallWav2Vec2)}
DIALECTS = ("original", "original, new weight norm", "hugging face", "hugging face, new weight norm", "headed")
DIALECTS += ("torchaudio", "torchaudio, old weight norm")


def random_model(layout: layouts.Layout, seed: int = 0) -> torch.nn.Module:
    """A network of random weights that keep signals at about their size. For tests and measurements only."""
    draw, model = torch.Generator().manual_seed(seed), layouts.build_skeleton(layout)

    def tensor(name: str, like: torch.Tensor) -> torch.Tensor:
        value = torch.randn(like.shape, generator=draw)
        if "norm.weight" in name or name.endswith(("original0", "gru_rel_pos_const")):
            return 1 + 0.1 * value
        return value / like[0].numel() ** 0.5 if like.ndim > 1 else 0.1 * value

    model.load_state_dict({name: tensor(name, like) for name, like in model.state_dict().items()}, assign=True)
    return model


def _original(tensors: dict, family: str) -> dict:
    """Names of fairseq and microsoft/unilm, with the parts that only pretraining needs."""
    words = [
        ("encoder.feature_projection.projection.", "post_extract_proj."),
        ("encoder.feature_projection.layer_norm.", "layer_norm."),
        ("encoder.transformer.pos_conv_embed.conv.", "encoder.pos_conv.0."),
        (".feed_forward.intermediate_dense.", ".fc1."),
        (".feed_forward.output_dense.", ".fc2."),
        (".attention.rel_attn_embed.", ".self_attn.relative_attention_bias."),
        (".attention.gru_rel_pos_linear.", ".self_attn.grep_linear."),
        (".attention.gru_rel_pos_const", ".self_attn.grep_a"),
        (".attention.", ".self_attn."),
        ("encoder.transformer.", "encoder."),
        (".conv.", ".0."),
    ]
    out = {"mask_emb": torch.ones(4)}
    out |= {"hubert": {"label_embs_concat": torch.ones(2, 2), "final_proj.weight": torch.ones(2, 2)}}.get(family, {})
    out |= {"wav2vec2": {"quantizer.vars": torch.ones(1, 2), "project_q.bias": torch.ones(2)}}.get(family, {})
    many = sum(name.startswith("feature_extractor") and "layer_norm" in name for name in tensors) > 2
    for name, value in tensors.items():
        if name.startswith("feature_extractor"):
            name = name.replace(".layer_norm.", ".2.1." if many else ".2.")
        elif ".layers." in name and ".final_layer_norm." not in name:
            name = name.replace(".layer_norm.", ".self_attn_layer_norm.")
        for theirs, ours in words:
            name = name.replace(theirs, ours)
        out[name] = value
    return out


def _hugging_face(tensors: dict, family: str) -> dict:
    def spelled(name: str) -> str:
        if name.startswith("encoder.feature_projection."):
            return name.removeprefix("encoder.")
        return name.replace("encoder.transformer.", "encoder.")

    return {"masked_spec_embed": torch.ones(4)} | {spelled(name): value for name, value in tensors.items()}


def _split_projections(tensors: dict) -> dict:
    """Torchaudio's WavLM attention, q, k and v stacked, as three linear layers."""
    out = {}
    for name, value in tensors.items():
        if ".attention.in_proj_" in name:
            for part, rows in zip("qkv", value.chunk(3), strict=True):
                out[name.replace("attention.attention.in_proj_", f"attention.{part}_proj.")] = rows.clone()
        else:
            out[name.replace("attention.attention.out_proj", "attention.out_proj")] = value
    return out


def spell(model: torch.nn.Module, layout: layouts.Layout, dialect: str) -> dict:
    """The weights of torchaudio's `model` under the names of a dialect."""
    tensors = dict(model.state_dict())
    if not dialect.startswith("torchaudio"):
        tensors = _split_projections(tensors) if layout.family == "wavlm" else tensors
        tensors = (_original if dialect.startswith("original") else _hugging_face)(tensors, layout.family)
    if dialect == "headed":
        tensors = {f"{layout.family}.{name}": value for name, value in tensors.items()}
        tensors |= {"lm_head.weight": torch.ones(2, 2), "lm_head.bias": torch.ones(2)}
    old = dialect in ("original", "hugging face", "headed", "torchaudio, old weight norm")
    for name in [name for name in tensors if "parametrizations.weight.original" in name and old]:
        shorter = name.replace("parametrizations.weight.original0", "weight_g")
        tensors[shorter.replace("parametrizations.weight.original1", "weight_v")] = tensors.pop(name)
    return tensors


def write_weights(folder: Path, model, layout, dialect: str = "original", normalize: bool | None = None) -> Path:
    """Weights as their origin publishes them: a file, or a folder for Hugging Face. Returns its path."""
    tensors = spell(model, layout, dialect)
    if dialect.startswith("original"):
        cfg = {"encoder_layers": layout.layers} | ({} if normalize is None else {"normalize": normalize})
        torch.save({"cfg": cfg, "model": tensors}, folder / "model.pt")
        return folder / "model.pt"
    if dialect.startswith("torchaudio"):
        torch.save(tensors, folder / "model.pth")
        return folder / "model.pth"
    if dialect == "headed":
        torch.save(tensors, folder / "pytorch_model.bin")
    else:
        save_file({name: value.contiguous() for name, value in tensors.items()}, folder / "model.safetensors")
    config = {"model_type": layout.family, "hidden_size": layout.width, "num_attention_heads": layout.heads}
    (folder / "config.json").write_text(json.dumps(config))
    if normalize is not None:
        recipe = {"do_normalize": normalize, "sampling_rate": 16000}
        (folder / "preprocessor_config.json").write_text(json.dumps(recipe))
    return folder


def noise(*shape: int, seed: int = 1) -> torch.Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def tools():
    """What test files share; plain imports between them do not work in importlib mode."""
    import types

    return types.SimpleNamespace(
        random_model=random_model, spell=spell, write_weights=write_weights, noise=noise, encoders=ENCODERS
    )


@pytest.fixture
def s2g():
    return SmallS2G
