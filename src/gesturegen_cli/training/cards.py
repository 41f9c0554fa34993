"""What a trained bundle says about itself: the training summary in its manifest and its model card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gesturegen_cli.data.manifest import Dataset
from gesturegen_cli.training.loop import Summary


def training_facts(stage: str, dataset: Dataset, summary: Summary, inputs: Mapping[str, str]) -> dict[str, Any]:
    """Plain values for the manifest: data, work done and last figures of one stage."""
    clips = dataset.split("train")
    return {
        "stage": stage,
        "data": dataset.source or dataset.root.name,
        "clips": len(clips),
        "hours": round(sum(clip.seconds for clip in clips) / 3600, 3),
        "steps": summary.steps,
        "batch": summary.batch,
        "wall_seconds": round(summary.seconds),
        "skipped_steps": summary.skipped,
        "inputs": dict(inputs),
        "figures": {name: float(f"{value:.5g}") for name, value in summary.metrics.items()},
    }


def model_card(title: str, purpose: str, components: Mapping[str, str], facts: Mapping[str, Any]) -> str:
    """A README for the bundle, made of facts only."""
    lines = [f"# {title}", "", purpose, "", "## Components", ""]
    lines += [f"- {role}: `{name}`" for role, name in components.items()]
    for stage, values in facts.items():
        lines += ["", f"## Training: {stage}", ""]
        told = {key.replace("_", " "): value for key, value in values.items() if value not in ({}, "")}
        lines += [f"- {key}: {_shown(value)}" for key, value in told.items()]
    lines += ["", "## Use", "", "Videos made with this bundle are AI-generated and marked as such."]
    lines += ["Ask people for consent before you animate their picture."]
    return "\n".join(lines) + "\n"


def _shown(value: object) -> str:
    return ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, Mapping) else str(value)
