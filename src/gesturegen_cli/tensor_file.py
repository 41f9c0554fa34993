"""Safetensors files: the checks that readers of the format leave out, and writing without a second copy in memory."""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gesturegen_cli.errors import BundleError, EnvironmentFault

if TYPE_CHECKING:
    from torch import Tensor

MAX_HEADER = 25_000_000
"""Bytes; the largest known models need less than one."""


def check_header(data: bytes, path: Path) -> dict[str, Any]:
    """The header of a whole file `data`; BundleError for a pickle, a huge header, a name twice or no JSON."""
    return _header(data[:8], data[8 : 8 + MAX_HEADER], len(data), path)


def read_header(path: Path) -> dict[str, Any]:
    """The header of a file, without reading its tensors: name -> `dtype`, `shape`, `data_offsets`.

    Raises BundleError as `check_header`, and EnvironmentFault when the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
            return _header(start, file.read(min(length, MAX_HEADER)), os.fstat(file.fileno()).st_size, path)
    except OSError as error:
        raise EnvironmentFault(f"cannot read {path} ({error.strerror})", "check the permissions") from error


def _header(start: bytes, rest: bytes, size: int, path: Path) -> dict[str, Any]:
    length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
    if not 2 <= length <= min(MAX_HEADER, size - 8):
        # Only now: a good file may begin with a pickle's first byte, when its header has such a length.
        if start[:2] == b"PK" or start[:1] == b"\x80":
            raise BundleError(
                f"{path} is a pickle, not safetensors; it was not opened", "export weights as safetensors"
            )
        raise BundleError(f"{path} is not a safetensors file ({size} bytes, header of {length})", "copy it again")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            keys = [key for key, _ in pairs]
            double = next(key for key in keys if keys.count(key) > 1)
            raise BundleError(f"{path}: header entry '{double}' stands twice", "the file was tampered with")
        return found

    try:
        header = json.loads(rest[:length], object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path}: header is not JSON ({error})", "copy it again") from error
    if not isinstance(header, dict):
        raise BundleError(f"{path} is not a safetensors file (its header is no mapping)", "copy it again")
    return header


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Write CPU tensors of any strides, bring them to the disk and return the file's sha256.

    Raises EnvironmentFault when the disk does not take them.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file(_separate(tensors), path, metadata=dict(metadata))
    except SafetensorError as error:
        raise EnvironmentFault(f"cannot write {path.name} ({error})", "is the disk full, or read-only?") from error
    with path.open("rb+") as file:
        os.fsync(file.fileno())
        return hashlib.file_digest(file, "sha256").hexdigest()


def _separate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous, none in the memory of another: the format has no shared memory."""
    seen: set[int] = set()
    separate = {}
    for name, tensor in tensors.items():
        tensor = tensor.contiguous()
        place = tensor.untyped_storage().data_ptr()
        separate[name] = tensor.clone() if place in seen else tensor
        seen.add(place)
    return separate
