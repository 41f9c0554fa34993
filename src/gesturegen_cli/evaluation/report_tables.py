"""The score table of one section: which metrics are its rows, which numbers are best, and what its footnotes say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gesturegen_cli.evaluation.bootstrap import FEWEST_CLIPS
from gesturegen_cli.evaluation.metrics import METRICS, Metric
from gesturegen_cli.evaluation.results import Score, Section, System
from gesturegen_cli.evaluation.scoring import PAIRED
from gesturegen_cli.media.files import printable

ARROWS = {"higher": "↑", "lower": "↓", "reference": "≈"}
"""Which values are good: the higher, the lower, or those near the reference's own."""

ABOUT_ARROWS = "↑ higher is better, ↓ lower is better, ≈ the nearer to the reference's own value the better"
ABOUT_SECTIONS = {
    "videos": "The given videos against the reference.",
    "reconstruction": "Real motion, rendered again from one picture of the speaker.",
    "speech": "Motion generated from the speech, rendered on the speaker's picture.",
}


@dataclass(frozen=True)
class Cell:
    """One number of a table. `value` and `interval` are text; `value` is "-" where nothing could be measured."""

    value: str
    interval: str = ""
    """As `12.3 to 14.5`; empty without one."""
    best: bool = False
    note: int = 0
    """Number of its footnote, from 1; 0 without one."""
    half: str = ""
    """Half the width of the interval."""


@dataclass(frozen=True)
class Row:
    """One metric with a cell for each column of its table."""

    metric: Metric
    cells: tuple[Cell, ...]

    @property
    def label(self) -> str:
        """Name, unit and arrow, as `PSNR, dB ↑`."""
        return f"{label_with_unit(self.metric)} {ARROWS.get(self.metric.better, '')}".rstrip()


@dataclass(frozen=True)
class ScoreTable:
    """Everything that a score table shows, in any format. Names and notes come from outside: escape them."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    """In the order of METRICS, so that groups stand together; metrics that this version does not know come last."""
    notes: tuple[str, ...]
    """Footnotes 1, 2, ... in the order in which they are first met."""
    clips: int = 0
    """The most clips that a number was measured on."""

    @property
    def no_intervals(self) -> str:
        """Why there are no intervals, in words; empty where there are some."""
        if any(cell.interval for row in self.rows for cell in row.cells):
            return ""
        few = self.clips < FEWEST_CLIPS
        return "fewer than five clips: no intervals" if few else "no intervals were asked for"


def about_values(table: ScoreTable, place: str = "In brackets") -> str:
    """What stands at `place` beside the numbers of `table`, and what is bold, as far as there is such a thing."""
    best = any(cell.best for row in table.rows for cell in row.cells)
    if not table.rows:
        return ""
    if table.no_intervals:
        text = f"{table.no_intervals[0].upper()}{table.no_intervals[1:]}."
        return f"{text} Bold: the best system of a row." if best else text
    text = f"{place}: the 95 % interval over clips."
    chance = "where intervals overlap, the difference may be chance"
    return f"{text} Bold: the best system of a row; {chance}." if best else text


def label_with_unit(metric: Metric) -> str:
    """As `jerk, widths/s³`."""
    return f"{metric.label}, {unit_text(metric)}" if metric.unit else metric.label


def unit_text(metric: Metric) -> str:
    """The unit as people write it."""
    return metric.unit.replace("^3", "³").replace("^2", "²")


def score_table(section: Section) -> ScoreTable:
    """The table of `section`: one column per system, one row per metric that was asked for in it.

    A metric that nobody could measure keeps its row, and the reason becomes a footnote; so does a metric that was
    measured on fewer clips than the others of its system, or than another system where the clips must be the same ones.
    """
    keys = {key for system in section.systems for key in system.scores}
    metrics = [METRICS[key] for key in METRICS if key in keys]
    metrics += [Metric(key, printable(key), "", "", "other", "") for key in sorted(keys - set(METRICS))]
    most = [max((score.clips for score in system.scores.values()), default=0) for system in section.systems]
    notes: dict[str, int] = {}
    rows = []
    for metric in metrics:
        scores = [system.scores.get(metric.key) for system in section.systems]
        decimals = _decimals(scores)
        best, others = best_systems(metric, section.systems), _most_pairs(metric, section.systems)
        cells = []
        for system, score, clips in zip(section.systems, scores, most, strict=True):
            note = _note(score, clips, system.role, others)
            number = notes.setdefault(note, len(notes) + 1) if note else 0
            cells.append(_cell(score, decimals, system.name in best, number))
        rows.append(Row(metric, tuple(cells)))
    return ScoreTable(
        tuple(printable(system.name) for system in section.systems), tuple(rows), tuple(notes), max(most, default=0)
    )


def best_systems(metric: Metric, systems: Sequence[System]) -> frozenset[str]:
    """Names of the systems that are best in `metric`; several when their numbers read the same.

    Only those of role `system` compete, and at least two must have been measured. In comparisons with the reference,
    clip by clip, those measured on fewer clips than another do not compete: theirs may be the easy ones. A metric
    whose good values are the reference's has no best system where the reference was not measured.
    """
    values, most = {}, _most_pairs(metric, systems)
    for system in systems:
        score = system.scores.get(metric.key)
        value = _value(score)
        if system.role == "system" and score is not None and value is not None and score.clips >= most:
            values[system.name] = value
    if len(values) < 2 or metric.better not in ARROWS:
        return frozenset()
    cost = {name: -value if metric.better == "higher" else value for name, value in values.items()}
    if metric.better == "reference":
        own = next((_value(system.scores.get(metric.key)) for system in systems if system.role == "reference"), None)
        if own is None:
            return frozenset()
        cost = {name: abs(value - own) for name, value in values.items()}
    first = min(cost, key=lambda name: cost[name])
    decimals = _decimals([system.scores.get(metric.key) for system in systems])
    text = number_text(values[first], decimals)
    return frozenset(name for name, value in values.items() if number_text(value, decimals) == text)


def _most_pairs(metric: Metric, systems: Sequence[System]) -> int:
    """Clips on which the system with most of them was compared with the reference; 0 for a metric without pairs."""
    scores = [system.scores.get(metric.key) for system in systems if system.role == "system"]
    return max((one.clips for one in scores if one is not None), default=0) if metric.key in PAIRED else 0


def number_text(value: float, decimals: int) -> str:
    """`value` with `decimals` places; very small and very large ones with a power of ten."""
    if value != 0 and (abs(value) >= 1e7 or abs(value) < 0.5 * 10**-decimals):
        return f"{value:.2e}"
    return f"{value:.{decimals}f}"


def _decimals(scores: Sequence[Score | None]) -> int:
    """Places that give the largest number of a row four digits, three below 10: 22.57, 0.804, 0.0413."""
    largest = max((abs(value) for value in map(_value, scores) if value is not None), default=0.0)
    digits = 3 if largest >= 10 else 2
    return min(6, max(0, digits - math.floor(math.log10(largest)))) if largest > 0 else 0


def _value(score: Score | None) -> float | None:
    return score.value if score is not None and score.value is not None and math.isfinite(score.value) else None


def _note(score: Score | None, most: int, role: str, others: int) -> str:
    """What must be said about a cell; empty for most. What is no system needs no reason for having no number.

    `most` are the clips of the same system, `others` those of the system that was measured on most (_most_pairs).
    """
    if score is None:
        return "not measured" if role == "system" else ""
    if _value(score) is None:
        return printable(score.reason) or "no reason was given"
    if role == "system" and 0 < score.clips < others:
        return f"clips measured: {score.clips}, of another system {others}"
    return f"measured on {score.clips} of {most} clips" if 0 < score.clips < most else ""


def _cell(score: Score | None, decimals: int, best: bool, note: int) -> Cell:
    value = _value(score)
    if score is None or value is None:
        return Cell("-", note=note)
    text = number_text(value, decimals)
    if score.low is None or score.high is None or not math.isfinite(score.high - score.low):
        return Cell(text, "", best, note)
    interval = f"{number_text(score.low, decimals)} to {number_text(score.high, decimals)}"
    return Cell(text, interval, best, note, number_text((score.high - score.low) / 2, decimals))


def markdown_table(section: Section) -> str:
    """The table of `section` in Markdown, with its heading, legend and footnotes."""
    table = score_table(section)
    width = len(table.columns)
    lines = [f"## {markdown_text(section.name)}", ""]
    lines.append("| metric | " + " | ".join(markdown_text(name) for name in table.columns) + " |")
    lines.append("|---|" + "---:|" * width)
    group = ""
    for row in table.rows:
        if row.metric.group != group:
            group = row.metric.group
            lines.append(f"| *{markdown_text(group)}* |" + " |" * width)
        lines.append(f"| {markdown_text(row.label)} | " + " | ".join(_markdown_cell(cell) for cell in row.cells) + " |")
    lines += ["", f"{ABOUT_ARROWS[0].upper()}{ABOUT_ARROWS[1:]}. {about_values(table)}".rstrip()]
    lines += ["", *(f"<sup>{k}</sup> {markdown_text(note)}  " for k, note in enumerate(table.notes, 1))]
    return "\n".join(lines).rstrip() + "\n"


def markdown_text(text: str) -> str:
    """`text` of unknown origin on one line, without a meaning in Markdown or HTML."""
    escaped = "".join("\\" + sign if sign in "\\`*_{}[]()#|~!" else sign for sign in printable(text))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _markdown_cell(cell: Cell) -> str:
    value = f"**{cell.value}**" if cell.best else cell.value
    interval = f" [{cell.interval}]" if cell.interval else ""
    return f"{value}{interval}" + (f" <sup>{cell.note}</sup>" if cell.note else "")


def latex_table(section: Section) -> str:
    """The table of `section` for LaTeX with the package booktabs: a `table` environment with footnotes below."""
    table = score_table(section)
    lines = [
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{latex_text(section.name)}: {latex_text(ABOUT_ARROWS)}. {latex_text(about_values(table))}}}",
        rf"  \begin{{tabular}}{{l{'r' * len(table.columns)}}}",
        r"    \toprule",
        "    metric & " + " & ".join(latex_text(name) for name in table.columns) + r" \\",
    ]
    group = ""
    for row in table.rows:
        if row.metric.group != group:
            group = row.metric.group
            lines.append(r"    \midrule")
        lines.append(f"    {latex_text(row.label)} & " + " & ".join(_latex_cell(cell) for cell in row.cells) + r" \\")
    lines += [r"    \bottomrule", r"  \end{tabular}"]
    for index, note in enumerate(table.notes, 1):
        lines.append(rf"  \par\footnotesize $^{{{index}}}$ {latex_text(note)}")
    return "\n".join([*lines, r"\end{table}"]) + "\n"


_LATEX = {
    **{sign: "\\" + sign for sign in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "{''}",
    "[": "{[}",
    "]": "{]}",
    "`": r"\textasciigrave{}",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "≈": r"$\approx$",
    "²": "$^2$",
    "³": "$^3$",
}


def latex_text(text: str) -> str:
    """`text` of unknown origin on one line, without a meaning in LaTeX."""
    return "".join(_LATEX.get(sign, sign) for sign in printable(text))


def _latex_cell(cell: Cell) -> str:
    value = rf"\textbf{{{cell.value}}}" if cell.best else "--" if cell.value == "-" else cell.value
    interval = rf" {{\footnotesize [{cell.interval.replace(' to ', ', ')}]}}" if cell.interval else ""
    return f"{value}{interval}" + (f"$^{{{cell.note}}}$" if cell.note else "")
