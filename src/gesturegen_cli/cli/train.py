"""`gesturegen train`: stage 2, speech to motion by diffusion."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from gesturegen_cli.cli.options import Common
from gesturegen_cli.cli.pretrain_deviation import (
    BatchOption,
    CacheOption,
    DataArgument,
    InitOption,
    RunArgument,
    StepsOption,
)

DeviationOption = Annotated[
    str, typer.Option("--deviation", metavar="BUNDLE", help="Bundle whose motion is learned; stage 1 makes it.")
]


def train(
    data: DataArgument,
    run: RunArgument,
    deviation: DeviationOption,
    init: InitOption = None,
    steps: StepsOption = None,
    batch: BatchOption = None,
    cache: CacheOption = None,
    *,
    common: Common,
) -> None:
    """Stage 2: learn motion from speech. The result is RUN/bundle, ready for gesturegen generate -m RUN/bundle."""
    from gesturegen_cli.training import diffusion_stage

    config = common.load_config(train__steps=steps, train__batch=batch)
    console = common.console
    with console.progress("read clips", "clips") as on_clip, console.progress("train", "steps") as on_step:
        summary = diffusion_stage.train_diffusion(
            data,
            run,
            config,
            deviation=deviation,
            init=init,
            cache=cache,
            command=tuple(sys.argv),
            on_clip=on_clip,
            on_step=on_step,
            on_warning=console.warn,
        )
    bundle = run / "bundle"
    console.result(str(bundle), bundle=str(bundle), steps=summary.steps, metrics=dict(summary.metrics))
