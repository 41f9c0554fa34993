"""Which clips the report shows: the best and the worst, where something can be said of that, else the first."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gesturegen_cli.evaluation.metrics import METRICS
from gesturegen_cli.evaluation.results import Curves, Exhibit, Section, System

MOST = 6
"""Clips that a section shows."""
_JUDGED_BY = ("psnr", "ssim", "l1", "bas")
"""The first of these that a system was measured by tells its best and its worst clip."""


def choose_exhibits(
    section: Section, videos: Mapping[str, Mapping[str, Path]], curves: Mapping[str, Mapping[str, Curves]]
) -> list[Exhibit]:
    """At most MOST clips: every system's best and worst. `videos` and `curves`: column -> clip -> what is shown."""
    chosen: dict[str, list[str]] = {}
    reference = next((system.scores for system in section.systems if system.role == "reference"), {})
    own = {key: score.value for key, score in reference.items()}
    for system in (s for s in section.systems if s.role == "system"):
        for row, why in _extremes(system, own):
            chosen.setdefault(row.get("reference") or row["id"], []).append(why)
    exhibits = []
    for clip, reasons in list(chosen.items())[:MOST]:
        shown = {"reference": clip} if clip in videos["reference"] else {}
        for system in (s for s in section.systems if s.role == "system"):
            rows = [row for row in system.clips if (row.get("reference") or row["id"]) == clip]
            if rows:
                shown[system.name] = rows[0]["id"]
        exhibits.append(
            Exhibit(
                section.name,
                clip,
                ", ".join(dict.fromkeys(reasons)),
                {column: videos[column][name] for column, name in shown.items()},
                {column: curves[column][name] for column, name in shown.items()},
            )
        )
    return exhibits


def _extremes(system: System, own: Mapping[str, float | None]) -> list[tuple[dict[str, Any], str]]:
    """The best and the worst clip of a system, and why they are; `own` are the reference's scores."""
    for key in _JUDGED_BY:
        better, aim = METRICS[key].better, own.get(key)
        rows = sorted((r for r in system.clips if r.get(key) is not None), key=lambda r: float(r[key]))
        if better == "reference":
            rows = [] if aim is None else sorted(rows, key=lambda r: abs(float(r[key]) - aim))
        if rows:
            rows = rows[::-1] if better == "higher" else rows
            label = METRICS[key].label
            return [(rows[0], f"best {label} of {system.name}"), (rows[-1], f"worst {label} of {system.name}")][
                : len(rows)
            ]
    return [(row, f"first of {system.name}") for row in system.clips[:1]]
