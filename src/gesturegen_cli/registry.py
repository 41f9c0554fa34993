"""Plugins by entry point. Listing reads installed metadata and imports nothing; only what is asked for is imported."""

from __future__ import annotations

import configparser
import difflib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.util import find_spec
from typing import Any

import entrypoints

from gesturegen_cli.config.load import from_tree
from gesturegen_cli.errors import ConfigError, EnvironmentFault, GesturegenError

GROUPS = {
    "audio_encoders": "gesturegen.audio_encoders",
    "denoisers": "gesturegen.denoisers",
    "deviation_models": "gesturegen.deviation_models",
    "importers": "gesturegen.importers",
}
"""Kind of plugin -> entry-point group."""

OWN_DISTRIBUTION = "gesturegen"
ENVIRONMENT = "GESTUREGEN_PLUGINS"


@dataclass(frozen=True)
class Plugin:
    """One registered implementation, not imported yet."""

    kind: str
    name: str
    target: str
    """`module:attribute`."""
    provider: str
    """Distribution that brings it."""
    version: str = ""


def list_plugins(kind: str) -> list[Plugin]:
    """All plugins of a kind (a key of `GROUPS`), built-ins first, then by name. Imports none of them."""
    if kind not in GROUPS:
        raise ConfigError(f"unknown kind of plugin '{kind}', there are: {', '.join(GROUPS)}", "")
    found = [*_installed(kind), *_from_environment(kind)]
    return sorted(set(found), key=lambda p: (p.provider != OWN_DISTRIBUTION, p.name, p.provider))


def _installed(kind: str) -> list[Plugin]:
    plugins = []
    try:
        entries = entrypoints.get_group_all(GROUPS[kind])
    except (configparser.Error, UnicodeDecodeError) as error:
        message = f"an installed package has a broken entry_points.txt ({' '.join(str(error).split())})"
        raise EnvironmentFault(message, "uninstall or repair that package") from error
    for entry in entries:
        distribution = getattr(entry, "distro", None)
        # The name comes from a folder that may spell it otherwise (packaging.python.org: name normalization).
        provider = re.sub(r"[-_.]+", "-", str(getattr(distribution, "name", "") or "unknown")).lower()
        own = provider == OWN_DISTRIBUTION
        if own or os.environ.get(ENVIRONMENT) != "none":
            target = f"{entry.module_name}:{entry.object_name}"
            version = str(getattr(distribution, "version", "") or "")
            plugins.append(Plugin(kind, entry.name, target, OWN_DISTRIBUTION if own else provider, version))
    return plugins


def _from_environment(kind: str) -> list[Plugin]:
    """`GESTUREGEN_PLUGINS="denoisers:mine=my_module:Mine, ..."`: for trying things without installing."""
    text = os.environ.get(ENVIRONMENT, "")
    if text in ("", "none"):
        return []
    plugins = []
    for item in (part.strip() for part in text.split(",") if part.strip()):
        group, _, rest = item.partition(":")
        name, sign, target = rest.partition("=")
        if group not in GROUPS or not sign or ":" not in target or not name:
            expected = "KIND:NAME=MODULE:CLASS with KIND one of " + ", ".join(GROUPS)
            raise ConfigError(f"{ENVIRONMENT} holds {item!r}, expected {expected}", f"or {ENVIRONMENT}=none")
        if group == kind:
            plugins.append(Plugin(kind, name, target, f"environment variable {ENVIRONMENT}"))
    return plugins


def find_plugin(kind: str, name: str) -> Plugin:
    """The one plugin of that name; a built-in wins over others, two others of one name are refused."""
    plugins = list_plugins(kind)
    matching = [p for p in plugins if p.name == name]
    if not matching:
        names = sorted({p.name for p in plugins})
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
        hint = f"did you mean '{near[0]}'?" if near else "install the package that brings it"
        raise ConfigError(f"unknown {_called(kind)} '{name}', installed: {', '.join(names) or 'none'}", hint)
    if len(matching) > 1 and matching[0].provider != OWN_DISTRIBUTION:
        owners = ", ".join(p.provider for p in matching)
        raise ConfigError(f"{_called(kind)} '{name}' is claimed by {owners}", "uninstall all but one of them")
    return matching[0]


def plugin_status(plugin: Plugin, all_of_kind: Sequence[Plugin]) -> str:
    """`ready`, or what keeps a plugin from being used as far as that can be told without importing it."""
    if not _module_exists(plugin.target.partition(":")[0]):
        return "its module is missing"
    others = [p.provider for p in all_of_kind if p.name == plugin.name and p != plugin]
    if others and plugin.provider != OWN_DISTRIBUTION:
        return "hidden by the built-in" if OWN_DISTRIBUTION in others else f"name claimed by {', '.join(others)} too"
    return "ready"


def _module_exists(module: str) -> bool:
    """Whether a module can be found; looks into packages without importing them."""
    top, *inner = module.split(".")
    try:
        spec = find_spec(top)
        for number in range(len(inner)):
            places = spec.submodule_search_locations if spec is not None else None
            spec = PathFinder.find_spec(".".join([top, *inner[: number + 1]]), places) if places is not None else None
    except (ImportError, ValueError):
        return False
    return spec is not None


def load_plugin(kind: str, name: str) -> type[Any]:
    """Import one plugin's class. EnvironmentFault names the distribution when the import fails."""
    return _import(find_plugin(kind, name))


def _import(plugin: Plugin) -> type[Any]:
    module, _, attribute = plugin.target.partition(":")
    try:
        loaded = getattr(import_module(module), attribute)
    except (Exception, SystemExit) as error:  # whatever a plugin raises while it is imported is that plugin's fault
        fault = f"cannot be imported ({type(error).__name__}: {error})"
        message = f"{_called(plugin.kind)} '{plugin.name}' of {plugin.provider} {fault}"
        raise EnvironmentFault(message, _repair(plugin)) from error
    if not is_dataclass(getattr(loaded, "Config", None)):
        raise EnvironmentFault(
            f"{plugin.target} of {plugin.provider} has no nested Config dataclass", "see docs/plugins.md"
        )
    return loaded  # type: ignore[no-any-return] # the registry cannot know the class


def build(kind: str, name: str, params: Mapping[str, Any], **runtime: Any) -> Any:
    """Build a plugin from checked params. `runtime` values (sizes known only now) win and may not be set by params."""
    plugin = find_plugin(kind, name)
    cls = _import(plugin)
    clash = sorted(set(params) & set(runtime))
    if clash:
        raise ConfigError(
            f"{_called(kind)} '{name}': {', '.join(clash)} is set by gesturegen itself", "remove it from params"
        )
    try:
        config = from_tree(cls.Config, {**params, **runtime}, f"{name}.params")
        built = cls(config)
        fault = _fault(kind, built, config)
    except (GesturegenError, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        if plugin.provider == OWN_DISTRIBUTION or "can't allocate memory" in str(error):
            raise
        fault = f"cannot be built ({type(error).__name__}: {error})"
        raise EnvironmentFault(f"{_called(kind)} '{name}' of {plugin.provider} {fault}", _repair(plugin)) from error
    if fault:
        raise EnvironmentFault(f"{_called(kind)} '{name}' of {plugin.provider} {fault}", _repair(plugin))
    return built


def _fault(kind: str, built: Any, config: Any) -> str:
    """What a built plugin lacks, empty if nothing: members of its protocol, or the configuration it was built from."""
    missing = _missing_members(kind, built)
    if missing:
        return f"has no {', '.join(missing)}"
    # Bundles are made of it, at the end of a training: it has to be there from the start.
    kept = kind == "importers" or getattr(built, "config", None) == config
    return "" if kept else "does not keep its configuration as self.config"


def _repair(plugin: Plugin) -> str:
    named = plugin.provider.startswith("environment")
    return f"see docs/plugins.md; repair {plugin.target}" + ("" if named else f" or uninstall {plugin.provider}")


def _missing_members(kind: str, built: Any) -> list[str]:
    """What the protocol of its kind has and a built plugin has not."""
    from gesturegen_cli import protocols  # brings torch, which listing must not

    seam = {
        "audio_encoders": protocols.AudioEncoder,
        "denoisers": protocols.Denoiser,
        "deviation_models": protocols.DeviationModel,
        "importers": protocols.Importer,
    }[kind]
    members = [*seam.__annotations__, *(name for name in vars(seam) if name == "__call__" or not name.startswith("_"))]
    return [name for name in members if not hasattr(built, name)]


def _called(kind: str) -> str:
    return kind[:-1].replace("_", " ")
