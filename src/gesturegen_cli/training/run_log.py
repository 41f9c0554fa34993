"""The folder of one training run: `run.json`, `checkpoints/`, `metrics.jsonl`, `samples/`, `bundle/`, and its lock."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gesturegen_cli.errors import ConfigError, EnvironmentFault
from gesturegen_cli.media.files import replacing

FORMAT = 1
RECORD = "run.json"
METRICS = "metrics.jsonl"

FREE = ("vgg19", "steps", "workers", "threads", "log_every", "save_every", "sample_every", "keep_checkpoints")
"""Keys that may change between two starts of one run. Other `steps` stretch the learning-rate schedule; of the file
`vgg19` the content counts, which stands in the inputs."""


@dataclass(frozen=True)
class Run:
    """An open run folder. In a run of several processes only the main one writes."""

    path: Path
    main: bool
    tensorboard: Any = None

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints, one folder per step."""
        return self.path / "checkpoints"

    @property
    def samples(self) -> Path:
        """Folder of pictures made while training."""
        return self.path / "samples"

    @property
    def bundle(self) -> Path:
        """The shareable result."""
        return self.path / "bundle"

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Append one line to `metrics.jsonl` (and TensorBoard, where it is installed)."""
        if not self.main:
            return
        line = {"step": step, **{name: _rounded(value) for name, value in values.items()}}
        with (self.path / METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if self.tensorboard is not None:
            for name, value in values.items():
                self.tensorboard.add_scalar(name, value, step)


def _rounded(value: float) -> float | None:
    """Seven digits; null where JSON has no word for it (infinite, not a number)."""
    return float(f"{value:.7g}") if abs(value) < float("inf") else None


@contextmanager
def open_run(path: Path, record: Mapping[str, Any]) -> Iterator[Run]:
    """Open a new or an interrupted run and hold it.

    `record` (plain values) says what the run is: `stage`, `config`, `inputs`. A folder that holds another run is
    refused: ConfigError names the keys that differ. EnvironmentFault when another process holds the folder.
    """
    main = int(os.environ.get("RANK", "0")) == 0
    if not main:
        yield Run(path, main=False)
        return
    _check_folder(path)
    with _lock(path / ".lock"):
        _match_record(path / RECORD, json.loads(json.dumps(record)))
        board = _open_tensorboard(path / "tensorboard")
        try:
            yield Run(path, main=True, tensorboard=board)
        finally:
            if board is not None:
                board.close()


def _check_folder(path: Path) -> None:
    if path.exists() and not path.is_dir():
        raise ConfigError(f"{path} is a file, a run needs a folder", "choose another name for RUN")
    foreign = path.is_dir() and not (path / RECORD).is_file() and any(p.name != ".lock" for p in path.iterdir())
    if foreign:
        raise ConfigError(f"{path} is not empty and holds no run", "choose a new folder for RUN")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentFault(f"cannot make {path} ({error.strerror})", "choose another folder for RUN") from error


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Held by the kernel for this process: it is released however the process ends."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            message = f"another process is training in {path.parent}"
            raise EnvironmentFault(message, "wait for it, stop it, or choose another folder for RUN") from error
        yield


def _match_record(path: Path, record: dict[str, Any]) -> None:
    """Write the record of a new run; check that a run to be continued is the same one."""
    if path.is_file():
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise EnvironmentFault(f"{path} cannot be read ({error})", "choose another folder for RUN") from error
        changed = changed_keys(before, record)
        if changed:
            listed = ", ".join(changed[:6]) + (f" and {len(changed) - 6} more" if len(changed) > 6 else "")
            hint = "use the same settings to continue it (config.*.steps may be raised), or choose a new RUN"
            raise ConfigError(f"{path.parent} holds a run with other settings: {listed}", hint)
    with replacing(path) as partial:
        partial.write_text(json.dumps({"format": FORMAT, **record}, indent=2) + "\n", encoding="utf-8")


def changed_keys(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Dotted keys of two records whose values differ and matter to the result; `command` and the like do not."""
    old, new = ({k: v for k, v in _flat(r).items() if _matters(k)} for r in (before, now))
    return sorted(
        f"{key} ({old.get(key)!r}, now {new.get(key)!r})" for key in old.keys() | new if old.get(key) != new.get(key)
    )


def _matters(key: str) -> bool:
    head, _, rest = key.partition(".")
    return head in ("stage", "config", "inputs") and rest.rpartition(".")[2] not in FREE


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def truncate_metrics(run: Run, step: int) -> None:
    """Forget the lines after `step`: a run continued from there writes them again."""
    path = run.path / METRICS
    if not run.main or not path.is_file():
        return
    kept = [line for line in path.read_text(encoding="utf-8").splitlines() if _step_of(line) <= step]
    with replacing(path) as partial:
        partial.write_text("".join(line + "\n" for line in kept), encoding="utf-8")


def _step_of(line: str) -> float:
    """Step of a metrics line; a line cut off by a crash counts as never written."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")


def _open_tensorboard(folder: Path) -> Any:
    """A writer, or None where TensorBoard is not installed."""
    if find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder))
