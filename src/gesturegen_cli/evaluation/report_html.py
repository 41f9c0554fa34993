"""`report.html`: an evaluation to look at and to send on, in one file that loads nothing and needs no script."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gesturegen_cli import __version__
from gesturegen_cli.evaluation.metrics import METRICS
from gesturegen_cli.evaluation.report_exhibit import exhibit_part
from gesturegen_cli.evaluation.report_markup import STYLE, chip, data_table, html_text, plural, unfold
from gesturegen_cli.evaluation.report_plots import STYLE as PLOT_STYLE
from gesturegen_cli.evaluation.report_plots import interval_plot
from gesturegen_cli.evaluation.report_tables import (
    ABOUT_ARROWS,
    ABOUT_SECTIONS,
    ARROWS,
    Row,
    ScoreTable,
    about_values,
    score_table,
    unit_text,
)
from gesturegen_cli.evaluation.results import Exhibit, Report, Section
from gesturegen_cli.media.files import replacing

FILE = "report.html"

MAX_EXHIBITS = 12
"""Exhibits that the page shows; the page says how many it left out."""

_MAX_ROWS = 200
_COLOURS = 6


def save_html(
    folder: Path,
    report: Report,
    exhibits: Sequence[Exhibit],
    *,
    fps: float,
    size: int,
    on_exhibit: Callable[[int, int], None] | None = None,
) -> Path:
    """Write `report.html` into `folder` and return its path.

    Shows the tables with their intervals, at most 12 `exhibits` with all their videos side by side (`size` pixels per
    column, `fps` frames per second, which is the rate of the curves too, at most 8 s and 1.5 MB each), both hands
    enlarged, plots, and how all of it was measured. The file has at most about 2 MB per exhibit, and 40 MB with up
    to ten columns. It is complete or not there at all; an older one is replaced in one step. Videos that are not square
    are cut as the protocol in `report` says.

    `on_exhibit(done, all)` is called after each of them. A video that cannot be read becomes a note. Raises
    EnvironmentFault when the folder cannot be written to.
    """
    path = folder / FILE
    shown, done, frames = exhibits[:MAX_EXHIBITS], 0, _measured_frames(report)
    crop = str(report.protocol.get("settings", {}).get("crop", "speaker"))
    with replacing(path) as partial, partial.open("w", encoding="utf-8") as file:
        file.write(_head())
        file.write(_header(report))
        for index, section in enumerate(report.sections):
            file.write(_section(section, index))
            own = [exhibit for exhibit in shown if exhibit.section == section.name]
            colours = system_colours(section)
            if own:
                file.write(f'<h3 class="part">Clips of “{html_text(section.name)}”</h3>\n{_ABOUT_EXHIBITS}')
                if frames:
                    file.write(f'<p class="note">{_ONLY_FIRST.format(plural(frames, "frame"), frames / fps)}</p>\n')
            for number, exhibit in enumerate(own):
                file.write(exhibit_part(exhibit, colours, fps=fps, size=size, crop=crop, unfolded=number == 0))
                done += 1
                if on_exhibit is not None:
                    on_exhibit(done, len(shown))
            more = sum(exhibit.section == section.name for exhibit in exhibits) - len(own)
            if more:
                file.write(f'<p class="note">{plural(more, "more clip")} left out to keep this page small.</p>\n')
            file.write("</section>\n")
        file.write(_foundations(report))
        file.write("</main></body></html>\n")
    return path


def system_colours(section: Section) -> dict[str, int]:
    """Name -> colour of the plots: 0 for the reference, 7 for the still baseline, 1 to 6 in turn for the systems."""
    colours: dict[str, int] = {}
    count = 0
    for system in section.systems:
        colours[system.name] = {"reference": 0, "still": 7}.get(system.role, 1 + count % _COLOURS)
        count += system.role == "system"
    return colours


_ABOUT_EXHIBITS = (
    '<p class="note">The columns of a video play in step, cut to the square that was measured, with the sound of the '
    "first column that has one; a dimmed picture has ended. Videos of systems are AI-generated, and every video "
    "composed here carries that mark in its file.</p>\n"
)
_ONLY_FIRST = "Only the first {} of each video ({:.1f} s) were measured; videos are shown beyond them, hands are not."


def _head() -> str:
    # Should a name ever get through as markup, it still can load and run nothing.
    policy = (
        "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'; base-uri 'none'; "
        "form-action 'none'"
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark"><meta name="referrer" content="no-referrer">\n'
        f"<title>Evaluation report</title>\n<style>{STYLE}{PLOT_STYLE}</style></head><body><main>\n"
    )


def _header(report: Report) -> str:
    names = list(dict.fromkeys(s.name for part in report.sections for s in part.systems if s.role == "system"))
    frames = _measured_frames(report)
    clips = sum(len(system.clips) for part in report.sections for system in part.systems if system.role == "system")
    facts = [
        ("systems", ", ".join(names) or "none"),
        ("videos judged", f"{clips}"),
        *([("measured", f"the first {plural(frames, 'frame')} of each video")] if frames else []),
        ("made by", f"gesturegen {__version__}"),
    ]
    lines = "".join(f"<div><dt>{html_text(key)}</dt><dd>{html_text(value)}</dd></div>" for key, value in facts)
    # enough to tell two protocols apart; all of it stands with the protocol
    digest = (
        f'<a href="#protocol" title="{html_text(report.protocol_digest)}">{html_text(report.protocol_digest[:12])}</a>'
    )
    lines += f"<div><dt>protocol</dt><dd>{digest}</dd></div>"
    links = [(f"#s{index}", section.name) for index, section in enumerate(report.sections)]
    links += [("#how", "how it was measured"), ("#protocol", "protocol")]
    nav = "".join(f'<a href="{link}">{html_text(name)}</a>' for link, name in links)
    warnings = "".join(f"<li>{html_text(warning)}</li>" for warning in report.warnings)
    box = f'<aside class="warn"><h2>Warnings</h2><ul>{warnings}</ul></aside>' if warnings else ""
    return f"<header><h1>Evaluation</h1><dl>{lines}</dl><nav>{nav}</nav></header>\n{box}\n"


def _measured_frames(report: Report) -> int:
    """How many first frames of each video were measured; 0 for all."""
    frames = report.protocol.get("settings", {}).get("frames", 0)
    return frames if isinstance(frames, int) else 0


def _section(section: Section, index: int) -> str:
    """Heading, table, intervals and lists of one section; the element stays open for its exhibits."""
    title = section.name[:1].upper() + section.name[1:]
    about = ABOUT_SECTIONS.get(section.name, "")
    parts = [f'<section id="s{index}"><h2>{html_text(title)}</h2><p class="lead">{html_text(about)}</p>']
    table, colours = score_table(section), system_colours(section)
    parts.append(_scores(section, table, colours))
    measured = [row.metric for row in table.rows if any(cell.interval for cell in row.cells)]
    shown = [f"<figure>{interval_plot(metric, section.systems, colours)}</figure>" for metric in measured]
    if shown:
        parts.append(
            unfold("Intervals over clips, as plots", f'<div class="grid">{"".join(shown)}</div>', len(shown) < 7)
        )
    parts.append(_missing(section))
    return "\n".join(parts)


def _scores(section: Section, table: ScoreTable, colours: Mapping[str, int]) -> str:
    heads = "".join(
        f'<th colspan="2" scope="col" class="{system.role}">{chip(system.name, colours[system.name])}</th>'
        for system in section.systems
    )
    lines = [f'<div class="scroll"><table class="scores"><thead><tr><th scope="col">metric</th>{heads}</tr></thead>']
    group = ""
    for row in table.rows:
        if row.metric.group != group:
            lines.append("</tbody>" if group else "")
            group = row.metric.group
            span = 1 + 2 * len(table.columns)
            lines.append(f'<tbody><tr class="group"><th colspan="{span}" scope="rowgroup">{html_text(group)}</th></tr>')
        lines.append(_score_row(row, [system.role for system in section.systems]))
    lines.append("</tbody></table></div>" if group else "</table></div><p>No metric was asked for.</p>")
    about = about_values(table, "Small")
    lines.append(f'<p class="note">{ABOUT_ARROWS[0].upper()}{ABOUT_ARROWS[1:]}. {about}</p>')
    if table.notes:
        lines.append('<ol class="notes">' + "".join(f"<li>{html_text(note)}</li>" for note in table.notes) + "</ol>")
    return "\n".join(lines)


def _score_row(row: Row, roles: Sequence[str]) -> str:
    metric = row.metric
    unit = f' <span class="unit">{html_text(unit_text(metric))}</span>' if metric.unit else ""
    arrow = f'<span class="arrow">{ARROWS.get(metric.better, "")}</span>'
    name = html_text(metric.label)
    if metric.key in METRICS:
        name = f'<a href="#m-{metric.key}" title="{html_text(metric.about)}">{name}</a>'
    cells = [f'<tr><th scope="row">{name}{unit}{arrow}</th>']
    for cell, role in zip(row.cells, roles, strict=True):
        kind = f"{role} best" if cell.best else role
        note = f"<sup>{cell.note}</sup>" if cell.note else ""
        number = "–" if cell.value == "-" else cell.value.replace("-", "−")
        value = f"<b>{number}</b>" if cell.best else number
        # short and with a narrow gap, for a table of five systems should fit a screen
        interval = cell.interval.replace("-", "−").replace(" to ", "\u2009–\u2009")
        cells.append(f'<td class="v {kind}">{value}</td><td class="i {kind}">{interval}{note}</td>')
    return "".join(cells) + "</tr>"


def _missing(section: Section) -> str:
    """Videos that could not be read, and those without a partner."""
    parts = []
    failed = [
        (system.name, *(one.get(key, "") for key in ("id", "message", "hint")))
        for system in section.systems
        for one in system.failed
    ]
    if failed:
        table = data_table(("system", "video", "problem", "what to do"), failed, _MAX_ROWS)
        parts.append(unfold(f"{plural(len(failed), 'video')} could not be read", table, True))
    lost = [(system.name, one) for system in section.systems for one in system.unmatched]
    if lost:
        table = data_table(("system", "video"), lost, _MAX_ROWS)
        parts.append(unfold(f"{plural(len(lost), 'video')} without a partner in the reference", table))
    if section.unused:
        table = data_table(("reference",), [(one,) for one in section.unused], _MAX_ROWS)
        parts.append(unfold(f"{plural(len(section.unused), 'reference')} that no system has a video for", table))
    return "\n".join(parts)


def _foundations(report: Report) -> str:
    """How each metric was measured, the protocol and the environment."""
    asked = {key for section in report.sections for system in section.systems for key in system.scores}
    rows = []
    for key in [key for key in METRICS if key in asked]:
        metric = METRICS[key]
        how = report.notes.get(key, "").removeprefix(f"{metric.about}: ")  # said just before
        rows.append(
            f'<tr id="m-{key}"><th scope="row">{html_text(metric.label)}</th><td>{html_text(unit_text(metric))}</td>'
            f'<td>{ARROWS[metric.better]}</td><td>{html_text(metric.about)}<p class="how">'
            f"{html_text(how)}</p></td></tr>"
        )
    others = [(key, note) for key, note in report.notes.items() if key not in METRICS]
    heads = "".join(
        f'<th scope="col">{name}</th>' for name in ("metric", "unit", "", "what it is, and how it was measured")
    )
    body = f"<thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody>"
    metrics = f'<div class="scroll"><table class="plain">{body}</table></div>'
    protocol = data_table(("setting", "value"), flat_rows(report.protocol), _MAX_ROWS)
    environment = data_table(("part", "value"), flat_rows(report.environment), _MAX_ROWS)
    return (
        f'<section id="how"><h2>How it was measured</h2>{metrics}'
        f"{data_table(('note', 'text'), others, _MAX_ROWS) if others else ''}</section>\n"
        f'<section id="protocol" class="two"><div><h2>Protocol</h2><p class="note">Numbers of two evaluations can be '
        f"compared where the digest agrees: <code>{html_text(report.protocol_digest)}</code></p>{protocol}</div>"
        f"<div><h2>Environment</h2>{environment}</div></section>\n"
    )


def flat_rows(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as rows: `fvd.frames` and its value; lists stay on one line."""
    rows: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            rows += flat_rows(value, f"{prefix}{key}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
            rows.append((f"{prefix}{key}", text))
    return rows
