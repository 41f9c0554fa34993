"""Give a trained `flow` other networks for face and hands, or none: python refit.py START OUT --reader 32,64,96

START is a bundle with a `flow`, OUT the new one. Everything that both models have is taken over; networks that START
lacks begin with random weights (a painter draws next to nothing at first), those that OUT lacks are left behind.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer


def main(
    start: Annotated[str, typer.Argument(help="Bundle to begin with, or 'base'.")],
    out: Annotated[Path, typer.Argument(help="Bundle to write.")],
    reader: Annotated[str, typer.Option(help="Three widths of the code reader, with commas; empty: none.")] = "",
    painter: Annotated[str, typer.Option(help="Three widths of the painter, likewise.")] = "",
    seed: Annotated[int, typer.Option(help="Of new weights.")] = 0,
) -> None:
    """Write a `flow` with these networks whose other weights are those of START."""
    import torch

    from gesturegen_cli.bundle import BundleSpec, load_component, open_bundle, write_bundle
    from gesturegen_cli.models.flow_deviation import FlowDeviation
    from gesturegen_cli.training.components import describe

    bundle = open_bundle(start)
    known = load_component(bundle, "deviation")
    torch.manual_seed(seed)
    config = dataclasses.replace(known.config, reader_channels=_widths(reader), painter_channels=_widths(painter))
    model = FlowDeviation(config)
    weights, old = model.state_dict(), known.state_dict()
    taken = {name: value for name, value in old.items() if name in weights}
    model.load_state_dict({**weights, **taken})
    spec = BundleSpec("deviation", model.size, {}, fps=bundle.spec.fps, training=bundle.spec.training)
    share = f"{len(taken)} of {len(weights)} tensors"
    card = f"# A flow with other networks for face and hands\n\n{share} are those of {bundle.digest}.\n"
    parts = {"deviation": describe("deviation_models", "flow", model)}
    write_bundle(out, spec, parts, {"deviation": model.state_dict()}, card, half=True)
    typer.echo(f"{out}: {share} taken over, {len(old) - len(taken)} left behind")


def _widths(text: str) -> tuple[int, ...]:
    return tuple(int(width) for width in text.split(",")) if text else ()


if __name__ == "__main__":
    typer.run(main)
