import os

import torch

from gesturegen_cli.benchmark import attention as attention_benchmark
from gesturegen_cli.nn.attention import ENVIRONMENT


def test_a_cpu_measures_torch_alone_and_leaves_the_choice_as_it_was(monkeypatch):
    monkeypatch.setattr(attention_benchmark, "SHAPES", {"small": (1, 5, 7, 2, 8)})
    monkeypatch.setattr(attention_benchmark, "TIMED_SECONDS", 0.01)
    monkeypatch.setenv(ENVIRONMENT, "auto")
    rows = list(attention_benchmark.measure_attention(torch.device("cpu")))
    assert [row.name for row in rows] == [
        f"sdpa, {precision}, small, {what}"
        for precision in ("float32", "bfloat16")
        for what in ("forward", "forward and backward")
    ]
    assert all(row.value > 0 for row in rows)
    assert os.environ[ENVIRONMENT] == "auto"
