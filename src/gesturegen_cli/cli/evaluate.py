"""`gesturegen evaluate`: score videos, or the videos of bundles, against a reference."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gesturegen_cli.cli.options import Common
from gesturegen_cli.errors import BatchFailure, ConfigError, QualityFailure

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gesturegen_cli.cli.console import Progress
    from gesturegen_cli.config.schema import Config
    from gesturegen_cli.evaluation.results import Exhibit, Report
    from gesturegen_cli.evaluation.run import Request
    from gesturegen_cli.evaluation.view import View

SPLITS = ("all", "train", "val", "test")


Generated = Annotated[
    list[Path] | None, typer.Argument(help="Folders of generated videos (or single ones), one per system.")
]
Reference = Annotated[
    Path | None,
    typer.Option("--reference", "-r", "--data", help="A dataset, a folder of videos or a video.", metavar="DATA"),
]
Models = Annotated[
    list[str] | None,
    typer.Option("--model", "-m", help="Bundle whose videos of the reference are made and scored; repeatable."),
]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Folder for the report.", metavar="REPORT")]
Names = Annotated[str, typer.Option("--names", help="Names of the systems: ours,theirs.", metavar="A,B,...")]
Split = Annotated[str, typer.Option("--split", help="Clips of a reference dataset: all, train, val, test.")]
Metrics = Annotated[str | None, typer.Option("--metrics", help="all, paper, fast, or psnr,fgd,...", metavar="NAMES")]
Protocol = Annotated[Path | None, typer.Option("--protocol", help="Measure as that metrics.json was.", metavar="FILE")]
Baseline = Annotated[
    Path | None, typer.Option("--baseline", help="An older metrics.json to compare with.", metavar="FILE")
]
Gates = Annotated[
    str, typer.Option("--fail-under", help="psnr=20,fgd<5 or worse (than --baseline): else exit 7.", metavar="GATES")
]
Force = Annotated[bool, typer.Option("--force", help="Compare although protocols differ.")]
Estimator = Annotated[
    str, typer.Option("--estimator", help="Bundle that finds the joints in all videos.", metavar="BUNDLE")
]
Fgd = Annotated[Path | None, typer.Option("--fgd", help="Autoencoder of poses from --fit-fgd.", metavar="FILE")]
FitFgd = Annotated[
    Path | None, typer.Option("--fit-fgd", help="Fit an autoencoder of poses on the reference.", metavar="FILE")
]
I3d = Annotated[Path | None, typer.Option("--i3d", help="TorchScript I3D network for FVD.", metavar="FILE")]
LpipsFiles = Annotated[
    list[Path] | None, typer.Option("--lpips", help="AlexNet and LPIPS weights; repeatable.", metavar="FILE")
]
Html = Annotated[bool, typer.Option("--html/--no-html", help="Write report.html.")]


def evaluate(
    generated: Generated = None,
    reference: Reference = None,
    model: Models = None,
    output: Output = None,
    names: Names = "",
    split: Split = "all",
    metrics: Metrics = None,
    protocol: Protocol = None,
    baseline: Baseline = None,
    fail_under: Gates = "",
    force: Force = False,
    estimator: Estimator = "base",
    fgd: Fgd = None,
    fit_fgd: FitFgd = None,
    i3d: I3d = None,
    lpips: LpipsFiles = None,
    html: Html = True,
    *,
    common: Common,
) -> None:
    """Score generated videos against a reference: pictures, motion, speech, stability; with intervals and a report.

    GENERATED are videos of any program, matched with the reference by name. With -m the videos are made here: real
    motion rendered again (reconstruction), and motion drawn from the speech (speech), scored apart.
    """
    from gesturegen_cli.evaluation.gate import asks_for_worse, parse_gates

    gates, worse = parse_gates(fail_under), asks_for_worse(fail_under)
    if worse and baseline is None:
        raise ConfigError("--fail-under worse needs something to compare with", "add --baseline FILE")
    if reference is None:
        raise ConfigError("no reference was given", "gesturegen evaluate GENERATED --reference DATA")
    if fit_fgd is not None:
        unused = {"GENERATED": generated, "--model": model, "--output": output, "--names": names, "--metrics": metrics}
        unused |= {"--baseline": baseline, "--fail-under": fail_under, "--fgd": fgd, "--i3d": i3d, "--lpips": lpips}
        _check_fit(fit_fgd, unused)
    _check(generated, model, output, split, fit_fgd, reference)
    from gesturegen_cli.evaluation.report_files import load_metrics
    from gesturegen_cli.evaluation.run import Networks, Request

    older, repeated = (load_metrics(path) if path is not None else None for path in (baseline, protocol))
    config = _configure(common, metrics, repeated)
    request = Request(
        tuple(generated or ()),
        tuple(model or ()),
        reference,
        split,
        tuple(name.strip() for name in names.split(",")) if names else (),
        output,
        Networks(fgd, i3d, tuple(lpips or ()), estimator),
    )
    if fit_fgd is not None:
        with _told_what_is_kept(False):
            _fit(request, config, fit_fgd, common)
        return
    with _told_what_is_kept(bool(model)), _folder(output):
        report, exhibits, view = _run(request, config, older or repeated, force, common)
        _publish(report, exhibits, view, output, html, common)
    _judge(report, older, gates, worse, common)


def _check(
    generated: list[Path] | None,
    model: list[str] | None,
    output: Path | None,
    split: str,
    fit_fgd: Path | None,
    reference: Path,
) -> None:
    from gesturegen_cli.evaluation.items import check_there

    if split not in SPLITS:
        raise ConfigError(f"--split {split}, expected one of {', '.join(SPLITS)}", "")
    if not generated and not model and fit_fgd is None:
        raise ConfigError(
            "nothing to evaluate was given", "gesturegen evaluate GENERATED -r DATA, or -m BUNDLE -r DATA -o REPORT"
        )
    if model and output is None:
        raise ConfigError("a bundle is evaluated by its videos, which need a place", "add --output REPORT")
    if output is not None and output.exists() and not output.is_dir():
        raise ConfigError(f"--output {output.name!r} is a file, expected a folder", "name another folder")
    for path in (reference, *(generated or ())):
        check_there(path)  # here as well, as loading torch takes seconds


def _check_fit(target: Path, unused: Mapping[str, object]) -> None:
    """ConfigError where --fit-fgd does not end in .safetensors, or comes with one of `unused`, option -> value."""
    given = [name for name, value in unused.items() if value]
    if given:
        raise ConfigError(
            f"--fit-fgd only looks at the reference, and there is more: {', '.join(given)}",
            "leave the rest to a second run",
        )
    if target.suffix != ".safetensors":
        raise ConfigError(f"--fit-fgd {target.name!r}, expected a name that ends in .safetensors", "")


def _configure(common: Common, metrics: str | None, repeated: Report | None) -> Config:
    """The settings; those of an earlier evaluation lie under what the user gives now."""
    from gesturegen_cli.evaluation.metrics import choose_metrics

    base: Mapping[str, Any] | None = None
    if repeated is not None:
        base = {"evaluation": repeated.protocol.get("settings"), "rng_seed": repeated.protocol.get("rng_seed")}
    config = common.load_config(base, evaluation__metrics=metrics)
    choose_metrics(config.evaluation.metrics)  # a wrong name shows before anything is looked at
    return config


def _run(
    request: Request, config: Config, comparable_to: Report | None, force: bool, common: Common
) -> tuple[Report, list[Exhibit], View]:
    from gesturegen_cli.bundle import open_bundle
    from gesturegen_cli.evaluation.run import evaluate as run
    from gesturegen_cli.pipeline import choose_device

    samplings = {
        model: common.load_config({"sampling": open_bundle(model).spec.sampling}).sampling for model in request.models
    }
    with ExitStack() as stages:

        def on_stage(label: str, unit: str) -> Progress:
            stages.close()  # one bar at a time
            return stages.enter_context(common.console.progress(label, unit))

        return run(
            request,
            config,
            samplings,
            device=choose_device(config.device),
            comparable_to=comparable_to,
            force=force,
            on_stage=on_stage,
        )


def _fit(request: Request, config: Config, target: Path, common: Common) -> None:
    from gesturegen_cli.evaluation.fit_fgd import fit_fgd
    from gesturegen_cli.pipeline import choose_device

    failed: list[dict[str, str]] = []
    with common.console.progress("poses") as on_frames, common.console.progress("autoencoder", "steps") as on_step:
        device = choose_device(config.device)
        digest = fit_fgd(request, config, target, device=device, on_frames=on_frames, on_step=on_step, failed=failed)
    common.console.result(f"written to {target}\nsha256 {digest}", path=str(target), sha256=digest)
    if failed:
        listed = "; ".join(f"{one['id']}: {one['message']}" for one in failed[:5])
        raise BatchFailure(f"{len(failed)} videos could not be read: {listed}", "the others were taken")


def _publish(
    report: Report, exhibits: list[Exhibit], view: View, output: Path | None, html: bool, common: Common
) -> None:
    """Files, then the table; warnings on the way."""
    from io import StringIO

    from rich.console import Console as RichConsole

    from gesturegen_cli.evaluation.report_files import console_table, save_clip_table, save_metrics, save_tables
    from gesturegen_cli.evaluation.report_html import save_html

    console = common.console
    path = None
    if output is not None:
        path = save_metrics(output, report)
        save_clip_table(output, report)
        save_tables(output, report)
        if html:
            with console.progress("report", "clips") as on_exhibit:
                save_html(output, report, exhibits, fps=view.fps, size=view.size, on_exhibit=on_exhibit)
    for warning in report.warnings:
        console.warn(warning)
    text = StringIO()
    RichConsole(file=text, width=120).print(console_table(report))
    place = f"\nwritten to {output}" if output else ""
    console.result(text.getvalue().rstrip() + place, report=str(path) if path else None, **asdict(report))


def _judge(report: Report, older: Report | None, gates: Any, worse: bool, common: Common) -> None:
    """Exit 7 for gates that were not reached, 6 for videos that could not be measured."""
    from gesturegen_cli.evaluation.gate import changes, failed_gates, worse_scores
    from gesturegen_cli.evaluation.run import failures

    if older is not None:
        for line in changes(report, older):
            common.console.say(line)
    missed = failed_gates(report, gates) + (worse_scores(report, older) if worse and older is not None else [])
    if missed:
        raise QualityFailure("; ".join(missed), "the report was written all the same")
    unread = failures(report)
    if unread:
        listed = "; ".join(unread[:5])
        raise BatchFailure(
            f"{len(unread)} videos could not be measured: {listed}", "the numbers are those of the others"
        )


@contextmanager
def _told_what_is_kept(bundles: bool) -> Iterator[None]:
    """Say of an interrupted evaluation where the next one goes on: only the videos of bundles are kept."""
    from gesturegen_cli.cli.console import Terminated

    try:
        yield
    except (KeyboardInterrupt, Terminated) as error:
        kept = "it keeps the videos that were made, and measures anew" if bundles else "it begins anew"
        error.add_note(f"run the same command again: {kept}")
        raise


@contextmanager
def _folder(folder: Path | None) -> Iterator[None]:
    """Make the report's folder before the work, so that one that cannot be made shows early."""
    from gesturegen_cli.cli.outputs import making_folder

    with nullcontext() if folder is None else making_folder(folder):
        yield
