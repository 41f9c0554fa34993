"""Plugins built for training: sizes that follow from the data or from other parts are filled in."""

from __future__ import annotations

import dataclasses
from typing import Any

from gesturegen_cli import registry
from gesturegen_cli.bundle import ComponentSpec
from gesturegen_cli.config.schema import Component


def build_sized(kind: str, component: Component, **sizes: Any) -> Any:
    """Build a plugin, with those of `sizes` that its `Config` has fields for. ConfigError for bad params."""
    known = {field.name for field in dataclasses.fields(registry.load_plugin(kind, component.name).Config)}
    return registry.build(kind, component.name, component.params, **{k: v for k, v in sizes.items() if k in known})


def describe(kind: str, name: str, module: Any) -> ComponentSpec:
    """What a bundle says about a built plugin."""
    provider = registry.find_plugin(kind, name).provider
    return ComponentSpec(name, dataclasses.asdict(module.config), provider)
