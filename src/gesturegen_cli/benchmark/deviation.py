"""What a deviation model of the configuration costs on this machine: operations, frames and training pairs per second.

Its weights are as drawn, not trained: neither operations nor time depend on them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from gesturegen_cli import registry
from gesturegen_cli.benchmark.whole import Row, repeat
from gesturegen_cli.config.schema import Config
from gesturegen_cli.training.loop import choose_device
from gesturegen_cli.training.losses import Objective

GPU_BATCHES = (1, 8, 32)
TRAINING_BATCH = 8
TIMED_SECONDS = 4.0


def measure_deviation(config: Config) -> Iterator[Row]:
    """Yield the measurements of `config.deviation` one after the other; training pairs on a GPU only."""
    with torch.random.fork_rng():
        torch.manual_seed(config.rng_seed)
        model: Any = registry.build("deviation_models", config.deviation.name, config.deviation.params).eval()
    name = config.deviation.name
    yield Row(f"{name}, parameters", sum(p.numel() for p in model.parameters()) / 1e6, "million")
    frames = torch.rand(1, 3, model.size, model.size, generator=torch.Generator().manual_seed(0))
    extract, motion = _counted(lambda: model.encode(frames))
    encode, source = _counted(lambda: model.encode_source(frames))
    render, _ = _counted(lambda: model.animate(source, motion))
    yield Row("motion feature of a frame", extract, "GFLOP")
    yield Row("source, once per picture", encode, "GFLOP")
    yield Row("one frame", render, "GFLOP")
    device = choose_device(config.device)
    fast = (model.fused() if hasattr(model, "fused") else model).to(device)
    batches = GPU_BATCHES if device.type == "cuda" else (config.sampling.render_batch,)
    yield from _rendering(fast, frames.to(device), render, batches)
    if device.type == "cuda":
        yield from _training(model.to(device).train(), config)


def _rendering(model: Any, frames: torch.Tensor, gflop: float, batches: tuple[int, ...]) -> Iterator[Row]:
    device = frames.device
    for precision, wanted in (("fp32", False), ("bf16", True)):
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=wanted):
            source, motion = model.encode_source(frames), model.encode(frames)
            for batch in batches:
                several = motion.expand(batch, -1).contiguous()
                seconds = repeat(partial(model.animate, source, several), TIMED_SECONDS)
                yield Row(f"rendering, batch {batch}, {precision}", batch / seconds, "frames/s", more_is_better=True)
                yield Row(f"the same, batch {batch}, {precision}", gflop * batch / seconds, "GFLOP/s")


def _training(model: torch.nn.Module, config: Config) -> Iterator[Row]:
    """Forward, backward and optimiser step of stage 1, without a discriminator or VGG-19, and without reading data."""
    device = next(model.parameters()).device
    size = model.size
    draw = torch.Generator().manual_seed(0)
    keys = ("source", "driving", "driving_input", "source_input")
    batch = {key: torch.rand(TRAINING_BATCH, 3, size, size, generator=draw).to(device) for key in keys}  # type: ignore[call-overload] # size is a number by contract
    optimizer = torch.optim.AdamW(model.parameters(), 1e-5)
    objective = Objective(config.deviation_loss)

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=config.pretrain.precision == "bf16"):
            terms = objective(model, batch, draw, 0)
        weights = objective.weights
        torch.stack([weights[name] * value for name, value in terms.items() if weights.get(name)]).sum().backward()  # type: ignore[no-untyped-call] # torch
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    torch.cuda.reset_peak_memory_stats(device)
    seconds = repeat(step, TIMED_SECONDS)
    label = f"training, batch {TRAINING_BATCH}, {'bf16' if config.pretrain.precision == 'bf16' else 'fp32'}"
    yield Row(label, TRAINING_BATCH / seconds, "pairs/s", more_is_better=True)
    yield Row("peak memory of that", torch.cuda.max_memory_allocated(device) / 1e9, "GB")


def _counted(action: Callable[[], Any]) -> tuple[float, Any]:
    """GFLOP of a call (1 MAC = 2 FLOP), and its result."""
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        result = action()
    return counter.get_total_flops() / 1e9, result
