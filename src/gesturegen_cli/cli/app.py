"""The command line: `gesturegen COMMAND ...`. One file per command; heavy imports only inside command bodies."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Annotated, Any

import typer

from gesturegen_cli import __version__
from gesturegen_cli.cli import (
    bench,
    evaluate,
    generate,
    models,
    options,
    plugins,
    preprocess,
    pretrain_deviation,
    train,
)
from gesturegen_cli.cli.console import Terminated

app = typer.Typer(
    name="gesturegen",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: drawing it with rich takes half of the start-up
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Video of a speaking person, gestures included, made from speech and one picture.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gesturegen {__version__}")
        raise typer.Exit


@app.callback()
def shared(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
    json: options.JsonOption = False,
    device: options.DeviceOption = None,
    seed: options.SeedOption = None,
    preset: options.PresetOption = None,
    config: options.ConfigOption = None,
    set: options.SetOption = None,
    verbose: options.VerboseOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Video of a speaking person, gestures included, made from speech and one picture."""
    given: dict[str, Any] = dict(locals())
    context.obj = {name: given[name] for name in options.SHARED}


def _on_sigterm(signum: int, frame: FrameType | None) -> None:
    raise Terminated


app.command("preprocess")(options.command(preprocess.preprocess))
app.command("pretrain-deviation")(options.command(pretrain_deviation.pretrain_deviation))
app.command("train")(options.command(train.train))
app.command("generate")(options.command(generate.generate))
app.command("evaluate")(options.command(evaluate.evaluate))
app.command("bench")(options.command(bench.bench))
app.add_typer(models.app, name="models")
app.add_typer(plugins.app, name="plugins")


def main() -> None:
    """Entry point of the `gesturegen` command."""
    signal.signal(signal.SIGTERM, _on_sigterm)
    app()
