"""The denoiser against its definition in float64, written one token and one head at a time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from gesturegen_cli.errors import ConfigError
from gesturegen_cli.types import Conditioning
from gesturegen_tps.lmdm import Lmdm, frame_before

from .layouts import LMDM, described
from .small import TINY_LMDM, tiny_lmdm


def _inputs(frames: int = 20) -> tuple[torch.Tensor, torch.Tensor, Conditioning]:
    draw = torch.Generator().manual_seed(1)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=draw)

    valid = torch.tensor([[0.0, 1.0], [0.0, 0.0], [1.0, 1.0]])
    cond = Conditioning(normal(3, frames, 5), normal(3, 2, 6), valid, normal(3, 6), torch.tensor([1.0, 1.0, 0.0]))
    return normal(3, frames, 6), torch.tensor([0, 500, 999]), cond


class Oracle:
    """The network of one item, by its state dict; arrays are `t width`."""

    def __init__(self, model: Lmdm) -> None:
        self.w = {name: tensor.double().numpy() for name, tensor in model.state_dict().items()}
        self.heads = model.config.heads

    def linear(self, name: str, x: np.ndarray) -> np.ndarray:
        return x @ self.w[f"{name}.weight"].T + self.w[f"{name}.bias"]

    def norm(self, name: str, x: np.ndarray) -> np.ndarray:
        mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        return (x - mean) / np.sqrt(variance + 1e-5) * self.w[f"{name}.weight"] + self.w[f"{name}.bias"]

    def rotate(self, x: np.ndarray) -> np.ndarray:
        out, width = x.copy(), x.shape[1]
        for position in range(len(x)):
            for pair in range(width // 2):
                angle = position * 10000 ** (-2 * pair / width)
                even, odd = x[position, 2 * pair], x[position, 2 * pair + 1]
                out[position, 2 * pair] = even * np.cos(angle) - odd * np.sin(angle)
                out[position, 2 * pair + 1] = even * np.sin(angle) + odd * np.cos(angle)
        return out

    def attend(self, name: str, query: np.ndarray, key: np.ndarray, value: np.ndarray) -> np.ndarray:
        width = query.shape[1]
        weight, bias = self.w[f"{name}.in_proj_weight"], self.w[f"{name}.in_proj_bias"]
        q, k, v = (
            x @ weight[i * width : (i + 1) * width].T + bias[i * width : (i + 1) * width]
            for i, x in enumerate((query, key, value))
        )
        size = width // self.heads
        parts = []
        for head in range(self.heads):
            at = slice(head * size, (head + 1) * size)
            scores = np.exp(q[:, at] @ k[:, at].T / np.sqrt(size))
            parts.append(scores / scores.sum(1, keepdims=True) @ v[:, at])
        return self.linear(f"{name}.out_proj", np.concatenate(parts, 1))

    def feed_forward(self, name: str, x: np.ndarray) -> np.ndarray:
        hidden = self.linear(f"{name}.linear1", x)
        error_function = torch.erf(torch.from_numpy(hidden / np.sqrt(2))).numpy()
        return self.linear(f"{name}.linear2", hidden * (1 + error_function) / 2)

    def film(self, name: str, y: np.ndarray, condition: np.ndarray) -> np.ndarray:
        scale, shift = np.split(self.linear(f"{name}.block.1", mish(condition)), 2)
        return (1 + scale) * y + shift

    def __call__(self, motion: np.ndarray, step: int, audio: np.ndarray, before: np.ndarray, keep: bool) -> np.ndarray:
        frames, width = len(motion), self.w["null_cond_hidden"].shape[1]
        tokens = self.linear("cond_projection", audio)
        for layer in ("cond_encoder.0", "cond_encoder.1"):
            y = self.norm(f"{layer}.norm1", tokens)
            tokens = tokens + self.attend(f"{layer}.self_attn", self.rotate(y), self.rotate(y), y)
            tokens = tokens + self.feed_forward(layer, self.norm(f"{layer}.norm2", tokens))
        hidden = self.linear("non_attn_cond_projection.1", self.norm("non_attn_cond_projection.0", tokens.mean(0)))
        pooled = self.linear("non_attn_cond_projection.3", hidden / (1 + np.exp(-hidden)))
        if not keep:
            tokens, pooled = self.w["null_cond_embed"][0, :frames], self.w["null_cond_hidden"][0]
        half = width // 2
        angles = step * np.exp(-np.log(10000) * np.arange(half) / (half - 1))
        time = mish(self.linear("time_mlp.1", np.concatenate([np.sin(angles), np.cos(angles)])))
        condition = self.linear("to_time_cond.0", time) + pooled
        memory = np.concatenate([tokens, self.linear("to_time_tokens.0", time).reshape(2, width)])
        memory = self.norm("norm_cond", memory)
        x = self.linear("input_projection", np.concatenate([motion, np.tile(before, (frames, 1))], 1))
        for layer in ("seqTransDecoder.stack.0", "seqTransDecoder.stack.1"):
            y = self.norm(f"{layer}.norm1", x)
            y = self.attend(f"{layer}.self_attn", self.rotate(y), self.rotate(y), y)
            x = x + self.film(f"{layer}.film1", y, condition)
            y = self.rotate(self.norm(f"{layer}.norm2", x))
            y = self.attend(f"{layer}.multihead_attn", y, self.rotate(memory), memory)
            x = x + self.film(f"{layer}.film2", y, condition)
            y = self.feed_forward(layer, self.norm(f"{layer}.norm3", x))
            x = x + self.film(f"{layer}.film3", y, condition)
        return self.linear("final_layer", x)


def mish(x: np.ndarray) -> np.ndarray:
    return x * np.tanh(np.log1p(np.exp(x)))


@pytest.mark.parametrize("frames", [20, 9])
def test_agrees_with_the_definition(frames):
    model = tiny_lmdm()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(parameter.numel()))
    motion, steps, cond = _inputs(frames)
    with torch.inference_mode():
        clean = model(motion, steps, cond).numpy()
    oracle = Oracle(model)
    befores = [cond.seed[0, 1], cond.source[1], cond.seed[2, 1]]
    for item, before in enumerate(befores):
        given = (motion[item], int(steps[item]), cond.audio[item], before, bool(cond.audio_keep[item]))
        expected = oracle(*(x.double().numpy() if isinstance(x, torch.Tensor) else x for x in given))
        np.testing.assert_allclose(clean[item], expected, atol=2e-5)


@pytest.mark.parametrize(("motion_dim", "parameters"), [(200, 47_665_864), (2307, 50_904_323)])
def test_names_shapes_and_parameters_are_the_published_ones(motion_dim, parameters):
    with torch.device("meta"):
        model = Lmdm(Lmdm.Config(motion_dim=motion_dim))
    assert sum(p.numel() for p in model.parameters()) == parameters
    if motion_dim == 200:
        assert described(model.state_dict()) == LMDM
    assert len(model.state_dict()) == LMDM[0]


def test_only_the_last_seed_frame_counts():
    model = tiny_lmdm()
    motion, steps, cond = _inputs()
    older = replace(cond, seed=torch.cat([cond.seed[:, :1] + 1, cond.seed[:, 1:]], 1))
    assert torch.equal(model(motion, steps, cond), model(motion, steps, older))
    assert torch.equal(frame_before(cond)[1], cond.source[1])
    assert torch.equal(frame_before(cond)[0], cond.seed[0, 1])


def test_training_drops_no_audio_by_itself():
    model = tiny_lmdm(dropout=0.0)
    motion, steps, cond = _inputs()
    assert torch.equal(model.train()(motion, steps, cond), model.eval()(motion, steps, cond))


def test_rotary_constants_are_those_of_the_definition():
    with torch.device("cpu"):
        freqs = tiny_lmdm().rotary.freqs
    torch.testing.assert_close(freqs, torch.tensor([10000 ** (-2 * i / 16) for i in range(8)]))


def test_what_cannot_be_is_refused():
    with pytest.raises(ConfigError, match="heads"):
        Lmdm(replace(TINY_LMDM, width=18, heads=4))
    motion, steps, cond = _inputs(20)
    with pytest.raises(ConfigError, match="20 frames"):
        tiny_lmdm(frames=10)(motion, steps, cond)
