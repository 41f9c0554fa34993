"""`gesturegen plugins`: what is installed, what can be set, whether it conforms, and how to begin another."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gesturegen_cli.cli import options
from gesturegen_cli.cli.console import as_known
from gesturegen_cli.cli.options import Common
from gesturegen_cli.errors import ConfigError, EnvironmentFault, QualityFailure

if TYPE_CHECKING:
    from gesturegen_cli.registry import Plugin
    from gesturegen_cli.testing import Check

TALK = ("json", "verbose", "quiet")
SIZES = {"motion_dim": 98, "audio_dim": 68, "frames": 80, "seed_frames": 4}
"""What gesturegen fills in when it builds a denoiser, here with the values of the embedded bundle."""

KindOption = Annotated[
    str | None,
    typer.Option("--kind", help="audio_encoders, denoisers, deviation_models or importers.", metavar="KIND"),
]

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="List, describe, check and begin plugins.",
)


def list_all(kind: KindOption = None, *, common: Common) -> None:
    """List what is installed. Imports none of it."""
    from gesturegen_cli import registry
    from gesturegen_cli.cli.console import columns

    rows = []
    for group in [kind] if kind else registry.GROUPS:
        found = registry.list_plugins(group)
        rows += [_row(plugin, registry.plugin_status(plugin, found)) for plugin in found]
    headings = ("name", "kind", "distribution", "version", "source", "status")
    common.console.result(columns(headings, [[str(row[h]) for h in headings] for row in rows]), plugins=rows)


def _row(plugin: Plugin, status: str) -> dict[str, Any]:
    facts = {"name": plugin.name, "kind": plugin.kind, "distribution": plugin.provider, "version": plugin.version}
    return facts | {"source": plugin.target, "status": status}


def info(
    name: Annotated[str, typer.Argument(help="Name of a plugin.")], kind: KindOption = None, *, common: Common
) -> None:
    """Show what a plugin is and what can be set in it. Imports it."""
    import inspect

    from gesturegen_cli import registry
    from gesturegen_cli.config.describe import settings_of

    plugin = _find(name, kind)
    cls = registry.load_plugin(plugin.kind, name)
    settings = settings_of(cls.Config)
    facts = _row(plugin, registry.plugin_status(plugin, registry.list_plugins(plugin.kind)))
    about = inspect.cleandoc(cls.__dict__.get("__doc__") or "")  # not that of a class it inherits from
    lines = [f"{key}: {value}" for key, value in facts.items() if value]
    lines += ["", about, "", "settings:"]
    for setting in settings:
        default = "has to be given" if setting.default is MISSING else f"default {setting.default!r}"
        lines.append(f"  {setting.name}: {setting.values}, {default}")
        lines += [f"      {setting.note}"] if setting.note else []
    told = [
        {
            "name": setting.name,
            "values": setting.values,
            "required": setting.default is MISSING,
            "default": None if setting.default is MISSING else setting.default,
            "note": setting.note,
        }
        for setting in settings
    ]
    common.console.result("\n".join(lines), **facts, about=about, settings=told)


def check(
    name: Annotated[str, typer.Argument(help="Name of a plugin.")], kind: KindOption = None, *, common: Common
) -> None:
    """Hold a plugin against the conformance kit. --set KEY=VALUE sets what its Config has.

    Large models take time and memory: make them small with --set.
    """
    plugin = _find(name, kind)
    console, failed = common.console, []
    try:
        checks = _checks(plugin, common.set)
    except ConfigError as error:  # here settings are given without the prefix that they have elsewhere
        prefix = f"{name}.params."
        raise ConfigError(error.message.replace(prefix, ""), error.hint.replace(prefix, "")) from error
    for number, claim in enumerate(checks, 1):
        fault = _fault(claim)
        failed += [fault] if fault else []
        text = f"{'FAIL' if fault else 'pass'}  {claim.claim}" + (f"\n      {fault}" if fault else "")
        console.result(text, number=number, claim=claim.claim, ok=not fault, fault=fault)
    if failed:
        raise QualityFailure(f"{plugin.kind[:-1].replace('_', ' ')} '{name}' of {plugin.provider}: {failed[0]}", "")


def _checks(plugin: Plugin, assignments: tuple[str, ...]) -> list[Check]:
    if plugin.kind == "importers":
        raise ConfigError(f"'{plugin.name}' is an importer, which is checked with a checkpoint", "use models import")
    from gesturegen_cli import testing
    from gesturegen_cli.config.load import merge, parse_set
    from gesturegen_cli.config.schema import Component
    from gesturegen_cli.training.components import build_sized

    params: dict[str, Any] = {}
    for assignment in assignments:
        params = merge(params, parse_set(assignment))
    sizes = {key: value for key, value in SIZES.items() if key not in params}
    part = build_sized(plugin.kind, Component(plugin.name, params), **(sizes if plugin.kind == "denoisers" else {}))
    if plugin.kind == "audio_encoders":
        return testing.audio_encoder_checks(part)
    if plugin.kind == "deviation_models":
        return testing.deviation_model_checks(part)
    wanted = {key: getattr(part.config, key, value) for key, value in SIZES.items()}
    return testing.denoiser_checks(part, **wanted)


def _fault(check: Check) -> str:
    """What is wrong, empty if nothing is. Whatever a plugin raises is its fault, and told in a line."""
    try:
        check.run()
    except AssertionError as error:
        return str(error) or "an assertion of its own fails"
    except (Exception, SystemExit) as error:  # the kit runs code of strangers
        if as_known(error) is not None:
            raise  # not a fault of the plugin: it says what it lacks, for example weights; or memory is short
        return f"{type(error).__name__}: {' '.join(str(error).split())}"
    return ""


def new(
    kind: Annotated[str, typer.Argument(help="audio_encoders, denoisers or deviation_models.", metavar="KIND")],
    name: Annotated[str, typer.Argument(help="Name of the plugin, for example my-ears.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder to make. Default: gesturegen-NAME here.")
    ] = None,
    *,
    common: Common,
) -> None:
    """Write a plugin package that works: one module, one test, README and pyproject. Change it into yours."""
    import shlex

    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise ConfigError(f"name {name!r}, expected small letters, digits and single hyphens", "for example my-ears")
    files = dict(_filled(kind, name))
    _require_new(kind, name)
    folder = output or Path(f"gesturegen-{name}")
    try:
        _write_all(Path(os.path.realpath(folder)), files)
    except OSError as error:
        raise EnvironmentFault(f"cannot write '{folder}' ({error.strerror})", "name another folder with -o") from error
    step = f"pip install -e {shlex.quote(str(folder))}"
    text = f"{folder}: {', '.join(sorted(files))}\n{step}, then: gesturegen plugins check {name}"
    common.console.result(text, path=str(folder), files=sorted(files), next=step)


def _require_new(kind: str, name: str) -> None:
    """Refuse names that are taken: a module of that name would hide the one that is there, or be hidden by it."""
    from importlib.util import find_spec

    from gesturegen_cli import registry

    module = _module(name)
    taken = next((f"'{name}' of {p.provider}" for p in registry.list_plugins(kind) if p.name == name), "")
    if not taken and find_spec(module) is not None:
        taken = f"the module {module}"
    if taken:
        raise ConfigError(f"name {name!r} is taken: {taken} is installed", "choose another name")


def _write_all(folder: Path, files: Mapping[str, str]) -> None:
    """Write text files into a folder that is empty or not there; all of them or none."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise EnvironmentFault(f"'{folder}' exists", "name another folder with -o")
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        for file, text in files.items():
            (folder / file).write_text(text, encoding="utf-8")
    except BaseException:
        for file in files:
            (folder / file).unlink(missing_ok=True)
        if made:
            folder.rmdir()
        raise


def _module(name: str) -> str:
    return "gesturegen_" + name.replace("-", "_")


def _filled(kind: str, name: str) -> Iterator[tuple[str, str]]:
    """File name -> text of the template of a kind, with the plugin's own names in it."""
    from importlib import resources

    from gesturegen_cli.registry import GROUPS

    classes = {"audio_encoders": "Encoder", "denoisers": "Denoiser", "deviation_models": "Deviation"}
    uses = {
        "audio_encoders": f"gesturegen train DATA RUN --deviation base --set audio_encoder={name}",
        "denoisers": f"gesturegen train DATA RUN --deviation base --set denoiser={name}",
        "deviation_models": f"gesturegen pretrain-deviation DATA RUN --set deviation={name}",
    }
    if kind not in classes:
        raise ConfigError(f"no template for the kind {kind!r}, there are: {', '.join(classes)}", "see docs/plugins.md")
    module, title = _module(name), "".join(word.capitalize() for word in name.split("-"))
    words = {
        "gesturegen-template": f"gesturegen-{name}",
        "gesturegen_template": module,
        f"Template{classes[kind]}": title + classes[kind],
        "template": name,
        "KIND": kind[:-1].replace("_", " ").capitalize(),
        "GROUP": GROUPS[kind].split(".")[1],
        "CLASS": title + classes[kind],
        "USE": uses[kind],
    }
    pattern = re.compile("|".join(rf"(?<![A-Za-z]){re.escape(word)}(?![a-z])" for word in words))
    folder = resources.files("gesturegen_cli") / "templates"
    sources = {
        f"{module}.py": f"{kind}.py",
        f"test_{module}.py": f"test_{kind}.py.txt",
        "pyproject.toml": "pyproject.toml.txt",
        "README.md": "README.md.txt",
    }
    for file, source in sources.items():
        text = (folder / source).read_text(encoding="utf-8")
        yield file, pattern.sub(lambda found: words[found.group()], text)


def _find(name: str, kind: str | None) -> Plugin:
    """The plugin of that name; among several kinds the one asked for."""
    from gesturegen_cli import registry

    if kind is not None:
        return registry.find_plugin(kind, name)
    kinds = [group for group in registry.GROUPS if any(p.name == name for p in registry.list_plugins(group))]
    if len(kinds) == 1:
        return registry.find_plugin(kinds[0], name)
    if kinds:
        raise ConfigError(f"'{name}' is the name of {' and '.join(kinds)}", f"say which with --kind {kinds[0]}")
    names = sorted({p.name for group in registry.GROUPS for p in registry.list_plugins(group)})
    raise ConfigError(f"unknown plugin '{name}', installed: {', '.join(names)}", "gesturegen plugins list shows more")


app.command("list")(options.command(list_all, TALK))
app.command("info")(options.command(info, TALK))
app.command("check")(options.command(check, (*TALK, "set")))
app.command("new")(options.command(new, TALK))
