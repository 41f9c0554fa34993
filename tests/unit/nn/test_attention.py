"""Attention against its definition in float64, and the choice of backend."""

from __future__ import annotations

import math

import pytest
import torch

from gesturegen_cli.errors import ConfigError, EnvironmentFault
from gesturegen_cli.nn.attention import ENVIRONMENT, _tell, attention, choose_backend


def _heads(frames: int, seed: int) -> torch.Tensor:
    return torch.randn(2, frames, 3, 8, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("backend", ["auto", "sdpa"])
def test_equals_the_definition_computed_in_float64(monkeypatch, backend):
    monkeypatch.setenv(ENVIRONMENT, backend)
    q, k, v = _heads(5, 0), _heads(7, 1), _heads(7, 2)
    scores = torch.einsum("btke,bmke->bktm", q.double(), k.double()) / math.sqrt(8)
    expected = torch.einsum("bktm,bmke->btke", scores.softmax(dim=-1), v.double())
    torch.testing.assert_close(attention(q, k, v).double(), expected, atol=1e-6, rtol=1e-5)


def test_xformers_without_cuda_is_refused_not_replaced(monkeypatch):
    monkeypatch.setenv(ENVIRONMENT, "xformers")
    x = _heads(4, 0)
    with pytest.raises(EnvironmentFault, match="CUDA"):
        attention(x, x, x)


def test_unknown_backend_lists_the_known_ones():
    with pytest.raises(ConfigError, match="auto, xformers, sdpa"):
        choose_backend("flash", torch.device("cpu"), torch.float32)


def test_the_choice_is_logged_once_per_device(caplog, monkeypatch):
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    _tell.cache_clear()
    q = torch.zeros(1, 2, 1, 4)
    with caplog.at_level("INFO", logger="gesturegen_cli"):
        for _ in range(3):
            attention(q, q, q)
    assert [record.getMessage() for record in caplog.records] == [
        "attention on cpu: scaled_dot_product_attention of torch"
    ]
