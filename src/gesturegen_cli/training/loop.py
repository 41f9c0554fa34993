"""The training loop of both stages.

The batch of a step is a pure function of (data, seed, step, rank), and so is every other random number: a continued
run needs the weights, the optimiser, the average and the step, nothing else.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.utils import gather_object, send_to_device
from diffusers.optimization import get_scheduler
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from gesturegen_cli.config.schema import Training
from gesturegen_cli.errors import EnvironmentFault, QualityFailure
from gesturegen_cli.training.average import WeightAverage
from gesturegen_cli.training.checkpoint import Progress, latest_checkpoint, load_checkpoint, save_checkpoint
from gesturegen_cli.training.optimizers import build_optimizer
from gesturegen_cli.training.run_log import Run, truncate_metrics
from gesturegen_cli.training.signals import outlive_signals, stop_signals

Batch = Mapping[str, Tensor]
Losses = Callable[[nn.Module, Batch, torch.Generator, int], Mapping[str, Tensor]]


@dataclass(frozen=True)
class Stage:
    """What is to be trained, on what, and what becomes of it."""

    module: nn.Module
    batch: Callable[[int, int], Batch]
    """Batch number and rank to tensors on the CPU; called in loader processes."""
    losses: Losses
    """Module, batch, a generator (on the CPU) and the number of steps done to scalars by name."""
    weights: Mapping[str, float]
    """The loss is the sum of weight * term; terms without a weight are figures for the log."""
    check: Callable[[nn.Module, int], Mapping[str, float]]
    """Averaged module and step to validation figures; may draw pictures into the run's `samples`."""
    export: Callable[[nn.Module, Summary], None]
    """Averaged module to a bundle in the run folder."""
    frozen: tuple[nn.Module, ...] = ()
    """Parts of the module that do not learn."""


@dataclass(frozen=True)
class Summary:
    """What a run has done so far."""

    steps: int
    seconds: float
    skipped: int
    batch: int
    """Samples per step, over all processes and accumulated batches."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """The last logged figures."""


class _Objective(nn.Module):
    """Loss terms as a module's forward, because DDP synchronises gradients of what goes through forward only."""

    def __init__(self, module: nn.Module, losses: Losses, precision: str) -> None:
        super().__init__()
        self.module = module
        self.losses = losses
        self.precision = precision

    def forward(self, batch: Batch, generator: torch.Generator, step: int) -> Mapping[str, Tensor]:
        device = next(self.module.parameters()).device.type
        # Not Accelerator's own mixed precision: that is fixed once per process, and tests and notebooks train twice.
        with torch.autocast(device, torch.bfloat16, enabled=self.precision == "bf16"):
            return self.losses(self.module, batch, generator, step)


@dataclass(frozen=True)
class _Session:
    """The moving parts of one call of `fit`."""

    stage: Stage
    config: Training
    run: Run
    accelerator: Accelerator
    module: nn.Module
    """The bare model, on the device."""
    objective: nn.Module
    """The model with its losses, wrapped for several processes."""
    optimizer: Any
    average: WeightAverage
    learning_rate: Callable[[int], float]
    rng_seed: int


def fit(
    stage: Stage,
    config: Training,
    run: Run,
    *,
    rng_seed: int,
    device: str = "auto",
    on_step: Callable[[int, int], None] | None = None,
) -> Summary:
    """Train until `config.steps`, continuing the run's newest checkpoint, and export a bundle.

    On SIGTERM or Ctrl-C the step is finished and saved before the signal takes effect. QualityFailure after
    `config.max_nonfinite` non-finite steps in a row.
    """
    session, progress = _open_session(stage, config, run, rng_seed, device)
    batches = _load_batches(session, progress.step)
    metrics: dict[str, float] = {}
    history: list[Mapping[str, Tensor]] = []
    before, started = progress.seconds, time.monotonic()
    with stop_signals() as stopped:
        while progress.step < config.steps and not stopped:
            progress, terms = _train_step(session, batches, progress)
            progress = replace(progress, seconds=before + time.monotonic() - started)
            history.append(terms)
            last = progress.step == config.steps
            if last or progress.step % config.log_every == 0:
                metrics = _mean_terms(history, session.accelerator)
                metrics |= {"lr": session.learning_rate(progress.step - 1), "seconds": progress.seconds}
                run.log(progress.step, metrics)
                history = []
            if run.main and (last or progress.step % config.sample_every == 0):
                checked = stage.check(session.average.module(session.module), progress.step)
                run.log(progress.step, checked)
                metrics |= checked
            if last or stopped or progress.step % config.save_every == 0:
                _save(session, progress, metrics)
            if on_step is not None:
                on_step(progress.step, config.steps)
    if stopped:
        signal.raise_signal(stopped[0])
    if run.main and not run.bundle.exists():
        _save(session, progress, metrics)
    return _summary(session, progress, metrics)


def limit_threads(config: Training) -> None:
    """Have this process compute with as many threads as the settings say: before the data is made ready, not after."""
    if config.threads:
        torch.set_num_threads(config.threads)


def _open_session(stage: Stage, config: Training, run: Run, rng_seed: int, device: str) -> tuple[_Session, Progress]:
    """Put everything on its device and fill it from the newest checkpoint, if there is one."""
    accelerator = _accelerator(device)
    module = stage.module.to(accelerator.device).train()
    if accelerator.num_processes > 1 and accelerator.device.type == "cuda":
        # A small batch per device has noisy statistics.
        module = nn.SyncBatchNorm.convert_sync_batchnorm(module)  # type: ignore[no-untyped-call] # torch
    for part in stage.frozen:
        part.eval().requires_grad_(False)
    average = WeightAverage(module, config.ema_decay)
    optimizer = build_optimizer(module.parameters(), config)
    progress = _restore(run, module, average, optimizer)
    objective = _Objective(module, stage.losses, config.precision)
    objective, prepared = accelerator.prepare(objective, optimizer)
    session = _Session(
        stage, config, run, accelerator, module, objective, prepared, average, _lr_schedule(config), rng_seed
    )
    return session, progress


def _train_step(session: _Session, batches: Iterator[Batch], progress: Progress) -> tuple[Progress, dict[str, Tensor]]:
    """One optimiser step, or none where the gradient is not finite. Returns the progress and the loss terms."""
    for group in session.optimizer.param_groups:
        group["lr"] = session.learning_rate(progress.step)
    terms = _accumulate(session, batches, progress.step)
    limit = session.config.clip_norm or float("inf")
    norm = session.accelerator.clip_grad_norm_(session.objective.parameters(), limit)
    finite = bool(torch.isfinite(norm))
    if finite:
        session.optimizer.step()
        session.average.update(session.module)
    else:
        session.average.restore_statistics(session.module)
    session.optimizer.zero_grad(set_to_none=True)
    terms |= {"grad_norm": norm.detach(), "skipped": torch.tensor(float(not finite), device=norm.device)}
    return _advance(progress, finite, session.average.updates, session.config.max_nonfinite), terms


def _save(session: _Session, progress: Progress, metrics: Mapping[str, float]) -> None:
    if not session.run.main:
        return
    parts = session.module, session.average.tensors, session.optimizer
    save_checkpoint(session.run.checkpoints, progress, *parts, session.config.keep_checkpoints)
    session.stage.export(session.average.module(session.module), _summary(session, progress, metrics))


def choose_device(device: str) -> torch.device:
    """`auto`, `cpu` or `cuda` to a device of this process; EnvironmentFault when `cuda` is asked for and not there."""
    if device == "cuda" and not torch.cuda.is_available():
        raise EnvironmentFault("no CUDA device here, --device cuda was asked for", "use --device auto or cpu")
    if device == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def _accelerator(device: str) -> Accelerator:
    # A batch may leave parameters out, for example where it has no labels.
    keywords = [DistributedDataParallelKwargs(find_unused_parameters=True)]
    return Accelerator(cpu=choose_device(device).type == "cpu", kwargs_handlers=keywords)


def _restore(run: Run, module: nn.Module, average: WeightAverage, optimizer: torch.optim.Optimizer) -> Progress:
    """Load the newest checkpoint if there is one; else the start."""
    path = latest_checkpoint(run.checkpoints)
    progress = Progress(0, 0.0, 0, 0, 0)
    if path is not None:
        progress = load_checkpoint(path, module, average.tensors, optimizer)
        average.updates = progress.ema_updates
    truncate_metrics(run, progress.step)
    return progress


def _lr_schedule(config: Training) -> Callable[[int], float]:
    """Learning rate of a step: a function of the step alone, so there is no scheduler state to keep."""
    name = {"constant": "constant_with_warmup", "step": "piecewise_constant"}.get(
        config.lr_schedule, config.lr_schedule
    )
    any_optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], config.learning_rate)
    total = max(config.steps, config.warmup) + 1
    # A tenth of the rate from 70 % of the steps on, a hundredth from 90 % (docs/method.md).
    rules = f"1:{round(0.7 * total)},0.1:{round(0.9 * total)},0.01"
    options = {"step_rules": rules} if config.lr_schedule == "step" else {"num_warmup_steps": config.warmup}
    factor = get_scheduler(name, any_optimizer, num_training_steps=total, **options).lr_lambdas[0]
    # diffusers counts from 0, where its warm-up is 0; the first step should learn already.
    return lambda step: float(config.learning_rate * factor(step + 1))


class _Batches(Dataset[Batch]):
    """Item k is batch k of this process."""

    def __init__(self, batch: Callable[[int, int], Batch], rank: int) -> None:
        self.batch = batch
        self.rank = rank

    def __getitem__(self, number: int) -> Batch:
        return self.batch(number, self.rank)


def _load_batches(session: _Session, step: int) -> Iterator[Batch]:
    """Batches of all steps from `step` on, made ahead by the loader processes."""
    config, accelerator = session.config, session.accelerator
    workers = min(config.workers, os.cpu_count() or 1)  # presets name as many as a large machine has
    numbers: Sequence[int] = range(step * config.grad_accumulation, config.steps * config.grad_accumulation)
    loader: DataLoader[Batch] = DataLoader(
        _Batches(session.stage.batch, accelerator.process_index),
        batch_size=None,
        sampler=numbers,
        num_workers=workers,
        prefetch_factor=3 if workers else None,
        worker_init_fn=outlive_signals,
        pin_memory=accelerator.device.type == "cuda",
    )
    return iter(loader)


def _accumulate(session: _Session, batches: Iterator[Batch], step: int) -> dict[str, Tensor]:
    """Backward passes of one step. Returns the terms of its last batch, and their weighted sum as `loss`."""
    accelerator, parts = session.accelerator, session.config.grad_accumulation
    terms: dict[str, Tensor] = {}
    for part in range(parts):
        generator = _seed_batch(session.rng_seed, step, accelerator.process_index, part)
        batch = send_to_device(next(batches), accelerator.device, non_blocking=True)
        with nullcontext() if part == parts - 1 else accelerator.no_sync(session.objective):
            terms = dict(session.objective(batch, generator, step))
            weights = session.stage.weights
            terms["loss"] = torch.stack([weights[k] * value for k, value in terms.items() if weights.get(k)]).sum()
            accelerator.backward(terms["loss"] / parts)
    return {name: value.detach() for name, value in terms.items()}


def _seed_batch(rng_seed: int, step: int, rank: int, part: int) -> torch.Generator:
    """Generator of one batch. Dropout knows torch's global state only, so that is seeded too: here, nowhere else."""
    state = np.random.SeedSequence([rng_seed, step, rank, part]).generate_state(1, np.uint64)
    torch.manual_seed(int(state[0] >> np.uint64(1)))
    return torch.Generator().manual_seed(int(state[0] >> np.uint64(1)))


def _advance(progress: Progress, finite: bool, ema_updates: int, limit: int) -> Progress:
    in_row = 0 if finite else progress.skipped_in_row + 1
    if in_row > limit:
        message = f"step {progress.step + 1}: the gradient is not finite, for the {in_row}th step in a row"
        raise QualityFailure(message, "continue with a lower learning rate, in a new RUN with --init RUN/bundle")
    return replace(
        progress,
        step=progress.step + 1,
        skipped=progress.skipped + (not finite),
        skipped_in_row=in_row,
        ema_updates=ema_updates,
    )


def _mean_terms(history: Sequence[Mapping[str, Tensor]], accelerator: Accelerator) -> dict[str, float]:
    """Means since the last log over the steps (of all processes) that have a term, and where it is finite."""
    values: dict[str, list[float]] = {}
    for terms in gather_object(list(history)) if accelerator.num_processes > 1 else history:
        for name, value in terms.items():
            values.setdefault(name, []).append(float(value))
    finite = {name: [v for v in found if np.isfinite(v)] for name, found in sorted(values.items())}
    return {name: float(np.mean(found)) for name, found in finite.items() if found}


def _summary(session: _Session, progress: Progress, metrics: Mapping[str, float]) -> Summary:
    batch = session.config.batch * session.config.grad_accumulation * session.accelerator.num_processes
    return Summary(progress.step, progress.seconds, progress.skipped, batch, dict(metrics))
