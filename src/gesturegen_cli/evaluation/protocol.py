"""The protocol of an evaluation: what its numbers depend on, and whether two of them may be compared."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch

from gesturegen_cli import __version__
from gesturegen_cli.config.schema import Evaluation
from gesturegen_cli.data.video_record import digest
from gesturegen_cli.errors import ConfigError
from gesturegen_cli.evaluation.items import Item
from gesturegen_cli.evaluation.results import Report

_NO_EFFECT = ("metrics", "bootstrap", "fgd_steps")
"""Settings that change which numbers there are, but none of the numbers."""


def describe_protocol(
    settings: Evaluation, rng_seed: int, networks: Mapping[str, str], references: list[Item]
) -> dict[str, Any]:
    """Settings, networks with their hashes, and a hash of the reference videos."""
    content = [[item.id, digest(item.video), digest(item.audio) if item.audio else ""] for item in references]
    return {
        "settings": asdict(settings),
        "rng_seed": rng_seed,
        "networks": dict(networks),
        "reference": hashlib.sha256(json.dumps(sorted(content)).encode()).hexdigest(),
        "reference_clips": len(references),
    }


def protocol_digest(protocol: Mapping[str, Any]) -> str:
    """One hash for all that decides about numbers."""
    settings = {key: value for key, value in protocol["settings"].items() if key not in _NO_EFFECT}
    return hashlib.sha256(json.dumps({**protocol, "settings": settings}, sort_keys=True).encode()).hexdigest()


def check_same_protocol(ours: Mapping[str, Any], older: Report, force: bool) -> str | None:
    """None when the protocols agree; with `force` a warning that says how they differ, else ConfigError saying it."""
    if protocol_digest(ours) == older.protocol_digest:
        return None
    found = "; ".join(differences(ours, older.protocol)) or "an unknown part"
    message = f"the protocol differs from that of the other evaluation ({found})"
    if force:
        return f"{message}: their numbers are not comparable"
    raise ConfigError(message, "make it the same (--protocol FILE takes its settings), or add --force")


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """What differs, in words: `settings.size 256, not 128`."""
    a, b = _flat(ours), _flat(theirs)
    keys = [key for key in sorted({*a, *b}) if key.removeprefix("settings.") not in _NO_EFFECT]
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


def _flat(tree: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= _flat(value, f"{before}{key}.") if isinstance(value, Mapping) else {before + key: value}
    return found


def _short(value: Any) -> str:
    text = "none" if value is None else str(value)
    return f"{text[:12]}..." if len(text) == 64 else text
