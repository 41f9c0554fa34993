"""Time and memory of the attention backends for the shapes of this project's denoisers, forward and backward."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from gesturegen_cli.benchmark.whole import Row, repeat
from gesturegen_cli.errors import EnvironmentFault
from gesturegen_cli.nn.attention import ENVIRONMENT, attention, choose_backend

SHAPES = {
    "base bundle, drawing": (2, 84, 86, 4, 48),
    "base bundle, training": (64, 84, 86, 4, 48),
    "paper, drawing": (2, 84, 86, 8, 64),
    "paper, training": (64, 84, 86, 8, 64),
}
"""Where used -> batch, queries (seed frames and window), keys (audio, two time tokens), heads, size of a head."""
TIMED_SECONDS = 1.0


def measure_attention(device: torch.device) -> Iterator[Row]:
    """Yield the measurements one after the other: every backend that can run here, in float32 and bfloat16."""
    for precision in (torch.float32, torch.bfloat16):
        for backend in _backends(device, precision):
            for place, shape in SHAPES.items():
                name = f"{backend}, {str(precision).removeprefix('torch.')}, {place}"
                yield from _measure(name, backend, shape, precision, device)


def _backends(device: torch.device, precision: torch.dtype) -> list[str]:
    try:
        return ["sdpa", choose_backend("xformers", device, precision)]
    except EnvironmentFault:
        return ["sdpa"]


def _measure(
    name: str, backend: str, shape: tuple[int, int, int, int, int], precision: torch.dtype, device: torch.device
) -> Iterator[Row]:
    batch, queries, keys, heads, size = shape
    draw = torch.Generator().manual_seed(0)

    def drawn(length: int) -> Tensor:
        values = torch.randn(batch, length, heads, size, generator=draw)
        return values.to(device, precision).requires_grad_()

    q, k, v = drawn(queries), drawn(keys), drawn(keys)

    def forward() -> None:
        with torch.inference_mode():
            attention(q, k, v)
        _wait(device)

    def both() -> None:
        attention(q, k, v).sum().backward()  # type: ignore[no-untyped-call] # torch
        q.grad = k.grad = v.grad = None
        _wait(device)

    with _chosen(backend):
        yield Row(f"{name}, forward", _milliseconds(forward), "ms")
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            before = torch.cuda.memory_allocated(device)
        yield Row(f"{name}, forward and backward", _milliseconds(both), "ms")
        if device.type == "cuda":
            yield Row(f"{name}, memory of that", (torch.cuda.max_memory_allocated(device) - before) / 1e6, "MB")


def _milliseconds(action: Callable[[], None]) -> float:
    return 1000 * repeat(action, TIMED_SECONDS)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def _chosen(backend: str) -> Iterator[None]:
    """The backend as users choose it: by environment variable."""
    before = os.environ.get(ENVIRONMENT)
    os.environ[ENVIRONMENT] = backend
    try:
        yield
    finally:
        if before is None:
            del os.environ[ENVIRONMENT]
        else:
            os.environ[ENVIRONMENT] = before
