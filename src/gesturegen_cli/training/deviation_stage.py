"""Stage 1: a deviation model learns from pairs of frames of one clip (`gesturegen pretrain-deviation`)."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from gesturegen_cli.bundle import Bundle, BundleSpec, load_component, load_tensors, open_bundle, write_bundle
from gesturegen_cli.config.schema import Component, Config
from gesturegen_cli.data.cache import cache_folder
from gesturegen_cli.data.frames import cache_frames
from gesturegen_cli.data.manifest import MANIFEST, Dataset, read_dataset
from gesturegen_cli.data.pairs import FramePairs
from gesturegen_cli.errors import ConfigError, InputError
from gesturegen_cli.training.cards import model_card, training_facts
from gesturegen_cli.training.components import build_sized, describe
from gesturegen_cli.training.loop import Stage, Summary, fit, limit_threads
from gesturegen_cli.training.losses import Objective, OwnLosses, model_of, reconstruct, trainee
from gesturegen_cli.training.run_log import Run, open_run
from gesturegen_cli.training.vgg_weights import load_vgg19

CHECK_PAIRS = 32
"""Fixed pairs, not augmented, that are reconstructed for checks."""
DRAWN_PAIRS = 4
"""Of them, those drawn into the sample."""
CHECK_SEED = 1

Callback = Callable[[int, int], None]


def pretrain_deviation(
    data: Path,
    run_folder: Path,
    config: Config,
    *,
    init: str | None = None,
    keep_motion: bool = False,
    cache: Path | None = None,
    command: tuple[str, ...] = (),
    on_clip: Callback | None = None,
    on_step: Callback | None = None,
) -> Summary:
    """Train a deviation model on the dataset in `data`; the same call again continues. The result is `RUN/bundle`.

    `init` names a bundle to start from. With `keep_motion` its motion features mean the same afterwards, bit for bit:
    the parts that read them do not learn, and the result has the denoiser of `init`, where it has one.
    InputError: no dataset, no training clips, sizes that differ, no weights in the file for the perceptual loss.
    ConfigError: the run folder holds another run, the settings leave no step in which anything moves, or motion cannot
    be kept.
    """
    if config.deviation_loss.still_steps >= config.pretrain.steps:
        found = f"nothing moves in the first {config.deviation_loss.still_steps} of {config.pretrain.steps} steps"
        raise ConfigError(f"{found}: no motion would be learned", "--set deviation_loss.still_steps=0, or more --steps")
    if keep_motion and init is None:
        raise ConfigError("there is no motion to keep without a bundle to start from", "add --init BUNDLE")
    limit_threads(config.pretrain)
    dataset = read_dataset(data)
    if not dataset.split("train"):
        raise InputError(f"dataset {data} has no training clips", "run gesturegen preprocess on more videos")
    start = open_bundle(init) if init else None
    objective = Objective(config.deviation_loss, load_vgg19(config.deviation_loss.vgg19))
    inputs = {"data": dataset_digest(dataset), "init": start.digest if start else ""}
    if config.deviation_loss.vgg19:
        with open(config.deviation_loss.vgg19, "rb") as file:
            inputs["perceptual"] = hashlib.file_digest(file, "sha256").hexdigest()
    if keep_motion:
        inputs["kept"] = "motion"
    record: dict[str, Any] = {"stage": "deviation", "config": _relevant(config), "inputs": inputs}
    record |= {"data": str(dataset.root), "command": list(command)}
    with torch.random.fork_rng():  # modules draw their first weights from torch's global state
        torch.manual_seed(config.rng_seed)
        module = build_deviation(config.deviation, dataset.size, start)
    kept = _kept(module, start) if keep_motion and start is not None else None
    with open_run(run_folder, record) as run:
        stage = _stage(dataset, module, objective, config, run, cache_folder(cache), inputs, kept, on_clip)
        return fit(stage, config.pretrain, run, rng_seed=config.rng_seed, device=config.device, on_step=on_step)


@dataclass(frozen=True)
class _Kept:
    """What a run with `keep_motion` leaves as it is."""

    parts: tuple[nn.Module, ...]
    start: Bundle
    tensors: dict[str, dict[str, Tensor]]
    """Of the other components of `start`."""
    fits_half: bool
    """Whether float16 holds all weights of `start` exactly."""


def _kept(module: nn.Module, start: Bundle) -> _Kept:
    """The parts of the model that motion features depend on (its `motion_parts`), and what speaks."""
    names = getattr(module, "motion_parts", ())
    if not names:
        found = f"the deviation model '{start.components['deviation'].name}' does not say which parts read motion"
        raise ConfigError(found, "leave --keep-motion out, and train stage 2 afterwards")
    tensors = {role: load_tensors(start, role) for role, c in start.components.items() if c.file}
    values = (value for group in tensors.values() for value in group.values() if value.is_floating_point())
    fits_half = all(torch.equal(value, value.half().float()) for value in values)
    del tensors["deviation"]
    return _Kept(tuple(module.get_submodule(name) for name in names), start, tensors, fits_half)


def dataset_digest(dataset: Dataset) -> str:
    """sha256 of the manifest, which carries the sha256 of every file of the dataset."""
    return hashlib.sha256((dataset.root / MANIFEST).read_bytes()).hexdigest()


def _relevant(config: Config) -> dict[str, Any]:
    """The parts of the configuration that stage 1 depends on."""
    tree = dataclasses.asdict(config)
    return {key: tree[key] for key in ("rng_seed", "deviation", "pretrain", "deviation_loss")}


def build_deviation(component: Component, size: int, start: Bundle | None) -> nn.Module:
    """The model of the configuration for pictures of `size`, or that of a bundle with its weights."""
    if start is None:
        module = build_sized("deviation_models", component, **({} if "size" in component.params else {"size": size}))
    else:
        found = start.components["deviation"]
        changed = {key: value for key, value in component.params.items() if found.params.get(key) != value}
        if found.name != component.name or changed:
            asked = f"'{component.name}' {changed or ''}".strip()
            message = f"{start.path} holds the deviation model '{found.name}', asked for is {asked}"
            raise ConfigError(message, "leave deviation.params out with --init, or leave --init out")
        module = load_component(start, "deviation")
    if module.size != size:
        message = f"the deviation model works on {module.size} x {module.size} pixels, the dataset has {size} x {size}"
        raise InputError(
            message, f"make the dataset with --set preprocess.size={module.size} (digital speakers: --size)"
        )
    model: nn.Module = module.requires_grad_(True).to(memory_format=torch.channels_last)
    return model


def _stage(
    dataset: Dataset,
    module: nn.Module,
    objective: Objective,
    config: Config,
    run: Run,
    cache: Path,
    inputs: Mapping[str, str],
    kept: _Kept | None,
    on_clip: Callback | None,
) -> Stage:
    training = cache_frames(dataset.split("train"), cache, on_clip)
    validation = cache_frames(dataset.split("val"), cache)
    pairs = FramePairs(training, config.pretrain.batch, config.rng_seed)
    unseen = validation if any(store.count > 1 for store in validation) else training
    checked = FramePairs(unseen, CHECK_PAIRS, CHECK_SEED, augment=False)
    own_losses = isinstance(module, OwnLosses)
    anchored = kept is None and inputs["init"] and config.deviation_loss.anchor and own_losses
    anchor = copy.deepcopy(module).eval().requires_grad_(False) if anchored else None
    if not own_losses:
        with torch.random.fork_rng():
            torch.manual_seed(config.rng_seed)
            module = trainee(module, config.deviation_loss.adversarial > 0)

    def losses(
        module: nn.Module, batch: Mapping[str, Tensor], generator: torch.Generator, step: int
    ) -> Mapping[str, Tensor]:
        if anchor is not None and "source_joints" not in batch:
            both = torch.cat([batch["source_input"], batch["driving_input"]])
            with torch.no_grad():
                batch = {**batch, "anchor": anchor.to(both.device).encode(both)}  # type: ignore[operator] # by contract
        return objective(module, batch, generator, step)

    def check(model: nn.Module, step: int) -> dict[str, float]:
        return check_pairs(model_of(model), checked.batch(0), run.samples / f"{step:08d}.png")

    def export(model: nn.Module, summary: Summary) -> None:
        facts = training_facts("deviation", dataset, summary, inputs)
        half = config.pretrain.bundle_dtype == "float16" and (kept is None or kept.fits_half)
        export_deviation(run.bundle, model_of(model), dataset, config.deviation.name, facts, half, kept)

    frozen = kept.parts if kept is not None else ()
    return Stage(module, pairs.batch, losses, objective.weights, check, export, frozen)


@torch.no_grad()
def check_pairs(model: nn.Module, batch: Mapping[str, Tensor], picture: Path) -> dict[str, float]:
    """Errors of reconstructed pairs beside those of copying the source; draws rows of source, driving, output."""
    device = next(model.parameters()).device
    source, driving = batch["source"].to(device), batch["driving"].to(device)
    output = reconstruct(model, source, driving).float().clamp(0, 1)  # type: ignore[arg-type] # by contract of the registry
    error, copied = (output - driving).abs().mean(), (source - driving).abs().mean()
    save_rows(picture, [t[:DRAWN_PAIRS] for t in (source, driving, output)])
    return {
        "check_l1": float(error),
        "check_l1_ratio": float(error / copied.clamp_min(1e-6)),
        "check_psnr": _psnr(output, driving),
        "check_psnr_copied": _psnr(source, driving),
    }


def _psnr(pictures: Tensor, target: Tensor) -> float:
    """Mean over pictures `b 3 h w` of their peak signal-to-noise ratio in dB."""
    squared = (pictures - target).square().mean((1, 2, 3)).clamp_min(1e-8)
    return float((-10 * squared.log10()).mean())


def save_rows(path: Path, columns: list[Tensor]) -> None:
    """A PNG whose row i shows picture i of every column, each `k 3 h w` in [0, 1]."""
    rows = torch.cat([torch.cat(list(column), 1) for column in columns], 2)
    pixels = rows.permute(1, 2, 0).mul(255).round().to(torch.uint8).cpu().numpy()
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.ascontiguousarray(pixels)).save(path)


def export_deviation(
    path: Path,
    model: nn.Module,
    dataset: Dataset,
    name: str,
    facts: Mapping[str, Any],
    half: bool,
    kept: _Kept | None = None,
) -> None:
    """Write a bundle; `half` stores float16. Of the start of `kept`, what speaks stays."""
    component = describe("deviation_models", name, model)
    spec = BundleSpec("deviation", dataset.size, {}, fps=dataset.fps, training={"deviation": dict(facts)})
    components, tensors = {"deviation": component}, {"deviation": model.state_dict()}
    title = "Deviation model"
    purpose = "A deviation model (stage 1 of gesturegen): animates a picture of a person with motion features."
    if kept is not None:
        before = kept.start.spec
        components |= {role: other for role, other in kept.start.components.items() if role != "deviation"}
        tensors |= kept.tensors
        spec = dataclasses.replace(before, components={}, training={**before.training, **spec.training})
        title = "Speech to gesture video" if before.kind == "full" else title
        purpose = f"The bundle {kept.start.digest[:12]}, whose deviation model has learned more since."
    names = {role: other.name for role, other in components.items() if role != "normalizer"}
    write_bundle(path, spec, components, tensors, model_card(title, purpose, names, spec.training), half)
