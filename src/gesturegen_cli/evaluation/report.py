"""What an evaluation found: numbers, why some are missing, and the protocol they were measured by."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gesturegen_cli.media.files import replacing

if TYPE_CHECKING:
    from rich.table import Table

FILE = "metrics.json"
FORMAT = 1

LABELS = {
    "psnr": ("PSNR, dB", "higher"),
    "ssim": ("SSIM", "higher"),
    "l1": ("L1", "lower"),
    "fgd": ("FGD", "lower"),
    "div": ("DIV", "near the reference's"),
    "bas": ("BAS", "near the reference's"),
}
"""Metric -> its name in the table, and which values are good."""


@dataclass(frozen=True)
class Report:
    """The outcome of one evaluation. A metric that could not be measured is None and has a reason."""

    mode: str
    metrics: dict[str, float | None]
    baseline: dict[str, float | None]
    """The same metrics of the reference itself, or in mode `reconstruction` of repeating the first frame."""
    reasons: dict[str, str]
    counts: dict[str, int]
    protocol: dict[str, Any]
    clips: list[dict[str, Any]] = field(default_factory=list)
    """Scores of each video."""
    failed: list[dict[str, str]] = field(default_factory=list)
    """Videos that could not be read, and why."""
    warnings: list[str] = field(default_factory=list)


@contextmanager
def report_folder(folder: Path) -> Iterator[None]:
    """Make the folder before the work, so that one that cannot be made shows early; undo that when the work fails."""
    missing = [p for p in (folder, *folder.parents) if not p.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        for path in missing:
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()
        raise


def save_report(folder: Path, report: Report) -> Path:
    """Write `metrics.json` into `folder`; an older one is replaced at once."""
    path = folder / FILE
    text = json.dumps({"format": FORMAT, **asdict(report)}, indent=2, ensure_ascii=False, allow_nan=False)
    with replacing(path) as partial:
        partial.write_text(text + "\n", encoding="utf-8")
    return path


def report_table(report: Report) -> Table:
    """The metrics as a table for people."""
    from rich.table import Table

    other = "first frame repeated" if report.mode == "reconstruction" else "reference itself"
    table = Table(title=f"evaluation, mode {report.mode}")
    for heading in ("metric", "value", other, "good is"):
        table.add_column(heading, justify="left" if heading in ("metric", "good is") else "right")
    for name, value in report.metrics.items():
        label, good = LABELS[name]
        table.add_row(label, "none" if value is None else _number(value), _number(report.baseline.get(name)), good)
    reasons: dict[str, list[str]] = {}
    for name, reason in report.reasons.items():
        reasons.setdefault(reason, []).append(LABELS[name][0].split(",")[0])
    table.caption = "\n".join(f"no {', '.join(names)}: {reason}" for reason, names in reasons.items()) or None
    return table


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
