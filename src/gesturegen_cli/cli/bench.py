"""`gesturegen bench`: speed and memory on this machine, beside the bars the project holds itself to."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gesturegen_cli.cli.options import Common
from gesturegen_cli.errors import ConfigError

if TYPE_CHECKING:
    from gesturegen_cli.benchmark.whole import Row


def bench(
    model: Annotated[str, typer.Option("--model", "-m", help="Bundle to measure.", metavar="BUNDLE")] = "base",
    seconds: Annotated[float, typer.Option("--seconds", help="Length of the synthetic speech.", min=1, max=7200)] = 60,
    speech: Annotated[Path | None, typer.Option("--speech", help="Speech to use instead.", metavar="FILE")] = None,
    picture: Annotated[Path | None, typer.Option("--picture", help="Picture to use.", metavar="FILE")] = None,
    deviation: Annotated[
        bool, typer.Option("--deviation", help="Measure the deviation model of the configuration, untrained, instead.")
    ] = False,
    attention: Annotated[
        bool, typer.Option("--attention", help="Measure the attention backends instead: torch's and xformers'.")
    ] = False,
    *,
    common: Common,
) -> None:
    """Measure speed and memory of a bundle on this machine.

    Or of the configuration's deviation model (--deviation), or of attention (--attention); then --model is not used.
    """
    config = common.load_config()
    from gesturegen_cli.benchmark.attention import measure_attention
    from gesturegen_cli.benchmark.deviation import measure_deviation
    from gesturegen_cli.benchmark.whole import machine, measure
    from gesturegen_cli.bundle import open_bundle
    from gesturegen_cli.pipeline import choose_device

    if deviation and attention:
        raise ConfigError("--deviation and --attention measure different things", "give one of them")
    console = common.console
    rows = []
    if attention:
        measured = measure_attention(choose_device(config.device))
    elif deviation:
        measured = measure_deviation(config)
    else:
        open_bundle(model)  # so that a wrong name shows before anything is measured
        measured = measure(model, config.device, seconds, speech, picture)
    for row in measured:
        rows.append(row)
        console.say(f"{row.name}: {row.value:.3g} {row.unit}")
        console.event("measured", **asdict(row), met=row.met)
    facts = machine()
    listed = [{**asdict(row), "met": row.met} for row in rows]
    console.result(_table(rows, facts), rows=listed, machine=facts)


def _table(rows: list[Row], facts: dict[str, object]) -> str:
    from io import StringIO

    from rich.console import Console as RichConsole
    from rich.table import Table

    caption = ", ".join(f"{name} {value}" for name, value in facts.items())
    table = Table(title="gesturegen bench", caption=caption)
    for heading in ("what", "measured", "unit", "bar", "met"):
        table.add_column(heading, justify="right" if heading in ("measured", "bar") else "left")
    for row in rows:
        bar = "" if row.bar is None else f"{'>=' if row.more_is_better else '<='} {row.bar:g}"
        met = {None: "", True: "yes", False: "no"}[row.met]
        table.add_row(row.name, f"{row.value:.3g}", row.unit, bar, met)
    text = StringIO()
    RichConsole(file=text, width=100).print(table)
    return text.getvalue().rstrip()
