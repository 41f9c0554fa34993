"""Checkpoints that map names of networks to their tensors, beside what training needs. Files are untrusted."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from torch import Tensor

from gesturegen_cli.checkpoint_file import named_tensors
from gesturegen_cli.errors import InputError
from gesturegen_cli.media.files import printable, shown

WRAPPER = "module."
"""Prefix that training on several GPUs leaves on every name."""
MOST = 8
"""Names told in a message."""

Parts = dict[str, dict[str, Tensor]]


def take_parts(
    top: Mapping[str, Any], file: Path, needed: Sequence[str], optional: Collection[str], ignored: Collection[str]
) -> Parts:
    """Networks of a checkpoint by name. InputError: one of `needed` is missing, or a part is none of those named."""
    missing = [name for name in needed if name not in top]
    if missing:
        found = f"checkpoint {shown(file)!r} has no {', '.join(missing)}; it holds {_told(top)}"
        raise InputError(found, "is it complete, and of the kind that was named?")
    foreign = [name for name in top if name not in {*needed, *optional, *ignored}]
    if foreign:
        found = f"checkpoint {shown(file)!r} holds {_told(foreign)}, which is no part of such a model"
        raise InputError(found, "is it another kind of checkpoint?")
    kept = [name for name in (*needed, *optional) if name in top]
    return {name: unwrapped(named_tensors(top[name], file)) for name in kept}


def unwrapped(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without the prefix that training on several GPUs leaves, where all names have it."""
    if all(name.startswith(WRAPPER) for name in tensors):
        return {name.removeprefix(WRAPPER): tensor for name, tensor in tensors.items()}
    return dict(tensors)


def extent(tensors: Mapping[str, Tensor], name: str, axis: int, file: Path) -> int:
    """Length of one axis of a tensor. InputError when there is no such tensor or axis."""
    tensor = tensors.get(name)
    if tensor is None or tensor.ndim <= axis:
        found = "nothing" if tensor is None else f"one of shape {tuple(tensor.shape)}"
        expected = f"expected a tensor of more than {axis} axes"
        raise InputError(f"checkpoint {shown(file)!r} has {found} as {name}, {expected}", "is it complete?")
    return tensor.shape[axis]


def joined(parts: Parts) -> dict[str, Tensor]:
    """Tensors of all parts as `part.name`."""
    return {f"{part}.{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}


def _told(names: Iterable[object]) -> str:
    return printable(", ".join(str(name) for name in islice(names, MOST))) or "nothing"
