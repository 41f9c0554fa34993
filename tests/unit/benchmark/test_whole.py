"""The benchmark measures what it says; how fast this machine is does not matter here."""

from __future__ import annotations

import sys

import pytest

from gesturegen_cli.benchmark import deviation as deviation_benchmark
from gesturegen_cli.benchmark import whole as benchmark
from gesturegen_cli.benchmark.whole import Row
from gesturegen_cli.config.load import load_config
from gesturegen_cli.errors import EnvironmentFault


@pytest.mark.parametrize(
    ("value", "bar", "more", "met"),
    [(1.0, 2.0, False, True), (3.0, 2.0, False, False), (3.0, 2.0, True, True), (1.0, 2.0, True, False)],
)
def test_a_bar_is_met_from_its_right_side(value, bar, more, met):
    assert Row("x", value, "s", bar, more).met is met
    assert Row("x", value, "s").met is None


def test_peak_memory_is_that_of_the_child():
    ballast = bytearray(b"x") * 200_000_000
    small = benchmark._run([sys.executable, "-c", "pass"])
    assert small < len(ballast)
    large = benchmark._run([sys.executable, "-c", "b = bytearray(700_000_000); b[::4096] = b'x' * len(b[::4096])"])
    assert large > 690e6
    assert small < large


def test_a_child_that_fails_is_named_with_its_last_words():
    with pytest.raises(EnvironmentFault, match="ended with 3: oh no"):
        benchmark._run([sys.executable, "-c", "import sys; print('oh no', file=sys.stderr); sys.exit(3)"])


def test_every_row_is_measured_on_a_tiny_bundle(tiny_bundle, monkeypatch):
    monkeypatch.setattr(benchmark, "STARTS", 1)
    monkeypatch.setattr(benchmark, "TIMED_SECONDS", 0.1)
    rows = {row.name: row for row in benchmark.measure(str(tiny_bundle), "cpu", 1.0)}
    assert len(rows) == 7
    assert all(row.value > 0 for row in rows.values())
    assert rows["peak memory of that"].unit == "GB"
    # the bars of the default model say nothing about a model of another size
    assert rows["one frame"].bar is None
    assert rows["generate, 1 s of speech"].bar is None


def test_a_deviation_model_is_measured_without_a_bundle(monkeypatch):
    monkeypatch.setattr(deviation_benchmark, "TIMED_SECONDS", 0.01)
    config = load_config("rotation-tiny", None, ("deviation.params.decoder_blocks=1",), {"sampling.render_batch": 3})
    rows = {row.name: row for row in deviation_benchmark.measure_deviation(config)}
    assert all(row.value > 0 for row in rows.values())
    assert rows["rotation, parameters"].value == pytest.approx(3.05, abs=0.3)
    rate, done = rows["rendering, batch 3, bf16"], rows["the same, batch 3, bf16"]
    assert done.value == pytest.approx(rate.value * rows["one frame"].value)
