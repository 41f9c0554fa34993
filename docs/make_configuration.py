"""Write docs/configuration.md from config/schema.py: python docs/make_configuration.py. A test says when it is due."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

from gesturegen_cli.config import schema
from gesturegen_cli.config.describe import settings_of

PAGE = Path(__file__).with_name("configuration.md")

INTRODUCTION = """# Configuration

Values are taken from, later ones winning: the defaults below, `--preset NAME`, `--config FILE` (YAML),
`--set KEY=VALUE` (any number of times), and options such as `--steps`. A key is given as a path on the command line,
`--set sampling.steps=12`, and nested in YAML:

```yaml
sampling:
  steps: 12
denoiser: transformer
```

Files are plain YAML of up to 1 MB in UTF-8, without aliases, tags or a key twice. An unknown key, a wrong type or a
value out of range ends with exit code 2, naming the key, the value and what was expected.

A component is a plugin by name; `params` go to that plugin, which checks them. Naming another plugin drops the old
one's params. `gesturegen.yaml` of a bundle holds the params it was trained with, and those are used to load it.

This page is made by `docs/make_configuration.py` from `src/gesturegen_cli/config/schema.py`.
"""


def page() -> str:
    """The whole page."""
    parts = [INTRODUCTION]
    hints = get_type_hints(schema.Config)
    plain = [f for f in fields(schema.Config) if not is_dataclass(hints[f.name])]
    parts.append(_table("Top level", "", _rows(schema.Config, plain, "", None)))
    for field in fields(schema.Config):
        kind = hints[field.name]
        if is_dataclass(kind):
            rows = _rows(kind, fields(kind), f"{field.name}.", field.default)
            parts.append(_table(f"`{field.name}`", inspect.getdoc(kind) or "", rows))
    return "\n".join(parts)


def _table(title: str, text: str, rows: Iterator[str]) -> str:
    head = f"## {title}\n" + (f"\n{text}\n" if text else "")
    return "\n".join([head, "| key | default | values | |", "|---|---|---|---|", *rows, ""])


def _rows(owner: Any, owned: Any, prefix: str, instance: Any) -> Iterator[str]:
    for setting in settings_of(owner, owned, instance):
        note = setting.note.replace("|", "\\|")
        yield f"| `{prefix}{setting.name}` | `{setting.default}` | {setting.values} | {note} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
