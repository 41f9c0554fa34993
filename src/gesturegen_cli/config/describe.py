"""What can be set in a configuration dataclass, in words: for pages and for `gesturegen plugins info`."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterable
from dataclasses import MISSING, Field, dataclass, fields
from typing import Any, get_type_hints

WORDS = {
    dict[str, Any]: "mapping",
    bool: "true or false",
    int: "whole number",
    float: "number",
    str: "text",
    tuple[float, float]: "two numbers",
    tuple[float, float, float]: "three numbers",
}


@dataclass(frozen=True)
class Setting:
    """One field of a configuration dataclass."""

    name: str
    default: Any
    """`dataclasses.MISSING` where a value has to be given."""
    values: str
    """What may stand there, in words."""
    note: str
    """The text under the field in the source."""


def settings_of(owner: Any, owned: Iterable[Field[Any]] | None = None, instance: Any = None) -> list[Setting]:
    """The fields of a dataclass (or those named), with the values of `instance` as defaults where one is given."""
    notes, hints = _notes(owner), get_type_hints(owner)
    return [
        Setting(
            field.name,
            _default(field) if instance is None else getattr(instance, field.name),
            _values(field, hints[field.name]),
            notes.get(field.name, ""),
        )
        for field in (fields(owner) if owned is None else owned)
    ]


def _default(field: Field[Any]) -> Any:
    return field.default_factory() if field.default_factory is not MISSING else field.default


def _values(field: Field[Any], kind: Any) -> str:
    if "choices" in field.metadata:
        return ", ".join(field.metadata["choices"])
    name = WORDS.get(kind, str(kind).replace("typing.", ""))
    low, high = field.metadata.get("low"), field.metadata.get("high")
    if low is not None and high is not None:
        return f"{name}, {low} to {high}"
    return f"{name}, at least {low}" if low is not None else name


def _notes(owner: Any) -> dict[str, str]:
    """The text under each field in the source; nothing where there is no source."""
    try:
        source = textwrap.dedent(inspect.getsource(owner))
    except (OSError, TypeError):
        return {}
    notes, name = {}, ""
    for node in getattr(ast.parse(source).body[0], "body", []):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            name = node.target.id
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and name:
            notes[name] = " ".join(str(node.value.value).split())
            name = ""
    return notes
