"""Model bundles: a folder with `gesturegen.yaml`, one safetensors file per component and a model card.

Nothing in a bundle is ever executed: the YAML is plain and checked against a schema, it may name registered
plugins only, and weights are safetensors whose sha256, names, shapes and values are checked (reliability T1).
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import shutil
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from gesturegen_cli import registry
from gesturegen_cli.config.load import from_tree, read_yaml
from gesturegen_cli.config.schema import MACHINE_KEYS, Diffusion, Sampling, Window
from gesturegen_cli.errors import BundleError, ConfigError, EnvironmentFault
from gesturegen_cli.media.files import is_running
from gesturegen_cli.tensor_file import check_header, write_tensors

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1
MANIFEST = "gesturegen.yaml"
ROLES = {"deviation": "deviation_models", "audio_encoder": "audio_encoders", "denoiser": "denoisers"}
"""Role in a bundle -> kind of plugin. The role `normalizer` holds plain tensors."""


@dataclass(frozen=True)
class ComponentSpec:
    """One component: which plugin, how it was configured, where its weights are."""

    name: str
    params: dict[str, Any] = field(default_factory=dict)
    provider: str = registry.OWN_DISTRIBUTION
    file: str = ""
    sha256: str = ""


@dataclass(frozen=True)
class BundleSpec:
    """What `gesturegen.yaml` says."""

    kind: str
    """`deviation` (stage 1 only) or `full` (speech to video)."""
    size: int
    components: dict[str, Any]
    format: int = FORMAT
    fps: float = 25.0
    window: Window = Window()
    diffusion: Diffusion = Diffusion()
    sampling: dict[str, Any] = field(default_factory=dict)
    """Settings of `config.schema.Sampling` that suit this bundle better than the defaults; the user's go before."""
    training: dict[str, Any] = field(default_factory=dict)
    licence: str = "unstated"


@dataclass(frozen=True)
class Bundle:
    """An opened bundle; weights are still on disk."""

    path: Path
    spec: BundleSpec
    components: dict[str, ComponentSpec]
    digest: str
    """sha256 over the manifest file, which carries the sha256 of every weights file."""

    @property
    def name(self) -> str:
        """Folder name, for messages and records."""
        return self.path.name

    @property
    def sampling(self) -> Sampling:
        """How motion is drawn unless the user says otherwise."""
        return sampling_of(self.spec)


def find_bundle(name: str | Path) -> Path:
    """A folder, or the name of an embedded bundle such as `base`."""
    path = Path(name)
    if not path.exists():
        with suppress(OSError):  # on a read-only disk it stays aside
            _take_back(path)
    if (path / MANIFEST).is_file():
        return path
    embedded = Path(str(resources.files("gesturegen_cli") / "bundles" / str(name)))
    if path.name == str(name) and (embedded / MANIFEST).is_file():
        return embedded
    what = "a folder without " + MANIFEST if path.is_dir() else "a file" if path.exists() else "not there"
    raise BundleError(f"no bundle '{name}' ({what})", "name a bundle folder, or 'base', which comes with gesturegen")


def open_bundle(name: str | Path) -> Bundle:
    """Read and check the manifest of a bundle. BundleError when it is damaged or of another format."""
    path = find_bundle(name)
    try:
        tree = read_yaml(path / MANIFEST)
        if tree.get("format") != FORMAT:
            raise BundleError(
                f"{path}: bundle format {tree.get('format')!r}, this version reads {FORMAT}", "upgrade gesturegen"
            )
        spec = from_tree(BundleSpec, tree)
        components = {role: from_tree(ComponentSpec, c, f"components.{role}") for role, c in spec.components.items()}
        sampling_of(spec)
    except ConfigError as error:
        raise BundleError(f"{path}: {error.message}", "the bundle is damaged: copy it again") from error
    for role, component in components.items():
        if component.file and (Path(component.file).name != component.file or component.file.startswith(".")):
            raise BundleError(f"{path}: components.{role}.file = {component.file!r}, expected a plain file name", "")
    if "deviation" not in components:
        raise BundleError(f"{path}: no deviation component, found {', '.join(components) or 'none'}", "is it a bundle?")
    return Bundle(path, spec, components, hashlib.sha256((path / MANIFEST).read_bytes()).hexdigest())


def sampling_of(spec: BundleSpec) -> Sampling:
    """What a manifest recommends, over the defaults; ConfigError where it cannot be."""
    for key in spec.sampling.keys() & set(MACHINE_KEYS):
        raise ConfigError(f"sampling.{key} is set, which is for each machine to choose", "leave it out")
    return from_tree(Sampling, {**asdict(Sampling()), **spec.sampling}, "sampling")


def load_tensors(bundle: Bundle, role: str) -> dict[str, Tensor]:
    """The checked tensors of one component, floats as float32."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load

    component = _component(bundle, role)
    path = bundle.path / component.file
    try:
        if not path.is_file():
            raise BundleError(f"{path} is missing", "copy the whole bundle folder again")
        data = path.read_bytes()
    except OSError as error:
        raise EnvironmentFault(f"cannot read {path} ({error.strerror})", "check the permissions") from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != component.sha256:
        expected = f"sha256 {digest[:12]}..., expected {component.sha256[:12]}..."
        raise BundleError(f"{path} is not the file the bundle was made with ({expected})", "copy the bundle again")
    check_header(data, path)
    try:
        tensors = load(data)
        del data
    except SafetensorError as error:
        raise BundleError(f"{path} is not a safetensors file ({error})", "copy the bundle again") from error
    for key, value in tensors.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise BundleError(f"{path}: tensor '{key}' holds values that are not finite", "the training went wrong")
    return {k: v.float() if v.is_floating_point() else v for k, v in tensors.items()}


def load_component(bundle: Bundle, role: str) -> Any:
    """Build a component by its plugin and fill it with the bundle's weights; in eval mode, on the CPU."""
    component = _component(bundle, role)
    tensors = load_tensors(bundle, role) if component.file else {}  # before the module, whose memory adds to this
    try:
        module = registry.build(ROLES[role], component.name, component.params)
    except ConfigError as error:
        raise BundleError(f"{bundle.path}: {role}: {error.message}", _how_to_get(role, component, error)) from error
    fill_module(module, tensors, f"{bundle.path / component.file}")
    return module.eval()


def _how_to_get(role: str, component: ComponentSpec, error: ConfigError) -> str:
    """The install line where a plugin of another package is missing, else the error's own hint."""
    installed = any(plugin.name == component.name for plugin in registry.list_plugins(ROLES[role]))
    if installed or component.provider == registry.OWN_DISTRIBUTION:
        return error.hint
    # The name comes from a file: it is put into a command only if it is the name of a package.
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", component.provider):
        return "ask whoever made the bundle for the plugin's package"
    return f"the bundle says: pip install {component.provider}. Do so only if you trust that package"


def fill_module(module: Any, tensors: Mapping[str, Tensor], where: str) -> None:
    """Strictly load tensors into a module; BundleError lists missing, unexpected and misshapen names."""
    wrong = misfits(module.state_dict(), tensors)
    if wrong:
        raise BundleError(
            f"{where} does not fit the model: {listed(wrong)}", "the bundle was made for another model or version"
        )
    module.load_state_dict(dict(tensors))


def misfits(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> list[str]:
    """What keeps `tensors` from filling a model whose state dict is `own`: a line per missing, extra or wrong name."""
    wrong = [f"missing {k}" for k in own if k not in tensors]
    wrong += [f"unexpected {k}" for k in tensors if k not in own]
    shapes = {k: (tuple(tensors[k].shape), tuple(own[k].shape)) for k in own if k in tensors}
    return wrong + [
        f"{k} is {found}, expected {expected}" for k, (found, expected) in shapes.items() if found != expected
    ]


def listed(lines: list[str], most: int = 5) -> str:
    """The first lines as one, and how many more there are."""
    return "; ".join(lines[:most]) + (f"; and {len(lines) - most} more" if len(lines) > most else "")


def _component(bundle: Bundle, role: str) -> ComponentSpec:
    if role not in bundle.components:
        hint = "train stage 2 first: gesturegen train DATA RUN --deviation BUNDLE"
        raise BundleError(f"{bundle.path} has no {role}, it holds {', '.join(bundle.components)}", hint)
    return bundle.components[role]


def write_bundle(
    path: Path,
    spec: BundleSpec,
    components: Mapping[str, ComponentSpec],
    tensors: Mapping[str, Mapping[str, Tensor]],
    card: str,
    half: bool = False,
) -> Bundle:
    """Write a whole bundle and put it in place of `path` at once; an older bundle there is replaced.

    `tensors` maps roles to named tensors; `half` stores floats as float16. A component without tensors needs
    no file.
    """
    sampling_of(spec)
    target = Path(os.path.realpath(path))  # a link stays, what it leads to is replaced
    require_replaceable(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    _tidy(target)
    partial = target.with_name(f".{target.name}.{os.getpid()}.part")
    partial.mkdir()
    try:
        done = {role: _write_component(partial, role, c, tensors.get(role, {}), half) for role, c in components.items()}
        tree = asdict(spec) | {"components": {role: asdict(c) for role, c in done.items()}}
        _write_synced(partial / "README.md", card.encode())
        _write_synced(partial / MANIFEST, yaml.safe_dump(_plain(tree), sort_keys=False, allow_unicode=True).encode())
        _replace_folder(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return open_bundle(path)


def require_replaceable(path: Path) -> None:
    """EnvironmentFault unless a bundle may be written to `path`: nothing is there, an empty folder, or a bundle."""
    if path.exists() and not path.is_dir():
        raise EnvironmentFault(f"{path} is a file, expected a bundle folder or nothing", "choose another folder")
    if path.exists() and not (path / MANIFEST).is_file() and any(path.iterdir()):
        raise EnvironmentFault(f"{path} exists and is not a bundle", "choose another folder")


def _write_component(
    folder: Path, role: str, component: ComponentSpec, tensors: Mapping[str, Tensor], half: bool
) -> ComponentSpec:
    if not tensors:
        return component
    import torch

    kept = {k: v.detach().cpu() for k, v in tensors.items()}
    if half:
        kept = {k: v.to(torch.float16) if v.is_floating_point() else v for k, v in kept.items()}
    name = f"{role}.safetensors"
    digest = write_tensors(folder / name, kept, {"gesturegen.kind": role, "gesturegen.format_version": str(FORMAT)})
    return ComponentSpec(component.name, component.params, component.provider, name, digest)


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _replace_folder(new: Path, path: Path) -> None:
    """Put `new` in place of `path`, in one step where the system can; what was there is then gone, or is `new`."""
    if not path.exists():
        new.rename(path)
    elif not _exchange(new, path):
        aside = _aside(path)
        path.rename(aside)  # killed here, the older bundle is only under this name: see `_take_back`
        try:
            new.rename(path)
        except BaseException:
            _take_back(path)
            raise
        shutil.rmtree(aside)
    with suppress(OSError):  # makes the rename durable where a folder can be opened
        handle = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _exchange(one: Path, two: Path) -> bool:
    """Swap two folders in one step; False, and nothing done, where the system (not Linux) or the disk cannot."""
    if sys.platform != "linux":
        return False
    try:
        renameat2 = ctypes.CDLL(None).renameat2
    except (OSError, AttributeError):
        return False
    here, exchange = -100, 2  # AT_FDCWD and RENAME_EXCHANGE
    return bool(renameat2(here, os.fsencode(one), here, os.fsencode(two), exchange) == 0)


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.old")


def _take_back(path: Path) -> None:
    """Undo a replacement that was killed half way: the older bundle gets its name again."""
    if not path.exists() and (_aside(path) / MANIFEST).is_file():
        _aside(path).rename(path)


def _tidy(path: Path) -> None:
    """Finish or undo what killed writers of this bundle left beside it."""
    _take_back(path)
    if (_aside(path) / MANIFEST).is_file():
        shutil.rmtree(_aside(path))
    pattern = re.compile(re.escape(f".{path.name}.") + r"(\d+)\.part")
    for entry in path.parent.iterdir():
        match = pattern.fullmatch(entry.name)
        if match and (int(match[1]) == os.getpid() or not is_running(int(match[1]))):
            shutil.rmtree(entry, ignore_errors=True)


def _plain(value: Any) -> Any:
    """Tuples to lists, so that the YAML stays plain."""
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value


def verify_bundle(name: str | Path) -> Bundle:
    """Check everything: manifest, hashes, tensor names and shapes. Returns the bundle or raises BundleError."""
    bundle = open_bundle(name)
    for role, component in bundle.components.items():
        if role in ROLES:
            load_component(bundle, role)
        elif component.file:
            load_tensors(bundle, role)
    return bundle
