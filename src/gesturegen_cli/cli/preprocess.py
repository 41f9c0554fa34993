"""`gesturegen preprocess VIDEOS DATA`: talking videos to a dataset."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from gesturegen_cli.cli.options import Common

FORMS = ("list", "s2g")


def preprocess(
    videos: Annotated[Path, typer.Argument(help="A folder, one video, or a CSV or JSONL list with a column 'path'.")],
    data: Annotated[Path, typer.Argument(help="Folder of the dataset; running again continues.")],
    fps: Annotated[int | None, typer.Option("--fps", help="Frames per second of the clips.")] = None,
    size: Annotated[int | None, typer.Option("--size", help="Side of the square clips in pixels.")] = None,
    workers: Annotated[int | None, typer.Option("--workers", help="Processes; 0 means one per core.")] = None,
    allow_outside: Annotated[
        bool, typer.Option("--allow-outside", help="The list may name videos outside its own folder.")
    ] = False,
    form: Annotated[
        str, typer.Option("--from", help="Form of the input: list (what VIDEOS says), or s2g.", metavar="list|s2g")
    ] = "list",
    intervals: Annotated[
        Path | None, typer.Option("--intervals", help="With --from s2g: cmu_intervals_df.csv of PATS.", metavar="CSV")
    ] = None,
    chosen: Annotated[
        Path | None,
        typer.Option("--filter", help="With --from s2g: filtered_intervals.json; gives the splits.", metavar="JSON"),
    ] = None,
    *,
    common: Common,
) -> None:
    """Cut talking videos into clips for training: square, constant frame rate, 16 kHz sound, checked.

    A list has the columns path and, if wanted, start, end (seconds), speaker, consent; rows with consent "no" are
    left out. What was left out and why stands in DATA/report.html. Limits: --set preprocess.min_seconds=3 and so on.

    --from s2g reads the interval table of PATS and S2G-MDDiffusion: speaker, interval_id, video_link, start_time,
    end_time. VIDEOS is then a folder of your videos, each with the id of its link in its name ("Title [ID].mp4"), or
    of clips cut already ("speaker#interval.mp4", "interval.mp4"). With --filter only the intervals it names are taken,
    the first preprocess.max_seconds of each, in the splits it gives.
    """
    from gesturegen_cli.errors import BatchFailure

    _check(form, intervals, chosen)
    config = common.load_config(preprocess__fps=fps, preprocess__size=size, preprocess__workers=workers)
    from gesturegen_cli.data.intervals import IntervalList
    from gesturegen_cli.data.preprocess import REPORT
    from gesturegen_cli.data.preprocess import preprocess as run

    console = common.console
    lists = None if intervals is None else IntervalList(intervals, chosen)
    with console.progress("preprocess", "videos") as progress:
        made = run(videos, data, config.preprocess, allow_outside=allow_outside, intervals=lists, on_progress=progress)
    dataset = made.dataset
    reasons = Counter(item.reason for item in made.dropped)
    splits = {name: len(dataset.split(name)) for name in ("train", "val", "test")}
    if made.reused:
        console.say(f"{made.reused} of {made.sources} videos were finished already")
    for reason, count in reasons.most_common():
        console.say(f"left out, {reason}: {count}")
    if made.mixed:
        console.warn(f"videos with clips in more than one split, as the filter says: {made.mixed}")
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


def _check(form: str, intervals: Path | None, chosen: Path | None) -> None:
    from gesturegen_cli.errors import ConfigError

    if form not in FORMS:
        raise ConfigError(f"--from {form}, expected one of {', '.join(FORMS)}", "")
    if form == "s2g" and intervals is None:
        raise ConfigError("--from s2g needs the table of intervals", "add --intervals cmu_intervals_df.csv")
    if form != "s2g" and (intervals is not None or chosen is not None):
        option = "--intervals" if intervals is not None else "--filter"
        raise ConfigError(f"{option} goes with --from s2g, got --from {form}", "add --from s2g")
