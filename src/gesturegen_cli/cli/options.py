"""Options that every command shares, and the wrapper that turns exceptions into messages and exit codes."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from gesturegen_cli.cli.console import Console, report_exception

if TYPE_CHECKING:
    from gesturegen_cli.config.schema import Config

JsonOption = Annotated[bool, typer.Option("--json", help="Events and results as JSON lines on stdout.")]
DeviceOption = Annotated[str | None, typer.Option("--device", help="auto, cpu or cuda.", metavar="NAME")]
SeedOption = Annotated[int | None, typer.Option("--seed", help="Random seed; the same seed gives the same result.")]
PresetOption = Annotated[str | None, typer.Option("--preset", help="Named starting configuration.", metavar="NAME")]
ConfigOption = Annotated[Path | None, typer.Option("--config", help="YAML file laid over the preset.", metavar="FILE")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="One setting, for example sampling.steps=12.", metavar="KEY=VALUE")
]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="More talk, and tracebacks.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Errors only.")]

SHARED: dict[str, tuple[Any, Any]] = {
    "json": (JsonOption, False),
    "device": (DeviceOption, None),
    "seed": (SeedOption, None),
    "preset": (PresetOption, None),
    "config": (ConfigOption, None),
    "set": (SetOption, None),
    "verbose": (VerboseOption, False),
    "quiet": (QuietOption, False),
}
"""Shared option -> (annotation, default). They may stand before or after the command's name."""


@dataclass(frozen=True)
class Common:
    """Values of the shared options, and the console they ask for."""

    json: bool = False
    device: str | None = None
    seed: int | None = None
    preset: str | None = None
    config: Path | None = None
    set: tuple[str, ...] = ()
    verbose: bool = False
    quiet: bool = False

    @property
    def console(self) -> Console:
        """Where this command talks."""
        return Console(json=self.json, verbose=self.verbose, quiet=self.quiet)

    def load_config(self, base: Mapping[str, Any] | None = None, **flags: Any) -> Config:
        """The checked configuration; `flags` are dotted keys with `__` for the dot, None meaning "not given".

        `base` is laid under all that the user gives.
        """
        from gesturegen_cli.config.load import load_config

        dotted = {key.replace("__", "."): value for key, value in flags.items()}
        dotted = {"device": self.device, "rng_seed": self.seed} | dotted
        return load_config(self.preset, self.config, self.set, dotted, base)


def _merged(before: dict[str, Any], after: dict[str, Any]) -> Common:
    given = {name: value for name, value in after.items() if value is not None and value is not False and value != []}
    values = {name: given.get(name, before.get(name)) for name in SHARED}
    values["set"] = (*(before.get("set") or ()), *(given.get("set") or ()))
    return Common(**{k: v for k, v in values.items() if v is not None})


def command(function: Callable[..., None], shared: Iterable[str] = tuple(SHARED)) -> Callable[..., None]:
    """Give a command the shared options (as its argument `common`) and the exit codes of errors.py.

    `shared` names the options that mean something to it.
    """
    chosen = {name: SHARED[name] for name in shared}
    hints = get_type_hints(function, include_extras=True)
    own = [p for p in inspect.signature(function).parameters.values() if p.name != "common"]
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [p.replace(annotation=hints[p.name], kind=keyword) for p in own]
    parameters += [inspect.Parameter(n, keyword, default=d, annotation=a) for n, (a, d) in chosen.items()]
    parameters.insert(0, inspect.Parameter("context", keyword, annotation=typer.Context))

    @functools.wraps(function)
    def run(context: typer.Context, **values: Any) -> None:
        common = _merged(context.obj or {}, {name: values.pop(name) for name in chosen})
        if common.verbose:
            common.console.follow_log()
        try:
            function(common=common, **values)
        except typer.Exit:
            raise
        except BaseException as error:
            raise typer.Exit(report_exception(error, common.console)) from error

    del run.__wrapped__  # Typer would follow it to the unextended signature
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined] # read by Typer
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    return run
