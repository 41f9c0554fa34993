"""`gesturegen preprocess VIDEOS DATA`: talking videos to a dataset."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from gesturegen_cli.cli.options import Common


def preprocess(
    videos: Annotated[Path, typer.Argument(help="A folder, one video, or a CSV or JSONL list with a column 'path'.")],
    data: Annotated[Path, typer.Argument(help="Folder of the dataset; running again continues.")],
    fps: Annotated[int | None, typer.Option("--fps", help="Frames per second of the clips.")] = None,
    size: Annotated[int | None, typer.Option("--size", help="Side of the square clips in pixels.")] = None,
    workers: Annotated[int | None, typer.Option("--workers", help="Processes; 0 means one per core.")] = None,
    allow_outside: Annotated[
        bool, typer.Option("--allow-outside", help="The list may name videos outside its own folder.")
    ] = False,
    *,
    common: Common,
) -> None:
    """Cut talking videos into clips for training: square, constant frame rate, 16 kHz sound, checked.

    A list has the columns path and, if wanted, start, end (seconds), speaker, consent; rows with consent "no" are
    left out. What was left out and why stands in DATA/report.html. Limits: --set preprocess.min_seconds=3 and so on.
    """
    from gesturegen_cli.errors import BatchFailure

    config = common.load_config(preprocess__fps=fps, preprocess__size=size, preprocess__workers=workers)
    from gesturegen_cli.data.preprocess import REPORT
    from gesturegen_cli.data.preprocess import preprocess as run

    console = common.console
    with console.progress("preprocess", "videos") as progress:
        made = run(videos, data, config.preprocess, allow_outside=allow_outside, on_progress=progress)
    dataset = made.dataset
    reasons = Counter(item.reason for item in made.dropped)
    splits = {name: len(dataset.split(name)) for name in ("train", "val", "test")}
    if made.reused:
        console.say(f"{made.reused} of {made.sources} videos were finished already")
    for reason, count in reasons.most_common():
        console.say(f"left out, {reason}: {count}")
    listed = ", ".join(f"{name} {count}" for name, count in splits.items())
    console.result(
        f"{data}: {len(dataset.clips)} clips, {dataset.seconds:.1f} s ({listed}); see {data / REPORT}",
        data=str(data),
        clips=len(dataset.clips),
        seconds=round(dataset.seconds, 3),
        splits=splits,
        dropped=dict(reasons),
        sources=made.sources,
        reused=made.reused,
        report=str(data / REPORT),
    )
    if made.faults:
        first = made.faults[0]
        message = f"{len(made.faults)} of {made.sources} videos could not be used"
        raise BatchFailure(f"{message}, first '{first.source}': {first.detail}", f"the others are done; see {REPORT}")
