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


@pytest.mark.parametrize(("precision", "tolerance"), [(torch.float32, 2e-3), (torch.bfloat16, 3e-2)])
@pytest.mark.parametrize("shape", [(2, 84, 86, 4, 48), (3, 80, 82, 8, 64)])
def test_xformers_equals_sdpa_forward_and_backward(monkeypatch, precision, tolerance, shape):
    """Shapes of the embedded bundle and of the paper's denoiser: queries are frames, keys audio and time tokens."""
    pytest.importorskip("xformers.ops", reason="needs the extra gpu")
    batch, queries, keys, heads, size = shape
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.randn(batch, length, heads, size, generator=generator) for length in (queries, keys, keys)]
    weights = torch.randn(batch, queries, heads, size, generator=generator).cuda()
    results = {}
    for backend in ("sdpa", "xformers"):
        monkeypatch.setenv(ENVIRONMENT, backend)
        inputs = [x.cuda().to(precision).requires_grad_() for x in drawn]
        out = attention(*inputs)
        (out.float() * weights).sum().backward()
        results[backend] = [out.detach(), *(x.grad for x in inputs)]
    for found, expected in zip(results["xformers"], results["sdpa"], strict=True):
        torch.testing.assert_close(found.float(), expected.float(), atol=tolerance, rtol=tolerance)


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


def test_rotation_renders_the_same_picture_on_cuda():
    torch.manual_seed(0)
    params = {"size": 64, "source_channels": [16, 32, 64, 64], "neutral_channels": [96, 128]}
    model = build("deviation_models", "rotation", params).eval()
    pictures = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        motion = model.encode(pictures)
        expected = model.animate(model.encode_source(pictures[:1]), motion)
        model = model.cuda()
        torch.testing.assert_close(model.encode(pictures.cuda()).cpu(), motion, atol=2e-3, rtol=0)
        found = model.animate(model.encode_source(pictures[:1].cuda()), motion.cuda()).cpu()
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=0)


@pytest.mark.slow
def test_the_papers_model_learns_a_pair_in_bfloat16():
    """The full-size model, forward and backward: finite, and the loss of one repeated pair falls."""
    from gesturegen_cli.config.schema import DeviationLoss
    from gesturegen_cli.training.losses import Objective, trainee

    torch.manual_seed(0)
    both = trainee(build("deviation_models", "rotation", {}), adversarial=True).cuda().train()
    objective = Objective(DeviationLoss(adversarial=1.0, adversarial_start=0.0))
    optimizer = torch.optim.AdamW(both.parameters(), 1e-4)
    draw = torch.Generator().manual_seed(1)
    batch = {name: torch.rand(2, 3, 256, 256, generator=draw).cuda() for name in ("source", "driving")}
    batch["driving_input"] = batch["driving"]
    errors = []
    for _ in range(6):
        with torch.autocast("cuda", torch.bfloat16):
            terms = objective(both, batch, draw, 1.0)
        sum(objective.weights[name] * value for name, value in terms.items()).backward()
        assert all(bool(p.grad.isfinite().all()) for p in both.parameters() if p.grad is not None)
        optimizer.step()
        optimizer.zero_grad()
        errors.append(float(terms["image"]))
    assert errors[-1] < errors[0]
