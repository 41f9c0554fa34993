"""`gesturegen pretrain-deviation`: stage 1, motion features from a dataset of clips."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from gesturegen_cli.cli.options import Common

DataArgument = Annotated[Path, typer.Argument(metavar="DATA", help="Dataset folder made by gesturegen preprocess.")]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="Run folder; the same command again continues it.")]
InitOption = Annotated[str | None, typer.Option("--init", metavar="BUNDLE", help="Bundle to start the weights from.")]
StepsOption = Annotated[int | None, typer.Option("--steps", metavar="N", help="Steps in all.")]
BatchOption = Annotated[int | None, typer.Option("--batch", metavar="N", help="Samples per step and process.")]
CacheOption = Annotated[
    Path | None, typer.Option("--cache", metavar="DIR", help="Where decoded data is kept (default: the user's cache).")
]

KeepMotionOption = Annotated[
    bool, typer.Option("--keep-motion", help="With --init: train how people look, keep what reads and makes motion.")
]


def pretrain_deviation(
    data: DataArgument,
    run: RunArgument,
    init: InitOption = None,
    steps: StepsOption = None,
    batch: BatchOption = None,
    cache: CacheOption = None,
    keep_motion: KeepMotionOption = False,
    *,
    common: Common,
) -> None:
    """Stage 1: learn motion features and rendering from pairs of frames. The result is RUN/bundle.

    With --keep-motion and --init of a bundle that can speak, RUN/bundle is ready for gesturegen generate at once.
    """
    from gesturegen_cli.training import deviation_stage

    config = common.load_config(pretrain__steps=steps, pretrain__batch=batch)
    console = common.console
    with console.progress("read clips", "clips") as on_clip, console.progress("pretrain", "steps") as on_step:
        summary = deviation_stage.pretrain_deviation(
            data,
            run,
            config,
            init=init,
            keep_motion=keep_motion,
            cache=cache,
            command=tuple(sys.argv),
            on_clip=on_clip,
            on_step=on_step,
        )
    bundle = run / "bundle"
    console.result(str(bundle), bundle=str(bundle), steps=summary.steps, metrics=dict(summary.metrics))
