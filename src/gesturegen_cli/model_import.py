"""Weights of other projects to bundles: an importer reads and renames, here they are held against the plugins.

Tensors stay mapped to the checkpoint until they are written, so that even a large one needs little memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gesturegen_cli import registry
from gesturegen_cli.bundle import (
    MANIFEST,
    ROLES,
    Bundle,
    BundleSpec,
    ComponentSpec,
    listed,
    misfits,
    require_replaceable,
    sampling_of,
    write_bundle,
)
from gesturegen_cli.config.load import from_tree, merge, parse_set
from gesturegen_cli.data.normalizer import Normalizer
from gesturegen_cli.diffusion.longform import check_overlap
from gesturegen_cli.errors import BundleError, ConfigError, InputError
from gesturegen_cli.media.files import printable, require_file, shown
from gesturegen_cli.types import ImportedComponent, ImportedModel

AGAIN = "is it complete, and of this kind?"
MOST = 4
"""Lines told of each kind of misfit."""


@dataclass(frozen=True)
class Import:
    """What was imported, and the bundle it became."""

    bundle: Bundle
    model: ImportedModel
    facts: Mapping[str, Any]
    """What the manifest's `training` says about the import."""


def import_model(
    kind: str,
    files: Sequence[Path],
    output: Path,
    settings: Sequence[str] = (),
    half: bool = False,
    replace: bool = False,
) -> Import:
    """Turn checkpoints into a bundle in the folder `output`, written whole or not at all.

    `kind` names an importer, `settings` are `key=value` of its `Config`; `half` stores float16; `replace` allows that
    an older bundle is replaced. Nothing in `files` is executed.

    Raises ConfigError: unknown kind or setting, output exists. InputError: not such a checkpoint, damaged, or tensors
    that are missing, unexpected, misshapen or not finite. EnvironmentFault: the disk.
    """
    params: dict[str, Any] = {}
    for assignment in settings:
        params = merge(params, parse_set(assignment))
    importer = registry.build("importers", kind, params)
    _check_output(output, files, replace)
    model: ImportedModel = importer(files)
    _check_parts(kind, model)
    stored = torch.float16 if half else torch.float32
    modules = {role: _fitted(role, part, model, files, stored) for role, part in model.components.items()}
    count = sum(value.numel() for part in model.components.values() for value in part.tensors.values())
    facts = {
        "stage": "import",
        "importer": kind,
        "origin": model.origin,
        "files": [{"name": printable(file.name), "sha256": _digest(file)} for file in files],
        "tensors": len(model.names),
        "values": count,
    }
    components = {role: _describe(role, part, modules[role]) for role, part in model.components.items()}
    tensors = {role: _as_stored(part.tensors) for role, part in model.components.items()}
    if "denoiser" in modules:
        components["normalizer"] = ComponentSpec("normalizer")
        tensors["normalizer"] = _normalizer(model, modules["deviation"].motion_dim, stored)
    spec = _spec(model, modules["deviation"].size, facts)
    check_overlap(sampling_of(spec).overlap, spec.window)
    card = _card(model, components, facts)
    return Import(write_bundle(output, spec, components, tensors, card, half), model, facts)


def _spec(model: ImportedModel, size: int, facts: Mapping[str, Any]) -> BundleSpec:
    """The manifest with the importer's settings in it, checked like any other."""
    tree = dict(model.settings)
    kind = "full" if "denoiser" in model.components else "deviation"
    known = {"fps", "window", "diffusion", "sampling"}
    if not tree.keys() <= known:
        foreign = ", ".join(sorted(tree.keys() - known))
        raise ConfigError(f"importer sets {foreign}, it may set {', '.join(sorted(known))}", "repair the importer")
    tree |= {"kind": kind, "size": size, "components": {}, "training": {"import": facts}, "licence": model.licence}
    return from_tree(BundleSpec, tree)


def _check_parts(kind: str, model: ImportedModel) -> None:
    """Refuse what makes no bundle: every one has a deviation model, and who draws motion also hears."""
    missing = {"deviation"} | ({"audio_encoder"} if "denoiser" in model.components else set())
    missing -= model.components.keys()
    if missing:
        raise ConfigError(f"importer '{kind}' gives no {' and no '.join(sorted(missing))}", "repair the importer")


def _normalizer(model: ImportedModel, motion_dim: int, stored: torch.dtype) -> dict[str, Tensor]:
    given = model.normalizer or {"mean": torch.zeros(motion_dim), "std": torch.ones(motion_dim)}
    if not all(bool(value.to(stored).isfinite().all()) for value in given.values()):
        raise InputError("the normalizer of the checkpoint holds values that are not finite", AGAIN)
    kept = {name: value.to(stored).float() for name, value in given.items()}
    try:
        Normalizer.from_tensors(kept, motion_dim)
    except BundleError as error:
        raise InputError(f"the checkpoint's {error.message}", AGAIN) from error
    return kept


def _check_output(output: Path, files: Sequence[Path], replace: bool) -> None:
    """Refuse early what `write_bundle` would refuse late, an older bundle, and a folder that holds an input."""
    places = [require_file(file, "checkpoint")[0].resolve() for file in files]
    if len(set(places)) < len(places):
        raise ConfigError("one checkpoint is named twice", "name each file once")
    require_replaceable(output)
    if (output / MANIFEST).is_file() and not replace:
        raise ConfigError(f"bundle {shown(output)!r} exists", "add --exists overwrite, or name another folder with -o")
    for file in files:
        if output.exists() and output.resolve() in file.resolve().parents:
            found = f"output {shown(output)!r} holds the input {shown(file)!r}"
            raise ConfigError(found, "name another folder with -o")


def _fitted(
    role: str, part: ImportedComponent, model: ImportedModel, files: Sequence[Path], stored: torch.dtype
) -> Any:
    """The plugin's module without memory for weights, when all tensors fit into it; InputError lists what does not."""
    if role not in ROLES:
        raise ConfigError(f"importer gives a part '{role}', expected one of {', '.join(ROLES)}", "repair the importer")
    with torch.device("meta" if part.tensors else "cpu"):  # constants that are computed need a real device
        module = registry.build(ROLES[role], part.plugin, part.params)
    own: dict[str, Tensor] = module.state_dict()
    wrong = misfits(own, part.tensors)
    # Values come last: only a tensor of the right shape is surely as large as it says.
    wrong = wrong or [line for name, value in part.tensors.items() for line in _faults(name, value, own[name], stored)]
    if wrong:
        kinds = ("missing ", "unexpected ", "")
        groups = [[printable(line) for line in wrong if next(filter(line.startswith, kinds)) == kind] for kind in kinds]
        told = "; ".join(listed(group, MOST) for group in groups if group)
        raise InputError(
            f"checkpoint {', '.join(shown(file) for file in files)!r} does not fit '{part.plugin}': {told}",
            f"is it complete, and of this kind ({model.origin})?",
        )
    return module


def _faults(name: str, value: Tensor, own: Tensor, stored: torch.dtype) -> Iterable[str]:
    if value.is_floating_point() != own.is_floating_point() or value.is_complex():
        yield f"{name} holds {value.dtype}, expected {own.dtype}"
    elif value.is_floating_point():
        if not bool(torch.isfinite(value.float()).all()):
            yield f"{name} holds values that are not finite"
        elif not bool(torch.isfinite(value.to(stored)).all()):
            yield f"{name} holds values too large for {stored} (leave out --half)"


def _as_stored(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}


def _describe(role: str, part: ImportedComponent, module: Any) -> ComponentSpec:
    provider = registry.find_plugin(ROLES[role], part.plugin).provider
    return ComponentSpec(part.plugin, asdict(module.config), provider)


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _card(model: ImportedModel, components: Mapping[str, ComponentSpec], facts: Mapping[str, Any]) -> str:
    """A README for the bundle, made of facts only."""
    lines = [
        "# Imported model",
        "",
        f"Made by `gesturegen models import` from {model.origin}.",
        "",
        "## Components",
        "",
    ]
    lines += [f"- {role}: `{component.name}`" for role, component in components.items()]
    lines += ["", "## Source", "", *(f"- {key}: {value}" for key, value in facts.items()), "", "## Licence", ""]
    unstated = "The origin states none for these weights: ask the authors before you pass them on or build on them."
    lines += [unstated if model.licence == "unstated" else model.licence]
    lines += ["", "## Use", "", "Videos made with this bundle are AI-generated and marked as such."]
    lines += ["Ask people for consent before you animate their picture."]
    return "\n".join(lines) + "\n"
