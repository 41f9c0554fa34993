"""Quality gates: what scores have to reach, for use in continuous integration."""

from __future__ import annotations

import math
import operator
import re
from dataclasses import dataclass

from gesturegen_cli.errors import ConfigError
from gesturegen_cli.evaluation.metrics import METRICS
from gesturegen_cli.evaluation.results import Report, Section, System

_OPERATORS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
_GATE = re.compile(r"(?:(?P<section>[a-z]+)\.)?(?P<metric>[a-z0-9_-]+)\s*(?P<sign>>=|<=|>|<|=)\s*(?P<bound>\S+)")
SECTIONS = ("videos", "reconstruction", "speech")
_WORSE = "worse"


@dataclass(frozen=True)
class Gate:
    """A score of every system, in every section or in one, has to be on one side of a bound."""

    section: str
    """Empty: every section in which a system is measured by this metric."""
    metric: str
    sign: str
    bound: float

    def __str__(self) -> str:
        place = f"{self.section}." if self.section else ""
        return f"{place}{self.metric} {self.sign} {self.bound:g}"


def parse_gates(text: str) -> tuple[Gate, ...]:
    """`psnr=20,fgd<5,reconstruction.ssim>=0.9` -> gates. `=` is "not worse than": >= or <=, as the metric goes.

    The word `worse` is left to `asks_for_worse`. ConfigError for anything else.
    """
    gates = []
    for part in _parts(text):
        if part == _WORSE:
            continue
        found = _GATE.fullmatch(part.lower())
        metric = found["metric"].replace("-", "_") if found else ""
        if found is None or metric not in METRICS:
            known = "psnr=20, fgd<5, speech.bas>=0.2, or worse"
            raise ConfigError(f"--fail-under {part!r} is not a gate", f"write gates such as {known}")
        if found["section"] and found["section"] not in SECTIONS:
            raise ConfigError(
                f"--fail-under {part!r}: no section {found['section']!r}", f"choose from {', '.join(SECTIONS)}"
            )
        sign, bound = _sign(metric, found["sign"], part), _bound(found["bound"], part)
        gates.append(Gate(found["section"] or "", metric, sign, bound))
    return tuple(gates)


def asks_for_worse(text: str) -> bool:
    """Whether `worse` is among the gates: no score may be worse than the baseline's by more than its interval."""
    return _WORSE in _parts(text)


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _sign(metric: str, sign: str, part: str) -> str:
    better = METRICS[metric].better
    if sign != "=":
        return sign
    if better == "reference":
        raise ConfigError(
            f"--fail-under {part!r}: neither high nor low values of {metric} are good", f"write {metric}> or {metric}<"
        )
    return ">=" if better == "higher" else "<="


def _bound(text: str, part: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise ConfigError(f"--fail-under {part!r}: {text!r} is not a number", "write gates such as psnr=20") from error
    if not math.isfinite(value):
        raise ConfigError(f"--fail-under {part!r}: the bound has to be finite", "write gates such as psnr=20")
    return value


def failed_gates(report: Report, gates: tuple[Gate, ...]) -> list[str]:
    """What is not reached, in words. A gate whose metric was measured nowhere has failed."""
    failures = []
    for gate in gates:
        sections = [s for s in report.sections if gate.section in ("", s.name)]
        places = [(s, system) for s in sections for system in _judged(s)]
        values = [(s, system, system.scores[gate.metric]) for s, system in places if gate.metric in system.scores]
        measured = [(s, system, score.value) for s, system, score in values if score.value is not None]
        if not measured:
            reasons = {score.reason for *_, score in values if score.reason}
            failures.append(f"{gate}: not measured" + (f" ({'; '.join(sorted(reasons))})" if reasons else ""))
        for section, system, value in measured:
            if not _OPERATORS[gate.sign](value, gate.bound):
                failures.append(f"{gate}: {system.name} has {value:.4g} ({section.name})")
    return failures


def worse_scores(report: Report, baseline: Report) -> list[str]:
    """Scores that are worse than the baseline's of the same section and system, by more than their interval.

    Without an interval every loss counts; metrics that are good near the reference's value do not count.
    """
    found = []
    for section, system, older in _common(report, baseline):
        for key, score in system.scores.items():
            old = older.scores.get(key)
            if score.value is None or old is None or old.value is None or METRICS[key].better == "reference":
                continue
            higher = METRICS[key].better == "higher"
            best = score.high if higher else score.low
            best = score.value if best is None else best
            if best < old.value if higher else best > old.value:
                found.append(f"{key} of {system.name} ({section.name}): {score.value:.4g}, was {old.value:.4g}")
    return found


def changes(report: Report, baseline: Report) -> list[str]:
    """All scores beside those of the baseline, in words."""
    found = []
    for section, system, older in _common(report, baseline):
        for key, score in system.scores.items():
            old = older.scores.get(key)
            if score.value is not None and old is not None and old.value is not None:
                values = f"{old.value:.4g} -> {score.value:.4g} ({score.value - old.value:+.3g})"
                found.append(f"{section.name}, {system.name}, {METRICS[key].label}: {values}")
    return found


def _common(report: Report, baseline: Report) -> list[tuple[Section, System, System]]:
    older = {(s.name, system.name): system for s in baseline.sections for system in _judged(s)}
    return [
        (s, system, older[s.name, system.name])
        for s in report.sections
        for system in _judged(s)
        if (s.name, system.name) in older
    ]


def _judged(section: Section) -> list[System]:
    return [system for system in section.systems if system.role == "system"]
