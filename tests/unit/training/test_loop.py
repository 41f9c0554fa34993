import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from gesturegen_cli.config.schema import Training
from gesturegen_cli.errors import EnvironmentFault, QualityFailure
from gesturegen_cli.training import loop
from gesturegen_cli.training.checkpoint import latest_checkpoint
from gesturegen_cli.training.loop import Stage, Summary, fit
from gesturegen_cli.training.run_log import open_run

CONFIG = Training(
    steps=20,
    batch=4,
    learning_rate=0.02,
    warmup=3,
    workers=0,
    log_every=1,
    save_every=10,
    sample_every=20,
    lr_schedule="constant",
    ema_decay=0.9,
)


def toy_stage(folder: Path, poison: tuple[int, ...] = (), during_step: dict | None = None) -> Stage:
    """Linear regression with dropout and a batch norm: uses every kind of state that a run has to keep."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Linear(8, 1))

    def batch(step: int, rank: int) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(step)
        x = torch.randn(32, 3, generator=generator)
        return {"x": x if step not in poison else x * float("nan"), "step": torch.tensor(step)}

    def losses(model, batch, generator, step):
        for action in (during_step or {}).get(int(batch["step"]), []):
            action()
        noise = torch.randn(32, 1, generator=generator) * 0.01
        error = model(batch["x"]) - batch["x"].sum(1, keepdim=True) - noise
        return {"error": error.square().mean(), "figure": torch.tensor(3.0), "done": torch.tensor(float(step))}

    def export(model: nn.Module, summary: Summary) -> None:
        folder.joinpath("bundle").mkdir(exist_ok=True)
        torch.save(model.state_dict(), folder / "bundle" / "weights.pt")

    return Stage(module, batch, losses, {"error": 1.0}, lambda model, step: {"check": 1.0}, export)


def train(folder: Path, config: Training, seed: int = 5, **stage) -> tuple[nn.Module, Summary]:
    toy = toy_stage(folder, **stage)
    with open_run(folder, {"stage": "toy", "config": {}, "inputs": {}}) as run:
        summary = fit(toy, config, run, rng_seed=seed, device="cpu")
    return toy.module, summary


def assert_equal_states(one: nn.Module, other: nn.Module) -> None:
    for (name, a), b in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


@pytest.mark.parametrize("parts", [1, 2])
def test_ten_steps_and_ten_more_equal_twenty_bit_for_bit(tmp_path, parts):
    config = replace(CONFIG, grad_accumulation=parts)
    whole, _ = train(tmp_path / "whole", config)
    train(tmp_path / "split", replace(config, steps=10))
    rest, summary = train(tmp_path / "split", config)
    assert summary.steps == 20
    assert_equal_states(whole, rest)
    averages = [torch.load(tmp_path / n / "bundle" / "weights.pt", weights_only=True) for n in ("whole", "split")]
    assert all(torch.equal(averages[0][k], averages[1][k]) for k in averages[0])


def test_another_seed_gives_other_weights(tmp_path):
    one, _ = train(tmp_path / "a", CONFIG)
    other, _ = train(tmp_path / "b", CONFIG, seed=6)
    assert not torch.equal(one[0].weight, other[0].weight)


def test_loss_falls_and_every_step_is_logged_once_also_after_continuing(tmp_path):
    train(tmp_path / "r", replace(CONFIG, steps=15))
    (tmp_path / "r" / "checkpoints" / "00000015").rename(tmp_path / "later")  # as after a crash in step 16
    train(tmp_path / "r", replace(CONFIG, steps=150))
    lines = [json.loads(line) for line in (tmp_path / "r" / "metrics.jsonl").read_text().splitlines()]
    logged = [line for line in lines if "loss" in line]
    assert [line["step"] for line in logged] == list(range(1, 151))
    assert logged[0]["figure"] == 3.0
    losses = [line["loss"] for line in logged]
    assert sum(losses[-20:]) < 0.5 * sum(losses[:20])


def test_loader_processes_give_the_same_training(tmp_path):
    one, _ = train(tmp_path / "a", replace(CONFIG, steps=4))
    other, _ = train(tmp_path / "b", replace(CONFIG, steps=4, workers=1))
    assert_equal_states(one, other)


@pytest.mark.filterwarnings("error:This DataLoader will create:UserWarning")
def test_no_more_loader_processes_are_started_than_there_are_cpus(tmp_path, monkeypatch):
    asked = []
    build = loop.DataLoader
    monkeypatch.setattr(loop.os, "cpu_count", lambda: 1)
    monkeypatch.setattr(
        loop, "DataLoader", lambda *a, **options: asked.append(options["num_workers"]) or build(*a, **options)
    )
    train(tmp_path / "a", replace(CONFIG, steps=2, workers=64))
    assert asked == [1]


def test_a_step_without_finite_gradient_is_skipped_and_counted(tmp_path):
    module, summary = train(tmp_path / "r", CONFIG, poison=(3, 7))
    assert summary.skipped == 2
    assert all(bool(torch.isfinite(value).all()) for value in module.state_dict().values())


def test_too_many_bad_steps_in_a_row_stop_the_run(tmp_path):
    with pytest.raises(QualityFailure, match="4th step in a row"):
        train(tmp_path / "r", replace(CONFIG, max_nonfinite=3), poison=tuple(range(5, 20)))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_the_step_first_and_then_takes_effect(tmp_path, number):
    class Stopped(Exception):
        pass

    def stop(*_):
        raise Stopped

    before = signal.signal(number, stop)
    try:
        with pytest.raises(Stopped):
            train(tmp_path / "r", CONFIG, during_step={6: [lambda: os.kill(os.getpid(), number)]})
    finally:
        signal.signal(number, before)
    assert latest_checkpoint(tmp_path / "r" / "checkpoints").name == "00000007"
    rest, _ = train(tmp_path / "r", CONFIG)
    whole, _ = train(tmp_path / "whole", CONFIG)
    assert_equal_states(whole, rest)


def test_only_the_newest_checkpoints_are_kept_and_no_pickle_is_among_them(tmp_path):
    train(tmp_path / "r", replace(CONFIG, save_every=2, keep_checkpoints=3))
    folder = tmp_path / "r" / "checkpoints"
    assert sorted(p.name for p in folder.iterdir()) == ["00000016", "00000018", "00000020"]
    assert {p.suffix for p in folder.rglob("*") if p.is_file()} == {".safetensors", ".json"}


def test_a_damaged_checkpoint_is_named(tmp_path):
    train(tmp_path / "r", replace(CONFIG, steps=10))
    (tmp_path / "r" / "checkpoints" / "00000010" / "model.safetensors").write_bytes(b"not tensors")
    with pytest.raises(EnvironmentFault, match="00000010 cannot be loaded"):
        train(tmp_path / "r", CONFIG)


def test_learning_rate_warms_up_and_falls_to_nearly_nothing(tmp_path):
    train(tmp_path / "r", replace(CONFIG, lr_schedule="cosine"))
    rates = [json.loads(line).get("lr") for line in (tmp_path / "r" / "metrics.jsonl").read_text().splitlines()]
    rates = [rate for rate in rates if rate is not None]
    assert rates[0] == pytest.approx(0.02 / 3, rel=1e-5)
    assert max(rates) == rates[2] == pytest.approx(0.02)
    assert 0 < rates[-1] < 0.001


def test_losses_are_told_the_steps_done(tmp_path):
    train(tmp_path / "run", replace(CONFIG, steps=3))
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["done"] for line in lines if "done" in line] == [0, 1, 2]


def test_the_step_schedule_divides_the_rate_by_ten_twice(tmp_path):
    train(tmp_path / "run", replace(CONFIG, lr_schedule="step"))
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    rates = [line["lr"] for line in lines if "lr" in line]
    assert rates == pytest.approx([0.02] * 14 + [0.002] * 4 + [0.0002] * 2)
