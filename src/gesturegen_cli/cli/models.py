"""`gesturegen models`: see, check and import model bundles."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gesturegen_cli.cli import options
from gesturegen_cli.cli.console import Console, columns
from gesturegen_cli.cli.options import Common
from gesturegen_cli.errors import BatchFailure, ConfigError, GesturegenError, InputError

if TYPE_CHECKING:
    from gesturegen_cli.bundle import Bundle

TALK = ("json", "verbose", "quiet")
"""Shared options that mean something to commands which compute nothing."""
EXISTS = ("error", "overwrite")

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="List, describe, check and import model bundles.",
)


def list_models(
    folders: Annotated[list[Path] | None, typer.Argument(help="Folders to search, for example runs.")] = None,
    *,
    common: Common,
) -> None:
    """List the bundles that come along and those below the folders given."""
    for folder in folders or []:
        if not folder.is_dir():
            what = "is a file" if folder.exists() else "does not exist"
            raise InputError(f"'{folder}' {what}, expected a folder to search", "name a folder that holds bundles")
    embedded = Path(str(resources.files("gesturegen_cli") / "bundles"))
    rows, failures = [], []
    for root in [embedded, *(folders or [])]:
        found = list(_bundle_folders(root))
        if not found:
            common.console.say(f"no bundle in '{root}'")
        for path in found:
            try:
                rows.append(_row(path, path.name if root == embedded else str(path)))
            except GesturegenError as error:
                failures.append(error.message)
                common.console.warn(error.message)
    headings = ("name", "kind", "components", "size", "licence", "MB")
    common.console.result(columns(headings, [[str(row[h]) for h in headings] for row in rows]), bundles=rows)
    if failures:
        raise BatchFailure(f"{len(failures)} bundles cannot be read: {failures[0]}", "copy them again, or remove them")


def info(
    bundle: Annotated[str, typer.Argument(help="A bundle folder, or the name of an embedded one.")], *, common: Common
) -> None:
    """Show what a bundle says about itself. Reads no weights."""
    from dataclasses import asdict

    from gesturegen_cli.bundle import open_bundle

    opened = open_bundle(bundle)
    spec = {key: value for key, value in asdict(opened.spec).items() if key != "components"}
    parts = {role: {**asdict(part), **_stored(opened, role)} for role, part in opened.components.items()}
    facts = {"path": str(opened.path), "digest": opened.digest, "megabytes": _megabytes(opened.path), **spec}
    facts["components"] = parts
    common.console.result("\n".join(_tree(facts)), **facts)


def verify(
    bundles: Annotated[list[str], typer.Argument(help="Bundle folders, or names of embedded ones.")], *, common: Common
) -> None:
    """Check hashes, names, shapes and values of all tensors, and that the plugins named are installed."""
    from gesturegen_cli.bundle import verify_bundle

    failures: list[tuple[str, GesturegenError]] = []
    for name in bundles:
        try:
            bundle = verify_bundle(name)
        except GesturegenError as error:
            if len(bundles) == 1:
                raise
            failures.append((name, error))
            common.console.result(f"bad   {name}: {error.message}", bundle=name, ok=False, message=error.message)
        else:
            parts = ", ".join(bundle.components)
            text = f"good  {name}: {bundle.spec.kind}, {parts}, digest {bundle.digest[:12]}"
            common.console.result(text, bundle=name, ok=True, kind=bundle.spec.kind, digest=bundle.digest)
    if failures:
        listed = ", ".join(name for name, _ in failures[:5])
        raise BatchFailure(f"{len(failures)} of {len(bundles)} bundles are bad: {listed}", failures[0][1].hint)


def import_model(
    files: Annotated[
        list[Path], typer.Argument(help="The checkpoint: a torch.save or safetensors file. Some kinds take several.")
    ],
    kind: Annotated[str, typer.Option("--kind", help="Whose checkpoint it is, for example ssl.", metavar="NAME")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the new bundle.", metavar="BUNDLE")],
    half: Annotated[bool, typer.Option("--half", help="Store float16: half the size.")] = False,
    exists: Annotated[str, typer.Option("--exists", help="error or overwrite, when the bundle exists.")] = "error",
    *,
    common: Common,
) -> None:
    """Turn published weights of another project into a bundle. Nothing in the checkpoint is executed.

    --set KEY=VALUE sets what the importer of that kind has as settings.
    """
    if exists not in EXISTS:
        raise ConfigError(f"--exists {exists}, expected one of {', '.join(EXISTS)}", "")
    from gesturegen_cli import registry

    registry.find_plugin("importers", kind)  # a wrong name shows before PyTorch is loaded
    from gesturegen_cli import model_import

    done = model_import.import_model(kind, files, output, common.set, half, exists == "overwrite")
    console, licence = common.console, done.model.licence
    _tell_names(console, done.model.names)
    if licence == "unstated":
        console.warn(
            f"the origin ({done.model.origin}) states no licence for these weights: "
            "ask its authors before you pass the bundle on or build on it"
        )
    text = f"{output}: {done.bundle.spec.kind}, {done.facts['tensors']} tensors, {_megabytes(output)} MB"
    result = {**done.facts, "path": str(output), "digest": done.bundle.digest, "licence": licence}
    console.result(text, **result, names=done.model.names)


def _tell_names(console: Console, names: Mapping[str, str]) -> None:
    """Which tensor became which: every one with -v, else by the first two parts of the names."""
    if console.verbose:
        for foreign, own in names.items():
            console.say(f"{foreign} -> {own}")
        return
    groups = Counter(_group(foreign, own) for foreign, own in names.items())
    for (foreign, own), count in groups.items():
        console.say(f"{foreign} -> {own}  ({count} tensors)")


def _group(foreign: str, own: str) -> tuple[str, str]:
    """Both names without what follows the second part of the new one."""
    parts = own.split(".")
    tail = len(parts) - min(2, len(parts) - 1)
    return ".".join([*foreign.split(".")[:-tail], "*"]), ".".join([*parts[:-tail], "*"])


def _bundle_folders(root: Path) -> Iterator[Path]:
    """Bundles at or below a folder, in order; links and hidden folders are left out."""
    from gesturegen_cli.bundle import MANIFEST

    for place, folders, files in os.walk(root):
        folders[:] = [] if MANIFEST in files else sorted(name for name in folders if not name.startswith("."))
        if MANIFEST in files:
            yield Path(place)


def _row(path: Path, name: str) -> dict[str, Any]:
    from gesturegen_cli.bundle import open_bundle

    bundle = open_bundle(path)
    parts = ", ".join(component.name for role, component in bundle.components.items() if role != "normalizer")
    row: dict[str, Any] = {"name": name, "kind": bundle.spec.kind, "components": parts, "size": bundle.spec.size}
    return row | {"licence": bundle.spec.licence, "MB": _megabytes(path)}


def _megabytes(path: Path) -> float:
    return round(sum(file.stat().st_size for file in path.iterdir() if file.is_file()) / 1e6, 1)


def _stored(bundle: Bundle, role: str) -> dict[str, int]:
    """How many tensors and numbers a component's file holds, by its header."""
    import math

    from gesturegen_cli.tensor_file import read_header

    file = bundle.components[role].file
    if not file:
        return {"tensors": 0, "values": 0}
    shapes = [entry["shape"] for name, entry in read_header(bundle.path / file).items() if name != "__metadata__"]
    return {"tensors": len(shapes), "values": sum(math.prod(shape) for shape in shapes)}


def _tree(values: Mapping[str, Any], depth: int = 0) -> Iterator[str]:
    """`key: value` lines, nested mappings indented, what is empty left out."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield f"{'  ' * depth}{key}:"
            yield from _tree(value, depth + 1)
        elif value not in ("", {}):
            yield f"{'  ' * depth}{key}: {value}"


app.command("list")(options.command(list_models, TALK))
app.command("info")(options.command(info, TALK))
app.command("verify")(options.command(verify, TALK))
app.command("import")(options.command(import_model, (*TALK, "set")))
