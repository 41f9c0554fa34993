"""Measure a bundle against what the default model should reach: a table with the bar beside each number, and JSON.

    python measure.py base --data DATA --refs REFS --clips CLIPS --cross CROSS --out numbers.json

DATA: labelled digital people (gesturegen-speakers make) that the bundle has not seen. REFS, CLIPS: pictures and videos
of real people. CROSS: what cross_identity.py makes. A section whose material is missing is reported as not measured.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from cost import measure_cost, measure_fit
from measures import Frames, Row, absent, load_pipeline
from people import People
from real import load_sources, measure_background, measure_clips, measure_identity
from rich.console import Console
from rich.table import Table
from talk import Talk, can_talk
from transfer import measure_transfer

from gesturegen_cli.benchmark.whole import machine
from gesturegen_cli.data.manifest import Clip, read_dataset
from gesturegen_cli.data.video_record import versions
from gesturegen_cli.errors import GesturegenError
from gesturegen_cli.media.video import iter_frames
from gesturegen_cli.pipeline import Pipeline

SECTIONS = "ABCDEFGHI"
SPEECH = Path(__file__).parent.parent / "speech.wav"

say = Console(stderr=True).print


def main(
    bundle: Annotated[str, typer.Argument(help="Bundle folder or name.")] = "base",
    data: Annotated[Path | None, typer.Option(help="Labelled digital people: A, B, C, D, H, J.")] = None,
    refs: Annotated[Path | None, typer.Option(help="Pictures of real people: D, E.")] = None,
    clips: Annotated[Path | None, typer.Option(help="Videos of real people: F.")] = None,
    cross: Annotated[Path | None, typer.Option(help="Truth made by cross_identity.py: G.")] = None,
    speech: Annotated[Path, typer.Option(help="Speech for the pictures: E.")] = SPEECH,
    only: Annotated[str, typer.Option(help="Sections to measure, such as A,B,F.")] = ",".join(SECTIONS),
    split: Annotated[str, typer.Option(help="Clips of DATA: test, val, train or all.")] = "test",
    most: Annotated[int, typer.Option(min=0, help="Clips of DATA that are used, evenly spaced; 0 all.")] = 0,
    pairs: Annotated[int, typer.Option(min=0, help="Pairs of frames per clip; 0 all.")] = 0,
    draws: Annotated[int, typer.Option(min=1, help="Motions drawn per speech: H.")] = 1,
    drift: Annotated[bool, typer.Option("--drift", help="Draw ten minutes of motion as well: H.")] = False,
    fit: Annotated[bool, typer.Option("--fit", help="Fit the bundle to one person for 100 s as well: J.")] = False,
    fit_steps: Annotated[int, typer.Option(min=0, help="Steps of --fit; 0 as many as 100 s hold here.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "cpu",
    out: Annotated[Path | None, typer.Option(help="JSON file to write.")] = None,
) -> None:
    """Measure BUNDLE, section by section."""
    started = time.monotonic()
    details: dict[str, Any] = {}
    sections = _sections(only)
    pipeline = load_pipeline(bundle, device)
    with torch.inference_mode():
        rows = _data_rows(pipeline, data, split, most, pairs, sections, draws, drift)
        rows += _real_rows(pipeline, sections, (refs, clips), speech, details)
        if "G" in sections:
            rows += measure_transfer(pipeline, cross, details, say)
        if "I" in sections:
            picture = np.random.default_rng(0).integers(0, 256, (pipeline.deviation.size,) * 2 + (3,), np.uint8)
            rows += measure_cost(pipeline, picture)
    if fit:
        rows += _fit_rows(pipeline, data, split, device, fit_steps)
    rows.sort(key=lambda row: row.section)
    _print(rows, details, pipeline)
    if out is not None:
        out.write_text(json.dumps(_record(pipeline, rows, details, time.monotonic() - started), indent=1) + "\n")


def _sections(only: str) -> str:
    chosen = "".join(part.strip().upper() for part in only.split(","))
    if not chosen or set(chosen) - set(SECTIONS):
        raise typer.BadParameter(f"--only {only}: expected letters of {','.join(SECTIONS)}; J is --fit")
    return chosen


def _choose_clips(data: Path, split: str, most: int) -> list[Clip]:
    dataset = read_dataset(data)
    clips = list(dataset.clips if split == "all" else dataset.split(split))
    if not clips:
        raise typer.BadParameter(f"--split {split}: {data.name} has no such clips, use --split all")
    if most and most < len(clips):
        clips = [clips[round(at)] for at in np.linspace(0, len(clips) - 1, most)]
    return clips


def _decode(clip: Clip, size: int) -> Frames:
    return np.stack(list(iter_frames(clip.video, fps=clip.fps, size=size)))


def _data_rows(
    pipeline: Pipeline, data: Path | None, split: str, most: int, pairs: int, sections: str, draws: int, drift: bool
) -> list[Row]:
    """A, B, C, the digital half of D, and H: every clip is decoded once, and only one is in memory."""
    wanted = [letter for letter in "ABCDH" if letter in sections]
    if not wanted:
        return []
    if data is None:
        return [row for letter in wanted for row in absent(letter, "no --data DATA", "digital people")]
    people, talk = People(pipeline, sections, pairs), Talk(pipeline, draws)
    silent = can_talk(pipeline)
    first: Frames | None = None
    for clip in _choose_clips(data, split, most):
        say(f"clip {clip.id}")
        frames = _decode(clip, pipeline.deviation.size)
        first = frames[0] if first is None else first
        if clip.labels is not None:
            people.add(clip, frames)
        if "H" in sections and not silent:
            talk.add(clip, frames)
    rows = people.rows()
    if "H" in sections:
        rows += absent("H", silent, "speech") if silent else talk.rows()
        rows += talk.drift(first) if drift and not silent and first is not None else []
    return rows


def _real_rows(
    pipeline: Pipeline, sections: str, folders: tuple[Path | None, Path | None], speech: Path, details: dict[str, Any]
) -> list[Row]:
    """D, E and F."""
    rows: list[Row] = []
    refs, clips = folders
    if refs is None:
        rows += [
            row for letter in "DE" if letter in sections for row in absent(letter, "no --refs REFS", "real pictures")
        ]
    elif {"D", "E"} & set(sections):
        sources = load_sources(pipeline, refs, say)
        rows += measure_identity(pipeline, sources, details) if "D" in sections else []
        rows += measure_background(pipeline, sources, speech, details, say) if "E" in sections else []
    if "F" in sections:
        why = "no --clips CLIPS"
        rows += measure_clips(pipeline, clips, details, say) if clips is not None else absent("F", why, "real clips")
    return rows


def _fit_rows(pipeline: Pipeline, data: Path | None, split: str, device: str, steps: int) -> list[Row]:
    if data is None:
        return absent("J", "no --data DATA", "fit to one person")
    clip = _choose_clips(data, split, 1)[0]
    with tempfile.TemporaryDirectory(prefix="gesturegen-fit-") as folder, torch.inference_mode():
        frames = _decode(clip, pipeline.deviation.size)
        return measure_fit(pipeline, clip, frames, Path(folder), device, steps, say)


def _print(rows: list[Row], details: dict[str, Any], pipeline: Pipeline) -> None:
    console = Console(width=None if sys.stdout.isatty() else 140)
    table = Table(title=f"{pipeline.bundle.name}, digest {pipeline.bundle.digest[:12]}", title_justify="left")
    for name in ("", "what", "value", "bar", "met", "note"):
        table.add_column(name, justify="right" if name in ("value", "bar") else "left")
    for row in rows:
        value = "not measured" if row.value is None else f"{row.value:.4g} {row.unit}".strip()
        bar = "" if row.bar is None else f"{'>=' if row.more_is_better else '<='} {row.bar:g}"
        met = {True: "yes", False: "NO", None: ""}[row.met]
        table.add_row(row.section, row.name, value, bar, met, row.note)
    console.print(table)
    if "clips" in details:
        _print_clips(console, details["clips"])


def _print_clips(console: Console, clips: dict[str, dict[str, float]]) -> None:
    table = Table(title="real clips, model / copy of the first frame", title_justify="left")
    for name in ("clip", "frames", "PSNR", "above copy", "moving L1", "ratio"):
        table.add_column(name, justify="left" if name == "clip" else "right")
    for name, one in clips.items():
        scores = f"{one['psnr']:.2f} / {one['copied']:.2f}", f"{one['psnr'] - one['copied']:+.2f}"
        moving = f"{one['moving_l1']:.4f} / {one['moving_l1_copied']:.4f}", f"{one['ratio']:.3f}"
        table.add_row(name, f"{one['frames']:.0f}", *scores, *moving)
    console.print(table)


def _record(pipeline: Pipeline, rows: list[Row], details: dict[str, Any], seconds: float) -> dict[str, Any]:
    return {
        "command": sys.argv,
        "bundle": {"name": pipeline.bundle.name, "digest": pipeline.bundle.digest},
        "machine": machine() | {"load_average": os.getloadavg()},
        "versions": versions() | {"python": sys.version.split()[0]},
        "date": time.strftime("%Y-%m-%d"),
        "seconds": round(seconds, 1),
        "rows": [asdict(row) | {"met": row.met} for row in rows],
        "details": details,
    }


if __name__ == "__main__":
    try:
        typer.run(main)
    except GesturegenError as error:
        sys.exit(f"error: {error.message}\nhint: {error.hint}")
