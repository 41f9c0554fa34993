"""The protocol of an evaluation: what its numbers depend on, and whether two of them may be compared."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from gesturegen_cli import __version__
from gesturegen_cli.config.schema import Evaluation
from gesturegen_cli.data.video_record import digest
from gesturegen_cli.errors import ConfigError, InputError
from gesturegen_cli.evaluation.items import Item
from gesturegen_cli.evaluation.pose import HANDS_SEEN_FROM
from gesturegen_cli.evaluation.results import Report
from gesturegen_cli.media.files import require_file, shown

_NO_EFFECT = frozenset(f"settings.{name}" for name in ("metrics", "bootstrap", "fgd_steps"))
"""Settings that change which numbers there are, but none of the numbers."""
_NETWORKS = "networks."
_ESTIMATOR = "networks.estimator"
"""The one network that every evaluation has, and that decides about most of its numbers."""
_UNREADABLE = "unreadable"


def describe_protocol(
    settings: Evaluation, rng_seed: int, networks: Mapping[str, str], references: list[Item]
) -> dict[str, Any]:
    """Settings, networks with their hashes, what counts as a hand that is seen, and a hash of the reference: its
    videos, sound files and labels.

    Files that cannot be read are noted as such: each costs its clip later on. InputError when no video can be read.
    """
    return {
        "settings": asdict(settings),
        "rng_seed": rng_seed,
        "networks": dict(networks),
        "hands_seen_from": HANDS_SEEN_FROM,
        "reference": _reference_hash(references),
        "reference_clips": len(references),
    }


def protocol_digest(protocol: Mapping[str, Any]) -> str:
    """One hash for all that decides about numbers but the networks of single metrics, such as FVD's.

    Which of those there are depends on which metrics were asked for; `differences` compares them one by one.
    """
    decisive = {
        key: value
        for key, value in _flat(protocol).items()
        if key not in _NO_EFFECT and (key == _ESTIMATOR or not key.startswith(_NETWORKS))
    }
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def check_same_protocol(ours: Mapping[str, Any], older: Report, force: bool) -> str | None:
    """None when the protocols agree; with `force` a warning that says how they differ, else ConfigError saying it.

    ConfigError, or the warning, also where the older report's digest is not that of its protocol.
    """
    if protocol_digest(older.protocol) != older.protocol_digest:
        message = "the protocol of the other evaluation does not fit its digest: its file was changed"
        hint = "evaluate it again, or add --force"
    elif found := differences(ours, older.protocol):
        message = f"the protocol differs from that of the other evaluation ({'; '.join(found)})"
        hint = "make it the same (--protocol FILE takes its settings), or add --force"
    else:
        return None
    if force:
        return f"{message}: their numbers are not comparable"
    raise ConfigError(message, hint)


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """What differs, in words: `settings.size 256, not 128`. Networks that only one has compare nothing, and so do not
    count.
    """
    a, b = _flat(ours), _flat(theirs)
    one_sided = {key for key in {*a} ^ {*b} if key.startswith(_NETWORKS) and key != _ESTIMATOR}
    keys = sorted({*a, *b} - _NO_EFFECT - one_sided)
    return [f"{key} {_short(a.get(key))}, not {_short(b.get(key))}" for key in keys if a.get(key) != b.get(key)]


def environment(device: torch.device) -> dict[str, Any]:
    """What may still change the last digits."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "gesturegen": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.system(),
        "processor": platform.machine(),
        "cores": cores,
        "device": str(device),
    }


def _reference_hash(references: list[Item]) -> str:
    content = []
    faults = []
    for item in references:
        video, fault = _file_hash(item.video, "video")
        faults += [fault] if fault is not None else []
        others = [_file_hash(item.audio, "speech")[0] if item.audio is not None else ""]
        # the boxes of hands and mouth come from there
        if item.clip is not None and item.clip.labels is not None:
            others.append(_file_hash(item.clip.labels, "labels")[0])
        content.append([item.id, video, *others])
    if faults and len(faults) == len(references):
        raise InputError(f"no reference video could be read: {faults[0].message}", faults[0].hint)
    return hashlib.sha256(json.dumps(sorted(content)).encode()).hexdigest()


def _file_hash(path: Path, what: str) -> tuple[str, InputError | None]:
    """sha256 of a file; `unreadable` and why, for anything but a regular file that can be read."""
    try:
        return digest(require_file(path, what)[0]), None
    except InputError as error:
        return _UNREADABLE, error
    except OSError as error:
        return _UNREADABLE, InputError(f"{what} file {shown(path)!r} cannot be read: {error.strerror or error}")


def _flat(tree: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= _flat(value, f"{before}{key}.") if isinstance(value, Mapping) else {before + key: value}
    return found


def _short(value: Any) -> str:
    text = "none" if value is None else str(value)
    return f"{text[:12]}..." if len(text) == 64 else text
