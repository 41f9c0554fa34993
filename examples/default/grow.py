"""Begin with a trained `flow` and give it the networks for face and hands: python grow.py START CHANNELS OUT

START is a bundle whose `flow` has no such networks, CHANNELS for example 32,64,96, OUT the new bundle. Everything that
both models have is taken over; the new networks begin with random weights, and draw next to nothing at first.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer


def main(
    start: Annotated[str, typer.Argument(help="Bundle to begin with, or 'base'.")],
    channels: Annotated[str, typer.Argument(help="Three widths, with commas between.")],
    out: Annotated[Path, typer.Argument(help="Bundle to write.")],
    seed: Annotated[int, typer.Option("--seed")] = 0,
) -> None:
    """Write a `flow` with details whose other weights are those of START."""
    import torch

    from gesturegen_cli.bundle import BundleSpec, load_component, open_bundle, write_bundle
    from gesturegen_cli.models.flow_deviation import FlowDeviation
    from gesturegen_cli.training.components import describe

    bundle = open_bundle(start)
    small = load_component(bundle, "deviation")
    widths = tuple(int(width) for width in channels.split(","))
    torch.manual_seed(seed)
    model = FlowDeviation(dataclasses.replace(small.config, detail_channels=widths))
    weights, known = model.state_dict(), small.state_dict()
    taken = {name: value for name, value in known.items() if name in weights}
    model.load_state_dict({**weights, **taken})
    spec = BundleSpec("deviation", model.size, {}, fps=bundle.spec.fps, training=bundle.spec.training)
    share = f"{len(taken)} of {len(weights)} tensors"
    card = f"# A flow with details, not trained yet\n\n{share} are those of {bundle.digest}.\n"
    write_bundle(
        out, spec, {"deviation": describe("deviation_models", "flow", model)}, {"deviation": model.state_dict()}, card
    )
    typer.echo(f"{out}: {share} taken over, {len(known) - len(taken)} left behind")


if __name__ == "__main__":
    typer.run(main)
