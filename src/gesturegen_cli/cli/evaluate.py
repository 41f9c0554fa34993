"""`gesturegen evaluate`: measure generated videos, or stage 1 alone, against a reference."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gesturegen_cli.cli.options import Common
from gesturegen_cli.errors import BatchFailure, ConfigError

if TYPE_CHECKING:
    from gesturegen_cli.evaluation.report import Report

MODES = ("generated", "reconstruction")
SPLITS = ("all", "train", "val", "test")


def evaluate(
    generated: Annotated[
        Path | None, typer.Argument(help="A generated video or a folder of them; not for --mode reconstruction.")
    ] = None,
    reference: Annotated[
        Path | None, typer.Option("--reference", "-r", help="A dataset, a folder of videos or a video.", metavar="DATA")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for metrics.json.", metavar="REPORT")
    ] = None,
    model: Annotated[
        str, typer.Option("--model", "-m", help="Bundle whose motion features are used.", metavar="BUNDLE")
    ] = "base",
    mode: Annotated[str, typer.Option("--mode", help="generated, or reconstruction: stage 1 alone.")] = "generated",
    split: Annotated[str, typer.Option("--split", help="Clips of a reference dataset: all, train, val, test.")] = "all",
    *,
    common: Common,
) -> None:
    """Measure generated videos against a reference: PSNR, SSIM, L1, FGD, DIV, BAS."""
    _check(generated, reference, mode, split)
    if output is not None and output.exists() and not output.is_dir():
        raise ConfigError(f"--output {output.name!r} is a file, expected a folder", "name another folder")
    config = common.load_config()
    from gesturegen_cli.bundle import open_bundle
    from gesturegen_cli.evaluation.evaluate import evaluate_generated, evaluate_reconstruction
    from gesturegen_cli.evaluation.report import report_folder, save_report
    from gesturegen_cli.pipeline import choose_device

    bundle, device = open_bundle(model), choose_device(config.device)
    console = common.console
    with report_folder(output) if output else nullcontext(), console.progress("evaluate") as on_progress:
        if mode == "reconstruction":
            report = evaluate_reconstruction(
                _given(reference), bundle, device=device, split=split, on_progress=on_progress
            )
        else:
            report = evaluate_generated(
                _given(generated),
                _given(reference),
                bundle,
                device=device,
                rng_seed=config.rng_seed,
                split=split,
                on_progress=on_progress,
            )
    for warning in report.warnings:
        console.warn(warning)
    path = save_report(output, report) if output is not None else None
    _show(report, path, common)
    if report.failed:
        listed = "; ".join(f"{item['id']}: {item['message']}" for item in report.failed[:5])
        raise BatchFailure(
            f"{len(report.failed)} videos could not be measured: {listed}", "the numbers are those of the others"
        )


def _check(generated: Path | None, reference: Path | None, mode: str, split: str) -> None:
    if mode not in MODES:
        raise ConfigError(f"--mode {mode}, expected one of {', '.join(MODES)}", "")
    if split not in SPLITS:
        raise ConfigError(f"--split {split}, expected one of {', '.join(SPLITS)}", "")
    if reference is None:
        raise ConfigError("no reference was given", "gesturegen evaluate GENERATED --reference DATA")
    if mode == "generated" and generated is None:
        raise ConfigError("no generated videos were given", "gesturegen evaluate GENERATED --reference DATA")
    if mode == "reconstruction" and generated is not None:
        raise ConfigError(f"--mode reconstruction takes no generated videos, got {generated.name!r}", "leave them out")


def _given(path: Path | None) -> Path:
    if path is None:
        raise ConfigError("a path is missing", "see gesturegen evaluate --help")
    return path


def _show(report: Report, path: Path | None, common: Common) -> None:
    from io import StringIO

    from rich.console import Console as RichConsole

    from gesturegen_cli.evaluation.report import report_table

    text = StringIO()
    RichConsole(file=text, width=110).print(report_table(report))
    place = f"\nwritten to {path}" if path else ""
    common.console.result(text.getvalue().rstrip() + place, report=str(path) if path else None, **asdict(report))
