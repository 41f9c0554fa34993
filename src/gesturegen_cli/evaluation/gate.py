"""Quality gates: what scores have to reach, for use in continuous integration."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gesturegen_cli.errors import ConfigError
from gesturegen_cli.evaluation.metrics import METRICS, suggest
from gesturegen_cli.evaluation.results import Report, Score, Section, System

_OPERATORS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
_GATE = re.compile(r"(?:(?P<section>[a-z]+)\.)?(?P<metric>[a-z0-9_-]+)\s*(?P<sign>>=|<=|>|<|=)\s*(?P<bound>\S+)")
SECTIONS = ("videos", "reconstruction", "speech")
_WORSE = "worse"
_NAMED = 5
"""Clips that a line names."""


@dataclass(frozen=True)
class Gate:
    """A score of every system, in every section or in one, has to be on one side of a bound."""

    section: str
    """Empty: every section in which some system could be measured by this metric."""
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
        if found is None:
            known = "psnr=20, fgd<5, speech.bas>=0.2, or worse"
            raise ConfigError(f"--fail-under {part!r} is not a gate", f"write gates such as {known}")
        metric = found["metric"].replace("-", "_")
        if metric not in METRICS:
            raise ConfigError(f"--fail-under {part!r}: unknown metric {metric!r}", suggest(metric, METRICS))
        if found["section"] and found["section"] not in SECTIONS:
            raise ConfigError(
                f"--fail-under {part!r}: no section {found['section']!r}", f"choose from {', '.join(SECTIONS)}"
            )
        sign, bound = _sign(metric, found["sign"], part), _bound(found["bound"], part)
        gates.append(Gate(found["section"] or "", metric, sign, bound))
    return tuple(gates)


def asks_for_worse(text: str) -> bool:
    """Whether `worse` is among the gates: see worse_scores."""
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
    """What is not reached, in words. A system that was not measured where the gate asks for it has failed.

    A gate asks for every system of its section; without a section, of those in which the metric could be measured for
    some system, and there has to be one of them for each system.
    """
    return [failure for gate in gates for failure in _misses(report, gate)]


def worse_scores(report: Report, baseline: Report) -> list[str]:
    """What is worse than in the baseline, or cannot be compared with it although it was measured there, in words.

    Systems are compared with those of the same name, and if each report has only one, whatever their names. A score is
    worse by more than half of its interval, or by anything without one. Missing clips of the same reference are worse
    as well: they may be the bad ones. Metrics that are good near the reference's value do not count.
    """
    found = _alone(report, baseline)
    compared = set()
    same_reference = report.protocol.get("reference") == baseline.protocol.get("reference")
    for section, system, older in _pairs(report, baseline):
        place = f"{system.name} ({section})"
        before = {key: old for key, old in older.scores.items() if old.value is not None and _is_counted(key)}
        compared |= {system.name} if before else set()
        lost = [key for key in before if _value(system, key) is None]
        if lost:
            found.append(f"{', '.join(lost)} of {place}: not measured, but in the baseline{_reasons([system], lost)}")
        if same_reference:
            found += _lost_clips(place, system, older, before)
        for key, old in before.items():
            score = system.scores.get(key)
            if score is not None and _is_worse(score, old, higher=METRICS[key].better == "higher"):
                found.append(f"{key} of {place}: {score.value:.4g}, was {old.value:.4g}{_other_name(system, older)}")
    unknown = [name for name, partner in _partners(report, baseline).items() if partner and name not in compared]
    return found + [f"{name}: the baseline has no score of it that could be worse" for name in unknown]


def changes(report: Report, baseline: Report) -> list[str]:
    """All scores beside those of the baseline, in words; and which systems it does not have."""
    found = _alone(report, baseline)
    for section, system, older in _pairs(report, baseline):
        for key, score in system.scores.items():
            old = older.scores.get(key)
            if score.value is not None and old is not None and old.value is not None:
                values = f"{old.value:.4g} -> {score.value:.4g} ({score.value - old.value:+.3g})"
                clips = "" if score.clips == old.clips else f", {old.clips} -> {score.clips} clips"
                name = f"{system.name}{_other_name(system, older)}"
                found.append(f"{section}, {name}, {METRICS[key].label}: {values}{clips}")
    return found


def _misses(report: Report, gate: Gate) -> list[str]:
    """How the systems fall short of one gate."""
    judged = [(s, system) for s in report.sections if gate.section in ("", s.name) for system in _judged(s)]
    measured = {section.name for section, system in judged if _value(system, gate.metric) is not None}
    if not measured:
        return [f"{gate}: not measured{_reasons((system for _, system in judged), [gate.metric])}"]
    failures = []
    for section, system in judged:
        value = _value(system, gate.metric)
        if section.name in measured and value is None:
            reason = _reasons([system], [gate.metric])
            failures.append(f"{gate}: {system.name} was not measured in {section.name}{reason}")
        elif value is not None and not _OPERATORS[gate.sign](value, gate.bound):
            failures.append(f"{gate}: {system.name} has {value:.4g} ({section.name})")
    asked = {system.name for section, system in judged if section.name in measured}
    left_out = dict.fromkeys(system.name for _, system in judged if system.name not in asked)
    return failures + [f"{gate}: {name} was not measured anywhere" for name in left_out]


def _is_worse(new: Score, old: Score, *, higher: bool) -> bool:
    """Whether `new` is worse than `old` by more than half of its own interval; without one, by anything."""
    if new.value is None or old.value is None:
        return False
    now, before = _interval(new), _interval(old)
    room = (now[1] - now[0]) / 2 if now is not None else 0.0
    # Like with like: chance raises Frechet distances and their intervals take that off, so that the interval of one
    # cannot be held against the value of another: where both have intervals, their middles are compared. The older one
    # gives no room of its own: intervals are wide because clips differ, and both evaluations are of the same clips.
    new_at, old_at = (sum(now) / 2, sum(before) / 2) if now and before else (new.value, old.value)
    return (old_at - new_at if higher else new_at - old_at) > room


def _lost_clips(place: str, system: System, older: System, before: Mapping[str, Score]) -> list[str]:
    """Metrics without clips they were measured on before, those of the same clips in one line.

    By their names where the baseline has them, so that an easy clip does not make up for a bad one; by their number for
    metrics of a whole set.
    """
    lost: dict[str, list[str]] = {}
    for key, old in before.items():
        score = system.scores.get(key)
        if score is None or score.value is None:
            continue
        was, now = _measured_clips(older, key), set(_measured_clips(system, key))
        gone = [name for name in was if name not in now]
        if gone:
            more = f" and {len(gone) - _NAMED} more" if len(gone) > _NAMED else ""
            lost.setdefault(f"without {', '.join(gone[:_NAMED])}{more}", []).append(key)
        elif not was and score.clips < old.clips:
            lost.setdefault(f"fewer clips, {score.clips}, were {old.clips}", []).append(key)
    return [f"{', '.join(keys)} of {place}: {what}" for what, keys in lost.items()]


def _measured_clips(system: System, key: str) -> list[str]:
    """Names of the reference's clips, or of the videos without one, that have a score of their own."""
    return [str(clip.get("reference") or clip["id"]) for clip in system.clips if clip.get(key) is not None]


def _partners(report: Report, baseline: Report) -> dict[str, str | None]:
    """Each system's name -> that of its counterpart in the baseline, None where there is none."""
    ours, theirs = (
        list(dict.fromkeys(system.name for section in each.sections for system in _judged(section)))
        for each in (report, baseline)
    )
    # a name is that of the folder unless one was given, and folders of nightly runs have dates in theirs
    if len(ours) == len(theirs) == 1:
        return {ours[0]: theirs[0]}
    return {name: name if name in theirs else None for name in ours}


def _alone(report: Report, baseline: Report) -> list[str]:
    """One line about systems without a counterpart; none where each has one."""
    alone = [name for name, partner in _partners(report, baseline).items() if partner is None]
    there = dict.fromkeys(system.name for section in baseline.sections for system in _judged(section))
    if not alone:
        return []
    return [f"{', '.join(alone)}: nothing to compare with in the baseline, which has {', '.join(there) or 'no system'}"]


def _pairs(report: Report, baseline: Report) -> list[tuple[str, System, System]]:
    """Section, system and its counterpart, for all that the baseline has; without scores where the section is gone."""
    now = {(section.name, system.name): system for section in report.sections for system in _judged(section)}
    partners = _partners(report, baseline)
    return [
        (section.name, now.get((section.name, name), System(name, "system", {})), older)
        for section in baseline.sections
        for older in _judged(section)
        for name, partner in partners.items()
        if partner == older.name
    ]


def _is_counted(key: str) -> bool:
    """Whether a metric has a bad direction; of one that only the baseline knows this is taken for granted."""
    return key not in METRICS or METRICS[key].better != "reference"


def _interval(score: Score) -> tuple[float, float] | None:
    return None if score.low is None or score.high is None else (score.low, score.high)


def _value(system: System, key: str) -> float | None:
    return system.scores[key].value if key in system.scores else None


def _reasons(systems: Iterable[System], keys: Iterable[str]) -> str:
    """Why they were not measured, in brackets; empty where no reason is known."""
    wanted = list(keys)
    scores = [system.scores[key] for system in systems for key in wanted if key in system.scores]
    reasons = sorted({score.reason for score in scores if score.value is None and score.reason})
    return f" ({'; '.join(reasons)})" if reasons else ""


def _other_name(system: System, older: System) -> str:
    return "" if system.name == older.name else f" ({older.name} in the baseline)"


def _judged(section: Section) -> list[System]:
    return [system for system in section.systems if system.role == "system"]
