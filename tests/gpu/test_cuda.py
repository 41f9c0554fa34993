"""Parity of the CUDA paths with the CPU; skipped where there is no CUDA device."""

import pytest
import torch

from gesturegen_cli.nn.attention import ENVIRONMENT, attention
from gesturegen_cli.registry import build

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.mark.parametrize("backend", ["sdpa", "xformers"])
def test_attention_backends_agree_with_float64(backend, monkeypatch):
    if backend == "xformers":
        pytest.importorskip("xformers.ops", reason="needs the extra gpu")
    monkeypatch.setenv(ENVIRONMENT, backend)
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 84, 4, 48, generator=generator) for _ in range(3))
    found = attention(q.cuda(), k.cuda(), v.cuda()).cpu()
    scores = torch.einsum("btke,bske->bkts", q.double(), k.double()) / 48**0.5
    expected = torch.einsum("bkts,bske->btke", scores.softmax(-1), v.double())
    torch.testing.assert_close(found.double(), expected, atol=1e-3, rtol=0)


def test_flow_renders_the_same_picture_on_cuda():
    torch.manual_seed(0)
    model = build("deviation_models", "flow", {"size": 64}).eval()
    picture = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    motion = model.encode(picture).detach()
    with torch.inference_mode():
        expected = model.animate(model.encode_source(picture), motion)
        model = model.cuda()
        found = model.animate(model.encode_source(picture.cuda()), motion.cuda()).cpu()
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=0)
