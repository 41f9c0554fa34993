"""Motion on disk: a safetensors file that can be kept, edited, and rendered again on another picture."""

from __future__ import annotations

import json
import math
import os
import struct
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from gesturegen_cli.errors import InputError
from gesturegen_cli.media.files import output_fault, replacing, require_file, shown
from gesturegen_cli.types import MotionSequence

FORMAT = "1"
SPACE = "person-free"
"""The space of motion files: after `neutralize`, before `retarget`, so that they fit every person."""
MAX_BYTES = 2_000_000_000
MAX_HEADER = 1_000_000
_KEYS = {"format": "gesturegen.format_version", "kind": "gesturegen.kind", "fps": "fps", "space": "space"}
_HINT = "make it with: gesturegen generate SPEECH PICTURE --motion-out FILE"


def save_motion(path: str | os.PathLike[str], motion: MotionSequence) -> None:
    """Write person-free motion `t d`; the file appears under its name when it is complete.

    Raises ValueError when the motion is not `t d`, not finite, or its fps is not in (0, 1000]: the caller's fault.
    EnvironmentFault when the folder is missing, read-only or full.
    """
    values = motion.motion.detach().to("cpu", torch.float32).contiguous()
    if values.ndim != 2 or not values.numel() or not bool(torch.isfinite(values).all()) or not _fits(motion.fps):
        raise ValueError(f"motion {tuple(values.shape)} at {motion.fps} fps: expected finite t d at 0 to 1000 fps")
    metadata = {
        _KEYS["kind"]: "motion",
        _KEYS["format"]: FORMAT,
        _KEYS["fps"]: repr(float(motion.fps)),
        _KEYS["space"]: SPACE,
        "bundle_digest": motion.bundle_digest,
    }
    with replacing(path, ".safetensors") as partial:
        try:
            partial.write_bytes(save({"motion": values}, metadata=metadata))
        except OSError as error:
            raise output_fault(Path(path), error.strerror or str(error)) from error


def load_motion(path: str | os.PathLike[str], expected_dim: int | None = None) -> MotionSequence:
    """Read person-free motion `t d`, checked.

    Raises InputError: no such file, not a motion file, another space or format, not `t d`, not `expected_dim` numbers
    per frame, values that are not finite, fps outside (0, 1000].
    """
    file, head = require_file(path, "motion")
    name = shown(file)
    data = _read(file, head, name)
    facts = _metadata(data, name)
    for key, expected in (("kind", "motion"), ("format", FORMAT), ("space", SPACE)):
        found = facts.get(_KEYS[key])
        if found != expected:
            raise InputError(f"motion {name!r}: {_KEYS[key]} is {found!r}, expected {expected!r}", _HINT)
    try:
        tensors = load(data)
        fps = float(facts.get("fps", "nan"))
    except (SafetensorError, ValueError) as error:
        raise InputError(f"motion {name!r} is damaged ({error})", _HINT) from error
    motion = tensors.get("motion")
    if motion is None or motion.ndim != 2 or not motion.numel() or not motion.is_floating_point():
        found = "none" if motion is None else f"{motion.dtype} {tuple(motion.shape)}"
        raise InputError(f"motion {name!r}: tensor 'motion' is {found}, expected numbers t x d", _HINT)
    if expected_dim is not None and motion.shape[1] != expected_dim:
        found = f"{motion.shape[1]} numbers per frame, this model has {expected_dim}"
        raise InputError(f"motion {name!r} has {found}", "use the bundle that made it")
    if not bool(torch.isfinite(motion).all()):
        raise InputError(f"motion {name!r} holds values that are not finite", "repair the edit that made them")
    if not _fits(fps):
        raise InputError(f"motion {name!r}: fps is {facts.get('fps')!r}, expected a number up to 1000", _HINT)
    return MotionSequence(motion.float(), fps, facts.get("bundle_digest", ""))


def resample_motion(motion: MotionSequence, fps: float, frames: int) -> MotionSequence:
    """The same movement as `frames` frames at `fps`: linear between neighbours, still after the last one."""
    values = motion.motion
    at = (torch.arange(frames, dtype=torch.float64) * motion.fps / fps).clamp(max=len(values) - 1)
    low = at.floor().long()
    high = (low + 1).clamp(max=len(values) - 1)
    weight = (at - low).to(values.dtype)[:, None]
    return MotionSequence(torch.lerp(values[low], values[high], weight), fps, motion.bundle_digest)


def _fits(fps: float) -> bool:
    return math.isfinite(fps) and 0 < fps <= 1000


def _read(file: Path, head: bytes, name: str) -> bytes:
    if head[:2] == b"PK" or head[:1] == b"\x80":
        raise InputError(f"motion {name!r} is a pickle or archive, not safetensors; it was not opened", _HINT)
    size = file.stat().st_size
    if size > MAX_BYTES:
        raise InputError(f"motion {name!r} has {size} bytes, at most {MAX_BYTES} are read", _HINT)
    return file.read_bytes()


def _metadata(data: bytes, name: str) -> dict[str, str]:
    """The header's own notes, read before any tensor: a header is small and plain JSON."""
    length = struct.unpack("<Q", data[:8])[0] if len(data) >= 8 else 0
    try:
        if not 2 <= length <= min(MAX_HEADER, len(data) - 8):
            raise ValueError(f"header of {length} bytes")
        header: Any = json.loads(data[8 : 8 + length])
        notes = header.get("__metadata__", {}) if isinstance(header, dict) else {}
    except (ValueError, RecursionError) as error:
        raise InputError(f"motion {name!r} is not a safetensors file ({error})", _HINT) from error
    return {str(key): str(value) for key, value in notes.items()} if isinstance(notes, dict) else {}
