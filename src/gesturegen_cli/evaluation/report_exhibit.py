"""One exhibit of the report: a clip's videos side by side, the hands enlarged, and plots of its motion."""

from __future__ import annotations

from collections.abc import Mapping

from gesturegen_cli.evaluation.report_markup import chip, data_uri, html_text, unfold
from gesturegen_cli.evaluation.report_media import Pictures, compose_exhibit
from gesturegen_cli.evaluation.report_plots import flicker_plot, largest, speech_plot
from gesturegen_cli.evaluation.results import Exhibit


def exhibit_part(
    exhibit: Exhibit, colours: Mapping[str, int], *, fps: float, size: int, crop: str, unfolded: bool
) -> str:
    """The markup of `exhibit`, its video and pictures inside. `colours` maps columns to the colours of the plots."""
    pictures = compose_exhibit(exhibit, fps=fps, size=size, crop=crop)
    parts = [f'<article><h3>{html_text(exhibit.id)}</h3><p class="why">{html_text(exhibit.why)}</p>']
    if pictures.video is not None:
        width, height = pictures.size
        names = ", ".join(exhibit.videos)
        parts.append(
            f'<video controls loop playsinline preload="metadata" width="{width}" height="{height}" '
            f'poster="{data_uri(pictures.poster, "image/jpeg")}" src="{data_uri(pictures.video, "video/mp4")}" '
            f'aria-label="side by side: {html_text(names)}"></video>'
        )
        parts.append(f'<p class="note">{pictures.seconds:.1f} s, side by side: {html_text(names)}</p>')
    parts += [f'<p class="note">{html_text(problem)}</p>' for problem in pictures.problems]
    parts.append(_hands(pictures, colours))
    if exhibit.curves:
        parts.append(unfold("Motion against speech", _speech(exhibit, colours, fps), unfolded))
        curves = {name: exhibit.curves[name] for name in exhibit.videos if name in exhibit.curves}
        title = f"Flicker of {exhibit.id} over time"
        plot = (
            f'<div class="scroll"><div class="wide">{flicker_plot(curves, colours, fps=fps, title=title)}</div></div>'
        )
        parts.append(unfold("Flicker over time", plot, unfolded))
    return "\n".join([*parts, "</article>\n"])


def _hands(pictures: Pictures, colours: Mapping[str, int]) -> str:
    """A row of pictures per column, a column per moment."""
    if not pictures.hands:
        return ""
    cells = ["<span></span>", *(f'<span class="time">{moment:.1f} s</span>' for moment in pictures.moments)]
    for name, pairs in pictures.hands.items():
        cells.append(chip(name, colours.get(name, 7)))
        for moment, pair in zip(pictures.moments, pairs, strict=True):
            about = f"hands of {html_text(name)} at {moment:.1f} s"
            cells.append(f'<img alt="{about}" src="{data_uri(pair, "image/jpeg")}">')
    grid = f'<div class="hands" style="--n:{len(pictures.moments)}">{"".join(cells)}</div>'
    return f'<h4>Hands, the right one at the left</h4><div class="scroll">{grid}</div>'


def _speech(exhibit: Exhibit, colours: Mapping[str, int], fps: float) -> str:
    """A plot per column; all share one scale of speed."""
    top = max((largest(curves.speed) for curves in exhibit.curves.values()), default=0.0)
    span = max((len(curves.speed) + 1 for curves in exhibit.curves.values()), default=0) / fps
    about = (
        "Above: onset strength with the speech onsets. Below: speed of the joints; dotted where the motion rests, "
        "dashed with a mark where a new window of generation begins. A line links an onset with a rest within 9 "
        "frames; a ring is an onset without one."
    )
    parts = [f'<p class="note">{about}</p>']
    for name in [name for name in exhibit.videos if name in exhibit.curves]:
        colour = colours.get(name, 7)
        title = f"Motion against speech: {name}, {exhibit.id}"
        plot = speech_plot(exhibit.curves[name], fps=fps, title=title, colour=colour, top=top, span=span)
        figure = f"<figcaption>{chip(name, colour)}</figcaption>"
        parts.append(f'<figure>{figure}<div class="scroll"><div class="wide">{plot}</div></div></figure>')
    return "".join(parts)
