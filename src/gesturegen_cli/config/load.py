"""Fill the configuration tree: defaults < preset < YAML file < --set < flags, then check all of it."""

from __future__ import annotations

import difflib
import math
import stat
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from gesturegen_cli.config.schema import Component, Config
from gesturegen_cli.errors import ConfigError

MAX_BYTES = 1_000_000
Tree = dict[str, Any]
T = TypeVar("T")


class _StrictLoader(yaml.SafeLoader):
    """Plain YAML only: no Python tags, no aliases (they can blow up in memory), no key twice."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise ConfigError("YAML aliases (*name) are not allowed in configuration files", "write the value out")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if not isinstance(key, str):
                raise ConfigError(f"key {key!r} is not text", "quote the key")
            if keys.count(key) > 1:
                raise ConfigError(f"key '{key}' stands twice in one mapping", "keep one of them")
        return super().construct_mapping(node, deep)


def parse_yaml(text: str, where: str) -> Any:
    """YAML text to plain values; ConfigError names `where` when the text is not plain YAML."""
    try:
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - a SafeLoader, made stricter
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(f"{where} is not plain YAML ({line})", "see docs/configuration.md for the format") from error
    except ConfigError as error:
        raise ConfigError(f"{where}: {error.message}", error.hint) from error


def read_yaml(path: Path) -> Tree:
    """A YAML file with a mapping at its top; refuses anything but a regular UTF-8 file of up to 1 MB."""
    try:
        info = path.stat()
        if not stat.S_ISREG(info.st_mode):
            raise ConfigError(f"{path} is not a regular file", "give a YAML file")
        if info.st_size > MAX_BYTES:
            raise ConfigError(f"{path} has {info.st_size} bytes, at most {MAX_BYTES} are read", "is it YAML?")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path} ({error})", "give a YAML file in UTF-8") from error
    tree = parse_yaml(text, str(path))
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(
            f"{path} holds {type(tree).__name__}, expected a mapping of keys", "see docs/configuration.md"
        )
    return tree


def preset_names() -> list[str]:
    """Names of the presets that come with the package."""
    folder = resources.files("gesturegen_cli.config") / "presets"
    return sorted(p.name.removesuffix(".yaml") for p in folder.iterdir() if p.name.endswith(".yaml"))


def _preset(name: str) -> Tree:
    if name not in preset_names():
        raise ConfigError(
            f"unknown preset '{name}', there are: {', '.join(preset_names())}", _nearest(name, preset_names())
        )
    text = (resources.files("gesturegen_cli.config") / "presets" / f"{name}.yaml").read_text(encoding="utf-8")
    return parse_yaml(text, f"preset {name}") or {}


def parse_set(assignment: str) -> Tree:
    """`a.b=value` to a nested mapping; the value is read as YAML."""
    key, sign, value = assignment.partition("=")
    if not sign or not all(key.split(".")):
        raise ConfigError(f"--set {assignment!r} is not of the form key=value", "for example --set sampling.steps=12")
    return _nest(key, parse_yaml(value, f"--set {key}"))


def _nest(dotted: str, value: Any) -> Tree:
    for part in reversed(dotted.split(".")):
        value = {part: value}
    return dict(value)


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> Tree:
    """`over` laid on `base`, mapping by mapping. A new component name drops the old component's params."""
    out: Tree = dict(base)
    for key, value in over.items():
        old = out.get(key)
        if isinstance(value, str) and isinstance(old, Mapping) and "params" in old:
            value = {"name": value}  # a component may be given by its name alone
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            renamed = "params" in old and "name" in value and value["name"] != old.get("name")
            out[key] = merge({**old, "params": {}} if renamed else old, value)
        else:
            out[key] = value
    return out


def load_config(
    preset: str | None = None,
    file: Path | None = None,
    assignments: Sequence[str] = (),
    flags: Mapping[str, Any] | None = None,
    base: Mapping[str, Any] | None = None,
) -> Config:
    """The checked configuration. `flags` maps dotted keys to values, None meaning "not given".

    `base` is what a bundle recommends: it goes before the defaults, and everything else before it.
    """
    tree = merge(asdict(Config()), base or {})
    layers = [_preset(preset) if preset else {}, read_yaml(file) if file else {}]
    layers += [parse_set(a) for a in assignments]
    layers += [_nest(key, value) for key, value in (flags or {}).items() if value is not None]
    for layer in layers:
        tree = merge(tree, layer)
    return config_from_tree(tree)


def config_from_tree(tree: Mapping[str, Any]) -> Config:
    """A plain mapping, for example from a run folder, to a checked `Config`."""
    config = from_tree(Config, tree)
    if config.window.seed_frames >= config.window.frames:
        found = f"{config.window.seed_frames} seed frames, {config.window.frames} frames"
        raise ConfigError(f"window.seed_frames must be below window.frames ({found})", "lower window.seed_frames")
    return config


def from_tree(cls: type[T], tree: Any, where: str = "") -> T:
    """Build the dataclass `cls` from plain values, checking names, types and ranges; errors carry the dotted key."""
    if not isinstance(tree, Mapping):
        raise ConfigError(
            f"{where or cls.__name__} = {tree!r}, expected a mapping of keys", "see docs/configuration.md"
        )
    known = {f.name: f for f in fields(cls)}  # type: ignore[arg-type] # T is a dataclass by contract
    prefix = f"{where}." if where else ""
    for key in tree:
        if key not in known:
            raise ConfigError(f"unknown key '{prefix}{key}'", _nearest(str(key), list(known), prefix))
    hints = get_type_hints(cls)
    values = {k: _check(hints[k], v, prefix + k, known[k].metadata) for k, v in tree.items()}
    try:
        return cls(**values)
    except TypeError as error:
        raise ConfigError(f"{where or cls.__name__}: {error}", "give the missing keys") from error


def _check(kind: Any, value: Any, key: str, limits: Mapping[str, Any]) -> Any:
    if is_dataclass(kind):
        if kind is Component and isinstance(value, str):
            value = {"name": value}
        return from_tree(kind, value, key)  # type: ignore[arg-type] # a dataclass type, not an instance
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in get_args(kind):
            return None
        return _check(next(k for k in get_args(kind) if k is not type(None)), value, key, limits)
    if origin is tuple:
        parts = get_args(kind)
        if not isinstance(value, list | tuple) or (parts[-1] is not Ellipsis and len(value) != len(parts)):
            raise _wrong(key, value, "a list" if parts[-1] is Ellipsis else f"a list of {len(parts)} values")
        kinds = [parts[0]] * len(value) if parts[-1] is Ellipsis else parts
        return tuple(_check(k, v, f"{key}[{i}]", {}) for i, (k, v) in enumerate(zip(kinds, value, strict=True)))
    if origin is dict or kind is dict:
        if not isinstance(value, Mapping):
            raise _wrong(key, value, "a mapping")
        return dict(value)
    word = "yes" if value is True else "no"
    if kind is str and isinstance(value, bool) and word in limits.get("choices", ()):
        value = word  # YAML 1.1 reads the bare words yes and no as true and false
    return _within(_scalar(kind, value, key), key, limits)


def _scalar(kind: Any, value: Any, key: str) -> Any:
    if kind is bool and isinstance(value, bool):
        return value
    if kind is str and isinstance(value, str):
        return value
    # YAML 1.1 reads 1e-4 and 1e5 as text: numbers are parsed again here
    if kind is int and not isinstance(value, bool):
        if isinstance(value, int):
            return value
        number = _try(float, value)
        if number is not None and number.is_integer():
            return int(number)
    elif kind is float and not isinstance(value, bool):
        # YAML 1.1 reads 1e-4 as text: numbers are parsed again here
        number = _try(float, value)
        if number is not None:
            if not math.isfinite(number):
                raise _wrong(key, value, "a finite number")
            return number
    raise _wrong(
        key, value, {bool: "true or false", int: "a whole number", float: "a number", str: "text"}.get(kind, str(kind))
    )


def _try(convert: Callable[[Any], float], value: Any) -> float | None:
    try:
        return convert(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _within(value: Any, key: str, limits: Mapping[str, Any]) -> Any:
    low, high, choices = limits.get("low"), limits.get("high"), limits.get("choices")
    if low is not None and value < low:
        raise _wrong(key, value, f"at least {low}")
    if high is not None and value > high:
        raise _wrong(key, value, f"at most {high}")
    if choices and value not in choices:
        raise ConfigError(
            f"{key} = {value!r}, expected one of {', '.join(choices)}", _nearest(str(value), list(choices))
        )
    return value


def _wrong(key: str, value: Any, expected: str) -> ConfigError:
    return ConfigError(
        f"{key} = {value!r}, expected {expected}", f"change it with --set {key}=VALUE or in the YAML file"
    )


def _nearest(word: str, known: Sequence[str], prefix: str = "") -> str:
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean '{prefix}{near[0]}'?" if near else f"known: {', '.join(prefix + k for k in known)}"
