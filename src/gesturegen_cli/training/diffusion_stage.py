"""Stage 2: a denoiser learns motion from speech by diffusion (`gesturegen train`)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gesturegen_cli.bundle import (
    Bundle,
    ComponentSpec,
    fill_module,
    load_component,
    load_tensors,
    open_bundle,
    write_bundle,
)
from gesturegen_cli.config.schema import MACHINE_KEYS, Config, Sampling
from gesturegen_cli.data.cache import cache_folder, open_array
from gesturegen_cli.data.manifest import Clip, Dataset, read_dataset
from gesturegen_cli.data.motion_cache import MotionStore, cache_key, cache_motion
from gesturegen_cli.data.normalizer import Normalizer, fit_normalizer
from gesturegen_cli.data.windows import MotionWindows, plan_windows
from gesturegen_cli.diffusion.denoising import diffusion_loss, training_scheduler
from gesturegen_cli.diffusion.longform import check_overlap, sample_long
from gesturegen_cli.errors import InputError
from gesturegen_cli.media.video import iter_frames
from gesturegen_cli.training.cards import model_card, training_facts
from gesturegen_cli.training.components import build_sized, describe
from gesturegen_cli.training.deviation_stage import dataset_digest, save_rows
from gesturegen_cli.training.loop import Stage, Summary, choose_device, fit, limit_threads
from gesturegen_cli.training.run_log import Run, open_run
from gesturegen_cli.types import Conditioning

CHECK_BATCHES = 4
CHECK_SEED = 1
STRIP_FRAMES = 8

Callback = Callable[[int, int], None]


@dataclass(frozen=True)
class Models:
    """What stage 2 works with; only the denoiser learns."""

    bundle: Bundle
    """The bundle that the deviation model comes from."""
    deviation: Any
    encoder: Any
    denoiser: Any


@dataclass(frozen=True)
class Windows:
    """Training and validation windows; `dropped` clips were shorter than a window."""

    training: MotionWindows
    validation: MotionWindows
    dropped: int


def train_diffusion(
    data: Path,
    run_folder: Path,
    config: Config,
    *,
    deviation: str,
    init: str | None = None,
    cache: Path | None = None,
    command: tuple[str, ...] = (),
    on_clip: Callback | None = None,
    on_step: Callback | None = None,
    on_warning: Callable[[str], None] | None = None,
) -> Summary:
    """Train a denoiser on the dataset in `data`; the same call again continues. The result is `RUN/bundle`.

    `deviation` names the bundle whose motion is learned, `init` a full bundle to start from. InputError: no dataset,
    no clips as long as a window, sizes that differ. ConfigError: the run folder holds another run, or
    `sampling.overlap` is as long as a window.
    """
    limit_threads(config.train)
    check_overlap(config.sampling.overlap, config.window)  # here, not when the first pictures are drawn
    dataset = read_dataset(data)
    source = open_bundle(deviation)
    start = open_bundle(init) if init else None
    inputs = {
        "data": dataset_digest(dataset),
        "deviation": _model_key(source.components["deviation"]),
        "init": start.digest if start else "",
    }
    with torch.random.fork_rng():  # modules draw their first weights from torch's global state
        torch.manual_seed(config.rng_seed)
        models = load_models(source, start, config)
    _check_fit(dataset, models, source)
    record: dict[str, Any] = {"stage": "diffusion", "config": _relevant(config), "inputs": inputs}
    record |= {"data": str(dataset.root), "command": list(command)}
    with open_run(run_folder, record) as run:
        windows = load_windows(dataset, models, start, config, cache_folder(cache), on_clip)
        if windows.dropped and on_warning is not None:
            on_warning(f"{windows.dropped} clips are shorter than {config.window.frames} frames and were left out")
        stage = _stage(dataset, models, windows, config, run, inputs)
        return fit(stage, config.train, run, rng_seed=config.rng_seed, device=config.device, on_step=on_step)


def _model_key(component: ComponentSpec) -> str:
    """Names a model by its weights and its settings: both decide what motion it gives."""
    return cache_key(component.sha256, dict(component.params))


def _relevant(config: Config) -> dict[str, Any]:
    """The parts of the configuration that stage 2 depends on."""
    tree = dataclasses.asdict(config)
    return {key: tree[key] for key in ("rng_seed", "audio_encoder", "denoiser", "window", "diffusion", "train")}


def load_models(source: Bundle, start: Bundle | None, config: Config) -> Models:
    """Deviation model of `source`, audio encoder and denoiser of the configuration, weights of `start` where given."""
    deviation = load_component(source, "deviation")
    encoder = build_sized("audio_encoders", config.audio_encoder).eval().requires_grad_(False)
    denoiser = build_sized(
        "denoisers",
        config.denoiser,
        motion_dim=deviation.motion_dim,
        audio_dim=encoder.dim,
        frames=config.window.frames,
        seed_frames=config.window.seed_frames,
    )
    if start is not None:
        fill_module(denoiser, load_tensors(start, "denoiser"), f"{start.path}, denoiser")
        if "audio_encoder" in start.components and start.components["audio_encoder"].file:
            fill_module(encoder, load_tensors(start, "audio_encoder"), f"{start.path}, audio encoder")
    return Models(source, deviation, encoder, denoiser)


def _check_fit(dataset: Dataset, models: Models, source: Bundle) -> None:
    if not dataset.split("train"):
        raise InputError(f"dataset {dataset.root} has no training clips", "run gesturegen preprocess on more videos")
    size = models.deviation.size
    if dataset.size != size or dataset.fps != source.spec.fps:
        found = f"the dataset has {dataset.size} pixels at {dataset.fps:g} fps"
        hint = f"make the dataset with --set preprocess.size={size} --set preprocess.fps={source.spec.fps:g}"
        raise InputError(f"{found}, the deviation model works on {size} pixels at {source.spec.fps:g} fps", hint)


def _same_motion(one: Bundle, other: Bundle) -> bool:
    return _model_key(one.components["deviation"]) == _model_key(other.components["deviation"])


def load_windows(
    dataset: Dataset, models: Models, start: Bundle | None, config: Config, cache: Path, on_clip: Callback | None
) -> Windows:
    """Compute or find motion and audio features of all clips.

    The normaliser is that of `start`, or of the data where its motion is another model's: the same numbers mean
    something else there, and one that hardly moved would be blown up.
    """
    clips = [clip for clip in dataset.clips if clip.split in ("train", "val")]
    device = choose_device(config.device)
    deviation = models.deviation.fused() if hasattr(models.deviation, "fused") else models.deviation
    if hasattr(models.encoder, "load"):  # what it reads belongs to the key below, and into the bundle
        models.encoder.load()
    encoder_weights = {name: float(value.double().sum()) for name, value in models.encoder.state_dict().items()}
    listener = {"name": config.audio_encoder.name, "params": dataclasses.asdict(models.encoder.config)}
    stores = cache_motion(
        clips,
        cache,
        deviation=deviation.to(device),
        deviation_key=_model_key(models.bundle.components["deviation"]),
        encoder=models.encoder.to(device),
        encoder_key=cache_key(listener, encoder_weights),
        device=device,
        on_clip=on_clip,
    )
    training = tuple(store for store, clip in zip(stores, clips, strict=True) if clip.split == "train")
    long = tuple(store for store in stores if store not in training and store.frames >= config.window.frames)
    if start is None or not _same_motion(start, models.bundle):
        normalizer = fit_normalizer(torch.from_numpy(open_array(store.motion).copy()) for store in training)
    else:
        normalizer = Normalizer.from_tensors(load_tensors(start, "normalizer"), models.deviation.motion_dim)

    def windows(chosen: tuple[MotionStore, ...], seed: int) -> MotionWindows:
        plan = plan_windows(chosen, config.window)
        still = config.diffusion.static_start
        return MotionWindows(chosen, plan, config.window, normalizer, config.train.batch, seed, still)

    dropped = sum(store.frames < config.window.frames for store in training)
    return Windows(windows(training, config.rng_seed), windows(long or training, CHECK_SEED), dropped)


def _stage(
    dataset: Dataset, models: Models, windows: Windows, config: Config, run: Run, inputs: Mapping[str, str]
) -> Stage:
    scheduler = training_scheduler(config.diffusion)

    def losses(
        model: nn.Module, batch: Mapping[str, Tensor], generator: torch.Generator, step: int
    ) -> Mapping[str, Tensor]:
        loss, parts = diffusion_loss(model, batch["clean"], conditions(batch), scheduler, config.diffusion, generator)
        return {"diffusion": loss, **parts}

    @torch.no_grad()
    def check(model: nn.Module, step: int) -> dict[str, float]:
        device = next(model.parameters()).device
        generator, total = torch.Generator().manual_seed(CHECK_SEED), 0.0
        for number in range(CHECK_BATCHES):
            batch = {name: value.to(device) for name, value in windows.validation.batch(number).items()}
            total += float(losses(model, batch, generator, step)["diffusion"]) / CHECK_BATCHES
        clips = {clip.id: clip for clip in dataset.clips}
        shown = windows.validation.stores[windows.validation.plan[0][0]]
        draw_strip(run.samples / f"{step:08d}.png", models, model, windows.validation, clips[shown.clip], config)
        return {"check_diffusion": total}

    def export(model: nn.Module, summary: Summary) -> None:
        facts = training_facts("diffusion", dataset, summary, inputs)
        export_full(run.bundle, models, model, windows.training.normalizer, config, facts)

    return Stage(models.denoiser, windows.training.batch, losses, {"diffusion": 1.0}, check, export)


def conditions(batch: Mapping[str, Tensor]) -> Conditioning:
    """The batch as the denoiser's conditions: all seed frames are real, all audio may be heard."""
    seed = batch["seed"]
    keep = torch.ones(len(seed), device=seed.device)
    return Conditioning(batch["audio"], seed, torch.ones(seed.shape[:2], device=seed.device), batch["source"], keep)


@torch.no_grad()
def draw_strip(
    path: Path, models: Models, denoiser: nn.Module, windows: MotionWindows, clip: Clip, config: Config
) -> None:
    """A row of pictures: the first frame of a clip, then the motion drawn for its speech, from left to right."""
    device = next(denoiser.parameters()).device
    with closing(iter_frames(clip.video, fps=clip.fps, size=clip.size)) as frames:  # type: ignore[type-var] # a generator
        first = torch.from_numpy(next(frames).copy()).permute(2, 0, 1)[None].float().to(device) / 255
    deviation = models.deviation.to(device)
    state, own = deviation.encode_source(first), deviation.encode(first).float()
    normalized = windows.normalizer.normalize(deviation.neutralize(own, own[0])[0])
    store = next(store for store in windows.stores if store.clip == clip.id)
    audio = torch.from_numpy(open_array(store.audio)[: config.window.frames].copy()).to(device)
    drawn = sample_long(
        denoiser,
        audio,
        normalized,
        window=config.window,
        diffusion=config.diffusion,
        sampling=config.sampling,
        generator=torch.Generator().manual_seed(CHECK_SEED),
    )
    motion = deviation.retarget(windows.normalizer.denormalize(drawn.motion), state)
    kept = motion[:: max(1, len(motion) // STRIP_FRAMES)][:STRIP_FRAMES]
    images = [deviation.animate(state, row[None]).float().clamp(0, 1) for row in kept]
    save_rows(path, [first, *images])


def changed_sampling(sampling: Sampling) -> dict[str, Any]:
    """What differs from the defaults: a bundle recommends nothing else, so that better defaults reach old bundles.

    What depends on the machine is left out.
    """
    usual = dataclasses.asdict(Sampling())
    chosen = dataclasses.asdict(sampling).items()
    return {key: value for key, value in chosen if value != usual[key] and key not in MACHINE_KEYS}


def export_full(
    path: Path, models: Models, denoiser: nn.Module, normalizer: Normalizer, config: Config, facts: Mapping[str, Any]
) -> None:
    """Write a bundle of kind `full`: the given deviation model with all that stage 2 made."""
    spec = models.bundle.spec
    components = {
        "deviation": models.bundle.components["deviation"],
        "audio_encoder": describe("audio_encoders", config.audio_encoder.name, models.encoder),
        "denoiser": describe("denoisers", config.denoiser.name, denoiser),
        "normalizer": ComponentSpec("normalizer"),
    }
    tensors = {
        "deviation": load_tensors(models.bundle, "deviation"),
        "audio_encoder": models.encoder.state_dict(),
        "denoiser": denoiser.state_dict(),
        "normalizer": normalizer.tensors(),
    }
    training = {**spec.training, "diffusion": dict(facts)}
    full = dataclasses.replace(
        spec,
        kind="full",
        components={},
        window=config.window,
        diffusion=config.diffusion,
        sampling=changed_sampling(config.sampling),
        training=training,
    )
    purpose = "Speech and one picture to a video of the person gesturing (gesturegen, both stages)."
    names = {role: component.name for role, component in components.items() if role != "normalizer"}
    card = model_card("Speech to gesture video", purpose, names, training)
    write_bundle(path, full, components, tensors, card, half=config.train.bundle_dtype == "float16")
