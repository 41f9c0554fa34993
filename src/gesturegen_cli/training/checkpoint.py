"""Checkpoints: a folder per step with safetensors and JSON, so that no run folder holds a pickle.

checkpoints/000500/   model.safetensors  ema.safetensors  optimizer.safetensors  state.json
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from gesturegen_cli.errors import EnvironmentFault

STATE = "state.json"
GROUP = "group "
Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Progress:
    """Where a run stands: all a continued run needs besides tensors, because batches depend on the step alone."""

    step: int
    """Steps done."""
    seconds: float
    """Wall time spent in steps so far."""
    skipped: int
    """Steps skipped because of non-finite gradients."""
    skipped_in_row: int
    ema_updates: int


def save_checkpoint(
    folder: Path, progress: Progress, model: nn.Module, ema: Tensors, optimizer: torch.optim.Optimizer, keep: int
) -> Path:
    """Write a checkpoint of all parts at once, then remove the oldest beyond `keep`. Returns its folder."""
    parts = {"model": _plain(model.state_dict()), "ema": _plain(ema), "optimizer": _plain(optimizer_tensors(optimizer))}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _remove_partials(folder)
        partial = Path(tempfile.mkdtemp(prefix=".", suffix=".part", dir=folder))
        for name, tensors in parts.items():
            save_file(tensors, partial / f"{name}.safetensors")
        (partial / STATE).write_text(json.dumps(asdict(progress)), encoding="utf-8")
        for file in partial.iterdir():
            _sync(file)
        partial.chmod(0o755)
        final = folder / f"{progress.step:08d}"
        if final.exists():
            shutil.rmtree(final)
        partial.rename(final)
        _sync(folder)
        for old in _steps(folder)[:-keep]:
            shutil.rmtree(old)
    except (OSError, SafetensorError) as error:
        raise EnvironmentFault(f"cannot write a checkpoint to {folder} ({error})", "is the disk full?") from error
    return final


def latest_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint, or None."""
    steps = _steps(folder)
    return steps[-1] if steps else None


def load_checkpoint(path: Path, model: nn.Module, ema: Tensors, optimizer: torch.optim.Optimizer) -> Progress:
    """Fill model, EMA tensors and optimiser from a checkpoint; EnvironmentFault when it does not fit or is damaged."""
    try:
        progress = Progress(**json.loads((path / STATE).read_text(encoding="utf-8")))
        model.load_state_dict(load_file(path / "model.safetensors"))
        stored = load_file(path / "ema.safetensors")
        with torch.no_grad():
            for name, tensor in ema.items():
                tensor.copy_(stored[name])
        fill_optimizer(optimizer, load_file(path / "optimizer.safetensors"))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        hint = "remove that folder to continue from an older checkpoint"
        raise EnvironmentFault(f"checkpoint {path} cannot be loaded ({error})", hint) from error
    return progress


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> Tensors:
    """State of an optimiser as named tensors: `index of the parameter.name`, and `group index.step` where it counts.

    All else in a group comes from the configuration or, as the learning rate, from the step.
    """
    tensors = {
        f"{index}.{name}": value
        for index, parameter in enumerate(_parameters(optimizer))
        for name, value in optimizer.state.get(parameter, {}).items()
    }
    # AdamW counts the steps of each parameter, in its state; Adan those of a group, beside its settings.
    for index, group in enumerate(optimizer.param_groups):
        if "step" in group:
            tensors[f"{GROUP}{index}.step"] = torch.tensor(group["step"])
    return tensors


def fill_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """The reverse of `optimizer_tensors`. State gets the memory layout of its parameter, for equal rounding."""
    parameters = _parameters(optimizer)
    optimizer.state.clear()
    for key, value in tensors.items():
        owner, _, name = key.partition(".")
        if owner.startswith(GROUP):
            optimizer.param_groups[int(owner.removeprefix(GROUP))][name] = int(value)
            continue
        parameter = parameters[int(owner)]
        same_shape = value.shape == parameter.shape and name != "step"
        state = torch.empty_like(parameter).copy_(value).detach() if same_shape else value.clone()
        optimizer.state[parameter][name] = state


def _parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _plain(tensors: Mapping[str, Tensor]) -> Tensors:
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


def _steps(folder: Path) -> list[Path]:
    found = folder.iterdir() if folder.is_dir() else iter(())
    return sorted(path for path in found if path.name.isdigit() and (path / STATE).is_file())


def _remove_partials(folder: Path) -> None:
    """Left by a killed run; the run's lock says that nobody else writes here."""
    for path in folder.glob(".*.part"):
        shutil.rmtree(path)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
