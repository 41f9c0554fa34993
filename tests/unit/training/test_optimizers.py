import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from gesturegen_cli.config.schema import Training
from gesturegen_cli.errors import ConfigError, EnvironmentFault
from gesturegen_cli.training.checkpoint import fill_optimizer, latest_checkpoint, optimizer_tensors
from gesturegen_cli.training.loop import Stage, fit
from gesturegen_cli.training.optimizers import build_optimizer
from gesturegen_cli.training.run_log import open_run

ADAN = Training(optimizer="adan", learning_rate=0.05, weight_decay=0.02)


def _gradients(steps: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    return [torch.randn(4, generator=generator, dtype=torch.float64) for _ in range(steps)]


def _walk(parameter: nn.Parameter, optimizer: torch.optim.Optimizer, gradients: list[torch.Tensor]) -> None:
    for gradient in gradients:
        parameter.grad = gradient.clone()
        optimizer.step()


def _published_adan(x: torch.Tensor, gradients: list[torch.Tensor], lr: float, decay: float) -> torch.Tensor:
    """Algorithm 1 of Xie et al. 2022 in its own convention (betas 0.02, 0.08, 0.01), with bias correction."""
    b1, b2, b3 = 0.02, 0.08, 0.01
    m = v = n = torch.zeros_like(x)
    before = gradients[0]
    for k, g in enumerate(gradients, 1):
        m = (1 - b1) * m + b1 * g
        v = (1 - b2) * v + b2 * (g - before)
        n = (1 - b3) * n + b3 * (g + (1 - b2) * (g - before)) ** 2
        m_hat, v_hat, n_hat = m / (1 - (1 - b1) ** k), v / (1 - (1 - b2) ** k), n / (1 - (1 - b3) ** k)
        x = (x - lr * (m_hat + (1 - b2) * v_hat) / (n_hat.sqrt() + 1e-8)) / (1 + lr * decay)
        before = g
    return x


def test_adan_takes_the_published_steps():
    start = torch.tensor([1.0, -2.0, 3.0, 0.5], dtype=torch.float64)
    parameter = nn.Parameter(start.clone())
    _walk(parameter, build_optimizer([parameter], ADAN), _gradients(7))
    torch.testing.assert_close(parameter.data, _published_adan(start, _gradients(7), 0.05, 0.02), atol=1e-9, rtol=0)


def test_adamw_is_the_default_and_has_its_settings():
    parameter = nn.Parameter(torch.ones(4, dtype=torch.float64))
    optimizer = build_optimizer([parameter], Training(learning_rate=0.05, weight_decay=0.5, betas=(0.8, 0.9)))
    assert type(optimizer) is torch.optim.AdamW
    other = nn.Parameter(torch.ones(4, dtype=torch.float64))
    _walk(parameter, optimizer, _gradients(5))
    _walk(other, torch.optim.AdamW([other], 0.05, (0.8, 0.9), weight_decay=0.5), _gradients(5))
    assert torch.equal(parameter, other)


def test_each_optimizer_has_decay_rates_of_its_own():
    parameter = nn.Parameter(torch.ones(2))
    config = Training(betas=(0.1, 0.2), adan_betas=(0.3, 0.4, 0.5))
    assert build_optimizer([parameter], config).param_groups[0]["betas"] == (0.1, 0.2)
    assert build_optimizer([parameter], replace(config, optimizer="adan")).param_groups[0]["betas"] == (0.3, 0.4, 0.5)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (Training(betas=(0.9, 1.0)), r"^betas = \[0.9, 1.0\]"),
        (Training(optimizer="adan", adan_betas=(0.98, -0.1, 0.99)), r"^adan_betas = \[0.98, -0.1, 0.99\]"),
    ],
)
def test_a_decay_rate_out_of_range_is_named(config, message):
    with pytest.raises(ConfigError, match=message):
        build_optimizer([nn.Parameter(torch.ones(2))], config)


def test_without_its_package_only_adan_is_missing_and_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pytorch_optimizer", None)
    parameter = nn.Parameter(torch.ones(2))
    assert type(build_optimizer([parameter], Training())) is torch.optim.AdamW
    with pytest.raises(EnvironmentFault, match=r"adan.* needs the package pytorch-optimizer") as caught:
        build_optimizer([parameter], ADAN)
    assert "pip install 'gesturegen[adan]'" in caught.value.hint


@pytest.mark.parametrize("name", ["adamw", "adan"])
def test_stored_state_goes_on_as_if_never_stored(name):
    start, config = torch.ones(4, dtype=torch.float64), replace(ADAN, optimizer=name)
    whole, split = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    _walk(whole, build_optimizer([whole], config), _gradients(6))
    first = build_optimizer([split], config)
    _walk(split, first, _gradients(6)[:3])
    second = build_optimizer([split], config)
    fill_optimizer(second, optimizer_tensors(first))
    _walk(split, second, _gradients(6)[3:])
    assert torch.equal(whole, split)


def _train(folder: Path, config: Training) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = nn.Sequential(nn.Conv1d(3, 8, 3, padding=1), nn.GELU(), nn.Dropout(0.2), nn.Conv1d(8, 1, 1))

    def batch(number: int, rank: int) -> dict[str, torch.Tensor]:
        return {"x": torch.randn(16, 3, 5, generator=torch.Generator().manual_seed(number))}

    def losses(model, batch, *_):
        return {"error": (model(batch["x"]) - batch["x"].sum(1, keepdim=True)).square().mean()}

    stage = Stage(
        module, batch, losses, {"error": 1.0}, lambda *_: {}, lambda *_: (folder / "bundle").mkdir(exist_ok=True)
    )
    with open_run(folder, {"stage": "toy", "config": {}, "inputs": {}}) as run:
        fit(stage, config, run, rng_seed=3, device="cpu")
    return module


@pytest.mark.parametrize("name", ["adamw", "adan"])
def test_ten_steps_and_ten_more_equal_twenty_bit_for_bit(tmp_path, name):
    config = replace(ADAN, optimizer=name, steps=20, warmup=3, workers=0, save_every=10, lr_schedule="constant")
    whole = _train(tmp_path / "whole", config)
    _train(tmp_path / "split", replace(config, steps=10))
    folder = tmp_path / "split" / "checkpoints"
    assert latest_checkpoint(folder).name == "00000010"
    rest = _train(tmp_path / "split", config)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), rest.parameters(), strict=True))
    assert {p.suffix for p in folder.rglob("*") if p.is_file()} == {".safetensors", ".json"}
