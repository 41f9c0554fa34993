"""Command line of the digital speakers: `make` a dataset, a `preview` of one, or one `picture`."""

from __future__ import annotations

import math
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gesturegen_cli.errors import ConfigError, GesturegenError

if TYPE_CHECKING:
    from .clip import ClipSettings
    from .render import Progress

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Render digital speakers as training data.")

AssetsOption = Annotated[
    Path | None,
    typer.Option("--assets", help="Folder of the CC0 assets.", envvar="CC0_PEOPLE", show_default=False),
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="The same seed gives the same people and clips.")]
ClipSecondsOption = Annotated[float, typer.Option("--clip-seconds", help="Length of a clip.")]
SpeechOption = Annotated[Path | None, typer.Option("--speech", help="Folder of wav or flac speech to use.")]
PauseOption = Annotated[
    float, typer.Option("--longest-pause", help="Seconds between sentences of espeak-ng, from 0.3 up to this.")
]
SizeOption = Annotated[int, typer.Option("--size", help="Width and height in pixels, a multiple of 64.")]


@app.command()
def make(
    out: Annotated[Path, typer.Argument(help="Folder of the dataset; run again to go on.")],
    hours: Annotated[float, typer.Option("--hours", help="Hours of video.")],
    assets: AssetsOption = None,
    seed: SeedOption = 0,
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="Processes (default: one per core).")] = None,
    size: SizeOption = 256,
    clip_seconds: ClipSecondsOption = 8.0,
    speech: SpeechOption = None,
    longest_pause: PauseOption = 1.5,
) -> None:
    """Render a dataset of speaking people with exact labels."""
    _check(size, clip_seconds, longest_pause)
    if hours <= 0:
        raise ConfigError(f"--hours {hours}: expected a number above 0")
    from .assets import find_assets
    from .performance import FPS
    from .render import render_dataset

    root, settings = find_assets(assets), _settings(seed, size, clip_seconds, speech, longest_pause)
    clips = math.ceil(hours * 3600 * FPS / settings.frames)
    with _Bar() as bar:
        total = render_dataset(root, out, clips, settings, workers or os.cpu_count() or 1, bar.update)
    typer.echo(f"{out}: {total} clips, {total * settings.frames / FPS / 3600:.2f} hours", err=True)


@app.command()
def picture(
    out: Annotated[Path, typer.Argument(help="Picture to write (png).")],
    assets: AssetsOption = None,
    seed: SeedOption = 0,
    size: SizeOption = 512,
) -> None:
    """Render one person, ready to speak, with both hands visible."""
    _check(size)
    from .assets import find_assets
    from .picture import render_picture, save_picture

    save_picture(render_picture(find_assets(assets), seed, size), out)
    typer.echo(f"{out}", err=True)


@app.command()
def preview(
    out: Annotated[Path, typer.Argument(help="Picture to write (png).")],
    assets: AssetsOption = None,
    seed: SeedOption = 0,
    size: SizeOption = 256,
    clips: Annotated[int, typer.Option("--clips", min=1, max=100, help="Clips to show, two frames of each.")] = 12,
    clip_seconds: ClipSecondsOption = 8.0,
    speech: SpeechOption = None,
    longest_pause: PauseOption = 1.5,
) -> None:
    """Show the first clips that `make` would render with the same settings."""
    _check(size, clip_seconds, longest_pause)
    from .assets import find_assets
    from .picture import render_sheet, save_picture

    root, settings = find_assets(assets), _settings(seed, size, clip_seconds, speech, longest_pause)
    save_picture(render_sheet(root, settings, clips), out)
    typer.echo(f"{out}", err=True)


def _settings(seed: int, size: int, clip_seconds: float, speech: Path | None, longest_pause: float) -> ClipSettings:
    from .clip import ClipSettings
    from .performance import FPS
    from .speech import find_recordings, require_espeak

    recordings = find_recordings(speech) if speech is not None else ()
    if not recordings:
        require_espeak()
    return ClipSettings(seed, size, round(clip_seconds * FPS), recordings, longest_pause)


def _check(size: int, clip_seconds: float = 8.0, longest_pause: float = 1.5) -> None:
    if size < 64 or size % 64:
        raise ConfigError(f"--size {size}: expected a multiple of 64")
    if clip_seconds < 1:
        raise ConfigError(f"--clip-seconds {clip_seconds}: expected at least 1 second")
    if not 0.3 <= longest_pause <= 10:
        raise ConfigError(f"--longest-pause {longest_pause:g}: expected 0.3 to 10 seconds")


class _Bar:
    """Progress on stderr: a bar on a terminal, a plain line every few clips elsewhere."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self._console = Console(stderr=True)
        columns = (TextColumn("clips"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
        self._bar = RichProgress(*columns, console=self._console, disable=not self._console.is_terminal)
        self._task = self._bar.add_task("clips", total=None)

    def __enter__(self) -> _Bar:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def update(self, progress: Progress) -> None:
        """Show the state of the run."""
        self._bar.update(self._task, completed=progress.done, total=progress.total)
        if not self._console.is_terminal and (progress.done % 10 == 0 or progress.done == progress.total):
            earlier = f", {progress.kept} of an earlier run" if progress.kept else ""
            self._console.print(f"{progress.done}/{progress.total} clips{earlier}", highlight=False)


def _terminate(number: int, _: object) -> None:
    raise SystemExit(128 + number)


def main() -> None:
    """Entry point: runs a command; errors for the user become one line, a hint and an exit code."""
    signal.signal(signal.SIGTERM, _terminate)  # so that workers are stopped and the manifest is written
    try:
        app()
    except GesturegenError as error:
        typer.echo(f"error: {error.message}", err=True)
        if error.hint:
            typer.echo(f"hint: {error.hint}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        typer.echo("interrupted; run the same command again to go on", err=True)
        sys.exit(130)


if __name__ == "__main__":
    main()
