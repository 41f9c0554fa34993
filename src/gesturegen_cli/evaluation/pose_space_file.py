"""Autoencoders of poses on disk: one safetensors file that says what it is for, and is read with suspicion."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gesturegen_cli.errors import InputError
from gesturegen_cli.evaluation.pose_space import SHORTEST_WINDOW, PoseAutoencoder, PoseNetwork, build_network
from gesturegen_cli.media.files import printable, replacing, require_file, shown
from gesturegen_cli.tensor_file import check_header, write_tensors

KIND = "gesturegen-pose-autoencoder"
FORMAT = 1
MOST_BYTES = 64_000_000
LONGEST_WINDOW = 1000
MOST_JOINTS = 500
_ENTRY = "pose_space"
_AGAIN = "copy it again, or train another one"


def save_pose_space(path: Path, space: PoseAutoencoder) -> str:
    """Write `space` and return the file's sha256, which is the space's digest once it is loaded.

    Raises EnvironmentFault when the disk does not take it, ConfigError when `path` is a folder.
    """
    tensors = {name: value for name, value in space.network.state_dict().items() if value.is_floating_point()}
    about = {
        "kind": KIND,
        "format": FORMAT,
        "window": space.window,
        "fps": float(space.fps),
        "joints": list(space.joints),
        "training": dict(space.training),
        "estimator": space.estimator,
    }
    # one entry, so that the same space always gives the same bytes: the order of several is not kept
    metadata = {_ENTRY: json.dumps(about, sort_keys=True)}
    with replacing(path, ".safetensors") as partial:
        return write_tensors(partial, {**tensors, "mean": space.mean, "scale": space.scale}, metadata)


def load_pose_space(path: Path) -> PoseAutoencoder:
    """Read an autoencoder that save_pose_space wrote.

    Raises InputError for a missing file, one of another kind or format, a damaged one, or one larger than 64 MB.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    path, _ = require_file(path, "pose space")
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise InputError(f"pose space {shown(path)!r} has {size} bytes, expected at most {MOST_BYTES}", _AGAIN)
    data = path.read_bytes()
    header = check_header(data, path)
    about = _about(header, shown(path))
    joints, window = tuple(about["joints"]), int(about["window"])
    network = build_network(2 * len(joints), window)
    _check_shapes(header, network, len(joints), shown(path))
    try:
        tensors = load(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise InputError(f"pose space {shown(path)!r} is damaged ({printable(str(error))})", _AGAIN) from error
    mean, scale = tensors.pop("mean"), tensors.pop("scale")
    if not all(torch.isfinite(value).all() for value in (mean, scale, *tensors.values())) or not (scale > 0).all():
        raise InputError(f"pose space {shown(path)!r} holds numbers that are not finite, or no scale", _AGAIN)
    network.load_state_dict(tensors, strict=False)  # counters of batches are not stored; all else was checked
    network.eval().requires_grad_(False)
    digest = hashlib.sha256(data).hexdigest()
    fps, training, estimator = float(about["fps"]), about["training"], about.get("estimator", "")
    return PoseAutoencoder(network, mean, scale, joints, window, fps, training, digest, estimator)


def _about(header: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What the file says about itself, checked."""
    metadata = header.get("__metadata__")
    text = metadata.get(_ENTRY) if isinstance(metadata, dict) else None
    try:
        about = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError) as error:
        raise InputError(f"pose space {name!r} describes itself in no JSON", _AGAIN) from error
    if not isinstance(about, dict) or about.get("kind") != KIND:
        raise InputError(f"{name!r} is no pose space", "name a file that was trained for evaluation")
    if about.get("format") != FORMAT:
        found = printable(str(about.get("format"))[:20])
        raise InputError(f"pose space {name!r} has format {found}, expected {FORMAT}", "update gesturegen")
    joints, window, fps, training = (about.get(key) for key in ("joints", "window", "fps", "training"))
    estimator = about.get("estimator", "")  # files of the first days have none
    good = {
        "joints": isinstance(joints, list)
        and 1 <= len(joints) <= MOST_JOINTS
        and all(isinstance(joint, str) and 1 <= len(joint) <= 64 and joint == printable(joint) for joint in joints)
        and len(set(joints)) == len(joints),
        "window": type(window) is int and SHORTEST_WINDOW <= window <= LONGEST_WINDOW,
        "fps": _is_number(fps) and 0 < fps <= 1000,  # type: ignore[operator]  # a number, see before
        "training": isinstance(training, dict) and len(training) < 100 and all(map(_is_number, training.values())),
        "estimator": isinstance(estimator, str) and len(estimator) <= 64 and estimator == printable(estimator),
    }
    for key, fine in good.items():
        if not fine:
            found = printable(str(about.get(key))[:60])
            raise InputError(f"pose space {name!r} has {key} {found}, expected what a training writes", _AGAIN)
    return about


def _is_number(value: object) -> bool:
    # compared, not converted: a whole number of a thousand digits fits no float
    return type(value) in (int, float) and -1e15 < value < 1e15  # type: ignore[operator]  # a number, see before


def _check_shapes(header: Mapping[str, Any], network: PoseNetwork, joints: int, name: str) -> None:
    """InputError unless the file holds exactly the network's tensors, and the statistics of its input."""
    wanted: dict[str, Tensor] = {key: value for key, value in network.state_dict().items() if value.is_floating_point()}
    expected = {key: list(value.shape) for key, value in wanted.items()}
    expected |= {"mean": [2 * joints], "scale": [2 * joints]}
    for key in sorted({*expected, *header} - {"__metadata__"}):
        entry = header.get(key)
        shape = entry.get("shape") if isinstance(entry, dict) else None
        if shape != expected.get(key) or not isinstance(entry, dict) or entry.get("dtype") != "F32":
            found = printable(f"{key[:60]} of {entry.get('dtype') if isinstance(entry, dict) else None} {shape}"[:120])
            raise InputError(
                f"pose space {name!r} has {found}, expected F32 {expected.get(key)}", "it was made by other code"
            )
