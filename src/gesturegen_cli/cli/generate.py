"""`gesturegen generate`: videos of a speaking person from speech and pictures."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gesturegen_cli.cli.console import Console, as_known
from gesturegen_cli.cli.options import Common
from gesturegen_cli.errors import BatchFailure, ConfigError, GesturegenError, InputError

if TYPE_CHECKING:
    from gesturegen_cli.cli.jobs import Job, Plan
    from gesturegen_cli.config.schema import Config, Sampling
    from gesturegen_cli.pipeline import Pipeline
    from gesturegen_cli.rendering import Source

Failures = list[tuple["Job", GesturegenError]]


@dataclass(frozen=True)
class _Request:
    """What holds for all videos of one command."""

    config: Config
    size: str | None
    fps: float | None
    motion_out: Path | None
    console: Console


def generate(
    inputs: Annotated[
        list[Path] | None,
        typer.Argument(help="Speech (or videos, for their sound), pictures, and folders of them, in any order."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="NAME.mp4 for one video, else a folder. Default: SPEECH.mp4 here."),
    ] = None,
    model: Annotated[str, typer.Option("--model", "-m", help="Bundle: a folder, or an embedded one.")] = "base",
    steps: Annotated[int | None, typer.Option("--steps", help="Sampling steps.")] = None,
    guidance: Annotated[float | None, typer.Option("--guidance", help="How closely motion follows speech.")] = None,
    energy: Annotated[
        float | None, typer.Option("--energy", help="Scale of movement; 0 is still, 1 as learned.")
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            "--size", help="'model', 'native' (the whole picture), or a side in pixels.", metavar="N|model|native"
        ),
    ] = None,
    fps: Annotated[
        float | None, typer.Option("--fps", help="Frames per second; default: the model's.", min=1, max=120)
    ] = None,
    precision: Annotated[
        str | None, typer.Option("--precision", help="Numbers in which frames are computed: auto, fp32 or bf16.")
    ] = None,
    motion_out: Annotated[
        Path | None, typer.Option("--motion-out", help="Keep the motion of one video as .safetensors.", metavar="FILE")
    ] = None,
    exists: Annotated[
        str | None,
        typer.Option("--exists", help="skip, overwrite or error. Default: error for one video, skip in a batch."),
    ] = None,
    pair: Annotated[
        str | None, typer.Option("--pair", help="Many with many: zip (by order), name (same file name) or product.")
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option("--manifest", help="CSV or JSON lines: speech, picture, output[, seed, energy, consent]."),
    ] = None,
    *,
    common: Common,
) -> None:
    """Make videos of the person in a picture, gesturing to speech. Writes NAME.mp4 and its record NAME.json.

    One speech goes with every picture and one picture with every speech; many with many need --pair. Run an
    interrupted batch again and it continues. A bad file in a batch costs its own video only.
    """
    from gesturegen_cli.cli.job_manifest import plan_manifest
    from gesturegen_cli.cli.jobs import plan_jobs, protect_inputs
    from gesturegen_cli.cli.outputs import split_finished
    from gesturegen_cli.data.video_record import record_path

    console = common.console
    configure = partial(
        common.load_config,
        sampling__steps=steps,
        sampling__guidance=guidance,
        sampling__energy=energy,
        sampling__render_precision=precision,
    )
    configure()  # a wrong setting shows before anything is looked at
    if manifest is not None and (inputs or pair):
        raise ConfigError("--manifest names all inputs itself, and there are others", "leave out the others and --pair")
    plan = plan_manifest(manifest, output) if manifest is not None else plan_jobs(inputs or [], output, pair)
    _protect_motion(plan, motion_out, exists)
    written = [path for job in plan.jobs for path in (job.output, record_path(job.output))]
    read = [path for job in plan.jobs for path in (job.speech, job.picture)]
    protect_inputs(
        [*written, *([motion_out] if motion_out else [])],
        [*read, *(path for path in (manifest, common.config, *(inputs or [])) if path is not None)],
    )
    for note in plan.ignored:
        console.say(f"left out: {note}")
    todo, done = split_finished(plan.jobs, exists or ("skip" if plan.batch else "error"))
    for job in done:
        console.event("skipped", path=str(job.output))
        console.say(f"done already: {job.output}")
    if todo:
        from gesturegen_cli.bundle import open_bundle

        config = configure({"sampling": open_bundle(model).spec.sampling})
        _run(todo, plan.batch, model, _Request(config, size, fps, motion_out, console))


def _protect_motion(plan: Plan, motion_out: Path | None, exists: str | None) -> None:
    """Refuse a motion file that would be written several times, or over something."""
    if motion_out is None:
        return
    if plan.batch:
        raise ConfigError("--motion-out keeps the motion of one video, this is a batch", "run that pair alone")
    if motion_out.suffix.lower() != ".safetensors":
        raise ConfigError(
            f"--motion-out = '{motion_out.name}', expected a name that ends in .safetensors",
            "for example m.safetensors",
        )
    if motion_out.exists() and exists != "overwrite":
        raise ConfigError(f"motion file '{motion_out.name}' exists", "add --exists overwrite, or name another file")


def _run(jobs: Sequence[Job], batch: bool, model: str, request: _Request) -> None:
    """Check all inputs, load the model once, make the videos one by one."""
    from gesturegen_cli.bundle import open_bundle
    from gesturegen_cli.cli.outputs import locked, making_folder
    from gesturegen_cli.pipeline import Pipeline, choose_device
    from gesturegen_cli.rendering import check_size

    console = request.console
    spec = open_bundle(model).spec
    check_size(request.size, spec.size)
    choose_device(request.config.device)
    good, failures, seconds = _check_inputs(jobs, console, batch)
    if good:
        frames = round(seconds * (request.fps or spec.fps))
        plural = "s" * (len(good) != 1)
        console.say(f"{len(good)} video{plural}: {seconds:.1f} s of speech, {frames} frames, model {Path(model).name}")
        console.event("plan", videos=len(good), seconds=round(seconds, 3), frames=frames)
        with ExitStack() as held:
            if not batch:  # before the model loads, so that a second run is refused at once
                held.enter_context(making_folder(good[0].output.parent))
                held.enter_context(locked(good[0].output))
            pipeline = Pipeline.from_pretrained(model, device=request.config.device)
            if not batch:
                _make(pipeline, good[0], None, request, frames)
            else:
                failures += _make_all(pipeline, good, request, frames)
    if failures:
        named = "; ".join(f"{job.output.name}: {error.message}" for job, error in failures[:5])
        more = f"; and {len(failures) - 5} more" if len(failures) > 5 else ""
        hint = "repair or leave out the inputs named, and run the same command again: what is done is kept"
        raise BatchFailure(f"{len(failures)} of {len(jobs)} videos were not made: {named}{more}", hint)


def _check_inputs(jobs: Sequence[Job], console: Console, batch: bool) -> tuple[list[Job], Failures, float]:
    """Open every input once, before any model loads: (usable jobs, failures, seconds of speech of the usable ones)."""
    from gesturegen_cli.media.audio import load_audio
    from gesturegen_cli.media.image import load_image

    seconds: dict[Path, float] = {}
    errors: dict[Path, GesturegenError] = {}
    checked: set[Path] = set()
    good: list[Job] = []
    failures: Failures = []
    for job in jobs:
        for path in (job.speech, job.picture):
            if path in checked:
                continue
            checked.add(path)
            try:
                if path == job.speech:
                    seconds[path] = load_audio(path).seconds
                else:
                    load_image(path)
            except GesturegenError as refused:
                errors[path] = refused
        error = errors.get(job.speech) or errors.get(job.picture)
        if job.consent == "no":
            error = InputError("the manifest says consent = no for it", "leave the row out, or get consent first")
        if error is None:
            good.append(job)
        elif not batch:
            raise error
        else:
            failures.append((job, error))
            _report_failure(console, job, error)
    return good, failures, sum(seconds[job.speech] for job in good)


def _report_failure(console: Console, job: Job, error: GesturegenError) -> None:
    console.event("failed", path=str(job.output), message=error.message, hint=error.hint, exit_code=error.exit_code)
    console.say(f"failed: {job.output.name}: {error.message}")


def _make_all(pipeline: Pipeline, jobs: Sequence[Job], request: _Request, frames: int) -> Failures:
    """The videos of a batch; a job that fails is reported and the next one follows."""
    from gesturegen_cli.cli.outputs import locked, making_folder

    failures: Failures = []
    source: Source | None = None
    last: Path | None = None
    for number, job in enumerate(jobs, 1):
        request.console.event("job", number=number, of=len(jobs), path=str(job.output))
        request.console.say(f"[{number}/{len(jobs)}] {job.speech.name} with {job.picture.name}")
        try:
            if job.picture != last:
                source, last = None, None
            with making_folder(job.output.parent), locked(job.output):
                source, last = _make(pipeline, job, source, request, frames if number == 1 else 0), job.picture
        except Exception as error:
            known = as_known(error)
            if known is None:
                raise
            failures.append((job, known))
            _report_failure(request.console, job, known)
    return failures


def _make(pipeline: Pipeline, job: Job, source: Source | None, request: _Request, estimate: int) -> Source:
    """One video and its record; returns its source. `estimate`: frames whose expected time is told first, 0: none."""
    from gesturegen_cli.data.motion_file import save_motion

    console, config = request.console, request.config
    sampling = config.sampling if job.energy is None else replace(config.sampling, energy=job.energy)
    rng_seed = config.rng_seed if job.rng_seed is None else job.rng_seed
    source = source or pipeline.load_source(job.picture)
    if estimate:
        expected = _expected_seconds(pipeline, source, sampling, estimate, request.size)
        console.say(f"about {expected:.0f} s to go")
        console.event("estimate", seconds=round(expected, 1))
    with console.progress("motion", "windows") as update:
        video = pipeline(
            job.speech,
            source,
            sampling=sampling,
            rng_seed=rng_seed,
            size=request.size,
            fps=request.fps,
            on_window=update,
        )
    if job.consent:
        video = replace(video, info={**video.info, "consent": job.consent})
    for warning in video.info["warnings"]:
        console.warn(warning)
    if request.motion_out is not None:
        save_motion(request.motion_out, video.motion)
    with console.progress("rendering") as update:
        info = video.save(job.output, on_frame=lambda done: update(done, video.frame_count))
    console.result(str(job.output), path=str(job.output), **info)
    return source


def _expected_seconds(pipeline: Pipeline, source: Source, sampling: Sampling, frames: int, size: str | None) -> float:
    """Rough: the time of one rendered batch, and a third more for drawing motion and encoding."""
    from gesturegen_cli.types import MotionSequence

    batch = sampling.render_batch
    still = MotionSequence(pipeline.neutral_pose(source).expand(batch, -1), pipeline.bundle.spec.fps)
    one_batch = partial(pipeline.render, still, source, batch=batch, size=size, precision=sampling.render_precision)
    next(one_batch())  # the first batch also sets things up
    started = time.monotonic()
    next(one_batch())
    return 1.33 * frames * (time.monotonic() - started) / batch
