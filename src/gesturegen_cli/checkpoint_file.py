"""Other projects' checkpoints, read without running anything in them.

A checkpoint is judged by its first bytes. Pickles go through PyTorch's restricted reader, which knows tensors and plain
containers and calls nothing else.
"""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gesturegen_cli.errors import InputError
from gesturegen_cli.media.files import describe_content, printable, require_file, shown
from gesturegen_cli.tensor_file import read_header

AGAIN = "fetch the file again and compare its size with the origin's"
LEFT_OUT = (
    "argparse.Namespace",
    "numpy.dtype",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
)
"""What training scripts store beside weights; read as an empty placeholder, so that nothing of it is called."""


class _Placeholder:
    """Stands where an object of `LEFT_OUT` stood, and holds nothing of it."""

    def __new__(cls, *values: object) -> _Placeholder:
        return object.__new__(cls)

    def __init__(self, *values: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


def read_checkpoint(path: Path) -> Mapping[str, Any]:
    """The mapping at the top of a `torch.save` file of any age, or the tensors of a safetensors file, on the CPU.

    Tensors of newer files are mapped into memory, not copied. Raises InputError when the file is none of these,
    damaged, cut off, or holds anything but tensors, plain values and `LEFT_OUT`.
    """
    path, head = require_file(path, "checkpoint")
    name = shown(path)
    if _has_tensor_header(path, head):
        top = _load_safetensors(path, name)
    elif head.startswith(b"PK"):
        _check_archive(path, name)
        top = _load_pickle(path, name, mapped=True)
    elif head.startswith(b"\x80"):
        top = _load_pickle(path, name, mapped=False)
    else:
        raise _not_a_checkpoint(head, name)
    if not isinstance(top, Mapping):
        raise InputError(
            f"checkpoint {name!r} holds one {type(top).__name__}, expected named tensors", "save its state_dict instead"
        )
    return top


def named_tensors(found: object, path: Path) -> dict[str, Tensor]:
    """`found` as it is, when it maps names to dense tensors on the CPU. InputError names what is not one."""
    if not isinstance(found, Mapping) or not found:
        kind = f"one {type(found).__name__}" if found else "no tensors"
        raise InputError(f"checkpoint {shown(path)!r} holds {kind}, expected named tensors", AGAIN)
    for key, value in found.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            kind = type(value).__name__
            raise InputError(
                f"checkpoint {shown(path)!r}: {printable(str(key))!r} is of type {kind}, expected a tensor",
                "is it another kind of checkpoint?",
            )
        if value.layout is not torch.strided or value.device.type != "cpu" or value.is_quantized:
            kind = "quantized" if value.is_quantized else f"{value.layout} on {value.device.type}"
            raise InputError(
                f"checkpoint {shown(path)!r}: {printable(key)!r} is {kind}, expected a dense tensor", "save it as such"
            )
    return {key: value.detach() for key, value in found.items()}


def _check_archive(path: Path, name: str) -> None:
    """Refuse what PyTorch does not write: cut archives, other zip files, and packed entries, which can grow."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise InputError(f"checkpoint {name!r} is cut off or damaged ({printable(str(error))})", AGAIN) from error
    if not any(entry.filename.endswith("/data.pkl") for entry in entries):
        first = printable(entries[0].filename[:40]) if entries else "nothing"
        raise InputError(
            f"checkpoint {name!r} is an archive with {first!r}, expected one that torch.save made", "unpack it first"
        )
    if any(entry.filename.endswith("/constants.pkl") for entry in entries):
        raise InputError(f"checkpoint {name!r} is a TorchScript program, expected weights", "look for its state_dict")
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise InputError(f"checkpoint {name!r} has packed entries, which torch.save does not write", AGAIN)


def _load_pickle(path: Path, name: str, mapped: bool) -> Any:
    placeholders: list[Any] = [(_Placeholder, full_name) for full_name in LEFT_OUT]
    try:
        with torch.serialization.safe_globals(placeholders), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of formats' ages, which say nothing about the weights
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except MemoryError:
        raise
    except Exception as error:  # a damaged or hostile pickle can raise anything
        if "allocate memory" in str(error):
            raise
        raise _refusal(error, name) from error


def _refusal(error: Exception, name: str) -> InputError:
    foreign = re.search(r"(?:GLOBAL|function) (?:<[a-z-]+ (?:function )?)?([\w.]+)", str(error))
    if isinstance(error, pickle.UnpicklingError) and foreign:
        return InputError(
            f"checkpoint {name!r} names {foreign[1]!r}, expected tensors and plain values only; nothing of it was run",
            "only where you trust its origin: load it there and save its state_dict alone",
        )
    reason = printable(str(error).strip().split("\n", 1)[0][:120])
    return InputError(f"checkpoint {name!r} is cut off or damaged ({type(error).__name__}: {reason})", AGAIN)


def _has_tensor_header(path: Path, head: bytes) -> bool:
    """Whether it may be safetensors: eight bytes of length, which may look like any start, then JSON."""
    return len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= path.stat().st_size


def _load_safetensors(path: Path, name: str) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    read_header(path)
    try:
        return load_file(path)
    except (SafetensorError, ValueError, KeyError) as error:
        raise InputError(f"checkpoint {name!r} is cut off or damaged ({printable(str(error))})", AGAIN) from error


def _not_a_checkpoint(head: bytes, name: str) -> InputError:
    start = head.lstrip()[:200].lower()
    if head.startswith(b"version https://git-lfs"):
        return InputError(f"checkpoint {name!r} is a Git LFS pointer, not the file it stands for", "run: git lfs pull")
    if start.startswith((b"<!doctype html", b"<html")) or b"<html" in start:
        hint = "open the link in a browser: it shows a login, a warning or a list, and the file behind it"
        return InputError(f"checkpoint {name!r} is a web page, not the file it offers", hint)
    what = describe_content(head) or f"of no known kind (it begins {head[:8].hex(' ')})"
    return InputError(f"checkpoint {name!r} is {what}, expected a torch.save or safetensors file", AGAIN)
