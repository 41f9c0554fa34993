"""The plots of the report as inline SVG: motion against speech, flicker over time, a metric's intervals.

Each plot has a title and a description for those who do not see it. Colours come from `STYLE`, which a page includes
once: it has a light and a dark scheme. Text that comes from outside is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from gesturegen_cli.evaluation.beat import SIGMA, onset_scores
from gesturegen_cli.evaluation.metrics import Metric
from gesturegen_cli.evaluation.report_tables import ARROWS, label_with_unit
from gesturegen_cli.evaluation.results import Curves, System
from gesturegen_cli.media.files import printable

SECONDS = 20.0
"""The plot of motion against speech shows no more than this: beyond it, single onsets cannot be told apart."""
NEAR = 3 * SIGMA
"""Frames within which an onset is linked with a rest of the motion; farther ones score under 0.012."""

STYLE = """
:root { --c0: #5b636e; --c1: #2563b8; --c2: #c2571a; --c3: #0f7f6e; --c4: #8a4fbf; --c5: #b3304f; --c6: #77680f;
  --c7: #9aa3ae; --k0: #cfd6de; --k1: #9cc4ba; --k2: #61aa9a; --k3: #2b8d7a; --k4: #04634f; --onset: #a86a00;
  --grid: #e3e7ec; --axis: #b4bcc6; --label: #39414b; --faint: #66707c; --seam: #b3304f; --band: #f5e3c0 }
@media (prefers-color-scheme: dark) { :root { --c0: #b3bcc8; --c1: #75adf2; --c2: #f0985a; --c3: #4cc3ae;
  --c4: #c09af0; --c5: #f2869e; --c6: #d0bd55; --c7: #77818d; --k0: #3c454f; --k1: #3d6963; --k2: #459385;
  --k3: #55bda9; --k4: #86f0da; --onset: #e5b355; --grid: #2b3138; --axis: #525b66; --label: #cfd6de;
  --faint: #97a1ad; --seam: #f2869e; --band: #4a3d20 } }
svg.plot { display: block; width: 100%; height: auto; font-size: 12px; overflow: visible }
svg.plot text { fill: var(--label); font-variant-numeric: tabular-nums } svg.plot text.faint { fill: var(--faint) }
svg.plot text.end { text-anchor: end } svg.plot text.mid { text-anchor: middle } svg.plot text.big { font-weight: 600 }
svg.plot .grid { stroke: var(--grid) } svg.plot .axis { stroke: var(--axis) } svg.plot .area { fill: var(--band);
  stroke: var(--onset); stroke-width: .75; stroke-linejoin: round }
svg.plot .onset { stroke: var(--onset); stroke-width: 1.25; stroke-opacity: .45 } svg.plot .dot { fill: var(--onset) }
svg.plot .rest { stroke: var(--c0); stroke-dasharray: 2 2 } svg.plot .ring { fill: none; stroke: var(--onset) }
svg.plot .seam { stroke: var(--seam); stroke-width: 1.5; stroke-dasharray: 5 3 } svg.plot .mark { fill: var(--seam) }
svg.plot .curve { fill: none; stroke-width: 1.75; stroke-linejoin: round; stroke-linecap: round }
svg.plot .thin { stroke-width: 1.1; stroke-opacity: .9 }
svg.plot .link { stroke-width: 2.5; stroke-linecap: round } svg.plot .own { stroke: var(--c0); stroke-dasharray: 4 3 }
"""
STYLE += "".join(f"svg.plot .c{k} {{ stroke: var(--c{k}) }} svg.plot .f{k} {{ fill: var(--c{k}) }}\n" for k in range(8))
STYLE += "".join(
    f"svg.plot .k{k} {{ stroke: var(--k{k}) }} svg.plot .kf{k} {{ fill: var(--k{k}) }}\n" for k in range(5)
)

_WIDTH = 960
_LEFT, _RIGHT = 62, 12
_MOST_POINTS = 1200

Numbers = NDArray[np.floating]
_Place = Callable[[float], float]


def speech_plot(curves: Curves, *, fps: float, title: str, colour: int = 1, top: float = 0.0, span: float = 0.0) -> str:
    """Motion against speech in the first 20 s of one video: onset strength above, speed of motion below.

    Vertical marks stand at speech onsets and at rests of the motion. A line links each onset with the nearest rest
    when that is within 9 frames, coloured by the onset's score exp(-d^2 / 18) with d in frames. Where a new window of
    generation begins, the speed curve has a mark. Several plots share their axes with `top`, the least upper end
    of the speed axis in widths per second, and `span`, the least length of the time axis in seconds. `colour` is one
    of the eight of STYLE.
    """
    shown = min(SECONDS, max(span, (len(curves.speed) + 1) / fps, 2 / fps))
    onsets, rests = _within(curves.onsets, fps * shown), _within(curves.rests, fps * shown)
    above, gap, below, head = 70, 44, 120, 34
    floor = head + above
    ceiling, bottom = floor + gap, floor + gap + below
    speed = np.asarray(curves.speed, np.float64)[: math.ceil(shown * fps)]
    high = _nice_top(max(top, largest(speed)))

    def x(frame: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * frame / fps / shown

    parts = [_time_axis(shown, head, bottom), _value_axis(high, ceiling, bottom, "speed, widths/s")]
    parts += _loudness(curves.loudness, shown, head, floor)
    for rest in rests:
        parts.append(f'<line class="rest" x1="{x(rest):.1f}" x2="{x(rest):.1f}" y1="{ceiling}" y2="{bottom}"/>')
    for onset in onsets:
        parts += _onset(x, onset, curves.rests, head, floor, ceiling)
    for seam in (float(seam) for seam in curves.seams if 0 < seam < shown * fps):
        parts.append(f'<line class="seam" x1="{x(seam):.1f}" x2="{x(seam):.1f}" y1="{ceiling}" y2="{bottom}"/>')
        place = f"M{x(seam) - 5:.1f} {bottom}h10l-5 -8z"
        parts.append(f'<path class="mark" d="{place}"><title>new window at {seam / fps:.2f} s</title></path>')
    xs = [x(index + 0.5) for index in range(len(speed))]
    parts.append(_curve(xs, bottom - below * speed / high, colour))
    parts += _speech_legend(curves, fps, shown)
    about = (
        f"Speech onsets: {_count(curves.onsets)}, rests of the motion: {len(curves.rests)}, {_score_text(curves)}. "
        f"Speed up to {largest(speed):.2f} shoulder widths per second."
    )
    return _svg(_WIDTH, bottom + 40, title, about, parts)


def flicker_plot(curves: Mapping[str, Curves], colours: Mapping[str, int], *, fps: float, title: str) -> str:
    """Change of the still background between frames over time, one line per column, in grey levels.

    Lines have gaps where no background was seen. In long clips a point is the largest value of several frames.
    """
    seconds = max((len(one.flicker) + 1 for one in curves.values()), default=2) / fps
    high = _nice_top(max((largest(one.flicker) for one in curves.values()), default=0.0))
    legend, head = _legend(curves, colours)
    bottom = head + 140
    parts = [_time_axis(seconds, head, bottom), _value_axis(high, head, bottom, "flicker, grey levels"), legend]
    for name, one in curves.items():
        times, heights = _thinned(np.asarray(one.flicker, np.float64))
        xs = [_LEFT + (_WIDTH - _LEFT - _RIGHT) * (time + 0.5) / fps / seconds for time in times]
        parts.append(_curve(xs, bottom - (bottom - head) * heights / high, colours.get(name, 7), "curve thin"))
    about = f"Change of the still background between frames, {len(curves)} videos, up to {high:g} grey levels."
    return _svg(_WIDTH, bottom + 40, title, about, parts)


def interval_plot(metric: Metric, systems: Sequence[System], colours: Mapping[str, int]) -> str:
    """One metric over systems: a dot at the value, a line over its 95 % interval; empty when nobody was measured.

    The reference's own value goes through all rows as a dashed line.
    """
    rows = [(system, system.scores[metric.key]) for system in systems if metric.key in system.scores]
    measured = [(system, score, score.value) for system, score in rows if score.value is not None]
    if not measured:
        return ""
    ends = [end for _, score, value in measured for end in (value, score.low, score.high) if end is not None]
    ticks = nice_ticks(min(ends), max(ends), 4)
    low, high = min(ticks[0], *ends), max(ticks[-1], *ends)
    width, left, right, head, step = 380, 118, 14, 40, 24
    bottom = head + step * len(measured)

    def x(value: float) -> float:
        return left + (width - left - right) * ((value - low) / (high - low))

    heading = label_with_unit(metric)
    parts = [f'<text class="big" x="0" y="15">{escape(heading)}</text>']
    parts.append(f'<text class="faint end" x="{width}" y="15">{_direction(metric)}</text>')
    for tick in ticks:
        parts.append(f'<line class="grid" x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{head - 8}" y2="{bottom}"/>')
        parts.append(f'<text class="faint mid" x="{x(tick):.1f}" y="{bottom + 16}">{tick:.6g}</text>')
    for system, _, value in measured:
        if system.role == "reference":
            parts.append(f'<line class="own" x1="{x(value):.1f}" x2="{x(value):.1f}" y1="{head - 8}" y2="{bottom}"/>')
    told = []
    for index, (system, score, value) in enumerate(measured):
        y, colour = head + step * index + 8, colours.get(system.name, 7)
        parts.append(f'<text class="end" x="{left - 12}" y="{y + 4}">{escape(_short(system.name, 15))}</text>')
        if score.low is not None and score.high is not None:
            parts.append(
                f'<line class="link c{colour}" x1="{x(score.low):.1f}" x2="{x(score.high):.1f}" y1="{y}" y2="{y}"/>'
            )
        about = f"{printable(system.name)}: {value:.4g}"
        about += f", {score.low:.4g} to {score.high:.4g}" if score.low is not None and score.high is not None else ""
        told.append(about)
        mark = f'<circle class="f{colour}" cx="{x(value):.1f}" cy="{y}" r="5"><title>{escape(about)}</title></circle>'
        parts.append(mark)
    return _svg(width, bottom + 24, f"{heading} of each system", "; ".join(told), parts)


def largest(values: Numbers) -> float:
    """The largest finite value; 0 without one above it."""
    return float(values[np.isfinite(values)].max(initial=0.0))


def nice_ticks(low: float, high: float, count: int) -> list[float]:
    """About `count` round numbers from at most `low` to at least `high`, always two or more."""
    if not high > low:
        half = abs(high) / 10 or 1.0
        low, high = low - half, high + half
    raw = (high - low) / count
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * size for factor in (1, 2, 2.5, 5, 10) if factor * size >= raw * 0.999)
    return [step * k for k in range(math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9) + 1)]


def _onset(x: _Place, onset: float, rests: Numbers, head: int, floor: int, ceiling: int) -> list[str]:
    """The mark of one onset, and the line to its rest."""
    mark = f'<line class="onset" x1="{x(onset):.1f}" x2="{x(onset):.1f}" y1="{head + 20}" y2="{floor}"/>'
    if len(rests) == 0 or float(np.abs(rests - onset).min()) > NEAR:
        return [mark, f'<circle class="ring" cx="{x(onset):.1f}" cy="{floor + 4}" r="2.5"/>']
    rest = float(rests[int(np.abs(rests - onset).argmin())])
    score = float(onset_scores(np.array([onset]), np.array([rest]))[0])
    line = (
        f'<line class="link k{_shade(score)}" x1="{x(onset):.1f}" y1="{floor + 4}" x2="{x(rest):.1f}" y2="{ceiling}">'
        f"<title>{abs(onset - rest):.1f} frames apart, score {score:.2f}</title></line>"
    )
    return [mark, line, f'<circle class="dot" cx="{x(onset):.1f}" cy="{floor + 4}" r="2.5"/>']


def _speech_legend(curves: Curves, fps: float, shown: float) -> list[str]:
    whole = (len(curves.speed) + 1) / fps
    part = f" (the plot shows {shown:.0f} of {whole:.0f} s)" if whole > shown + 0.5 else ""
    parts = [f'<text class="big" x="{_LEFT}" y="16">{escape(_score_text(curves) + part)}</text>']
    right = _WIDTH - _RIGHT
    parts.append(f'<text class="faint end" x="{right - 132}" y="16">score of an onset, exp(-d²/18):  0</text>')
    parts += [f'<rect class="kf{k}" x="{right - 126 + 22 * k}" y="7" width="22" height="10"/>' for k in range(5)]
    return [*parts, f'<text class="faint" x="{right - 10}" y="16">1</text>']


def _legend(curves: Mapping[str, Curves], colours: Mapping[str, int]) -> tuple[str, int]:
    """Columns with their colour and median flicker, in as many rows as they need, and where the rows end."""
    parts, x, y = [], float(_LEFT), 8
    for name, one in curves.items():
        seen = one.flicker[np.isfinite(one.flicker)]
        text = _short(name, 24) + (f", median {float(np.median(seen)):.2f}" if len(seen) else ", no background")
        width = 36 + 6.6 * len(text)
        if x > _LEFT and x + width > _WIDTH:
            x, y = float(_LEFT), y + 20
        parts.append(f'<rect class="f{colours.get(name, 7)}" x="{x:.0f}" y="{y}" width="10" height="10" rx="2"/>')
        parts.append(f'<text x="{x + 15:.0f}" y="{y + 9}">{escape(text)}</text>')
        x += width
    return "".join(parts), y + 22


def _score_text(curves: Curves) -> str:
    if curves.onsets is None:
        return "no sound"
    if len(curves.onsets) == 0:
        return "no speech onsets"
    mean = float(onset_scores(curves.onsets, curves.rests).mean())
    return f"mean score {mean:.2f} over {len(curves.onsets)} onsets"


def _count(values: Numbers | None) -> int:
    return 0 if values is None else len(values)


def _within(values: Numbers | None, frames: float) -> list[float]:
    return [] if values is None else [float(value) for value in values if 0 <= value <= frames]


def _loudness(strength: Numbers | None, shown: float, head: int, floor: int) -> list[str]:
    """Onset strength as a filled area under its heading."""
    parts = [f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{floor}" y2="{floor}"/>']
    middle = (head + floor) / 2
    parts.append(_turned("onset strength", middle))
    values = np.nan_to_num(np.asarray([] if strength is None else strength, np.float64))[: math.ceil(shown * 100)]
    if len(values) == 0 or values.max() <= 0:
        text = "no sound" if strength is None else "silence"
        return [*parts, f'<text class="faint mid" x="{_WIDTH / 2}" y="{middle + 4}">{text}</text>']
    step = (_WIDTH - _LEFT - _RIGHT) / shown / 100
    heights = floor - (floor - head - 22) * values / values.max()
    points = "".join(f"L{_LEFT + step * k:.1f} {y:.1f}" for k, y in enumerate(heights))
    return [
        *parts,
        f'<path class="area" d="M{_LEFT} {floor}{points}L{_LEFT + step * (len(values) - 1):.1f} {floor}z"/>',
    ]


def _time_axis(seconds: float, head: int, bottom: int) -> str:
    parts = []
    for tick in nice_ticks(0.0, seconds, 10):
        if 0 <= tick <= seconds * 1.0001:
            x = _LEFT + (_WIDTH - _LEFT - _RIGHT) * tick / seconds
            parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{head}" y2="{bottom}"/>')
            parts.append(f'<text class="faint mid" x="{x:.1f}" y="{bottom + 16}">{tick:g}</text>')
    parts.append(f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{bottom}" y2="{bottom}"/>')
    parts.append(f'<text class="faint mid" x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{bottom + 33}">time, s</text>')
    return "".join(parts)


def _value_axis(high: float, top: int, bottom: int, label: str) -> str:
    parts = [_turned(label, (top + bottom) / 2)]
    for value in (0.0, high / 2, high):
        y = bottom - (bottom - top) * value / high
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="faint end" x="{_LEFT - 8}" y="{y + 4:.1f}">{value:g}</text>')
    return "".join(parts)


def _turned(label: str, y: float) -> str:
    return f'<text class="mid" transform="translate(12 {y:.1f}) rotate(-90)">{escape(label)}</text>'


def _curve(xs: Sequence[float], ys: Numbers, colour: int, kind: str = "curve") -> str:
    """A line through the points, with gaps where `ys` is not finite."""
    path, pen = [], "M"
    for x, y in zip(xs, ys, strict=True):
        if math.isfinite(y):
            path.append(f"{pen}{x:.1f} {y:.1f}")
        pen = "L" if math.isfinite(y) else "M"
    return f'<path class="{kind} c{colour}" d="{"".join(path)}"/>' if path else ""


def _thinned(values: Numbers) -> tuple[Numbers, Numbers]:
    """Places and values; of many values the largest of each stretch, for spikes must not get lost."""
    stretch = math.ceil(len(values) / _MOST_POINTS) or 1
    padded = np.pad(values, (0, -len(values) % stretch), constant_values=np.nan).reshape(-1, stretch)
    highest = np.where(np.isfinite(padded), padded, -np.inf).max(axis=1)
    return np.arange(len(highest)) * float(stretch), np.where(np.isfinite(highest), highest, np.nan)


def _nice_top(high: float) -> float:
    return nice_ticks(0.0, high, 4)[-1] if math.isfinite(high) and high > 0 else 1.0


def _shade(score: float) -> int:
    return min(4, int(5 * score))


def _direction(metric: Metric) -> str:
    text = {"higher": "higher is better", "lower": "lower is better", "reference": "near the reference is better"}
    return f"{ARROWS[metric.better]} {text[metric.better]}" if metric.better in text else ""


def _short(name: str, longest: int) -> str:
    text = printable(name)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _svg(width: int, height: int, title: str, about: str, parts: Sequence[str]) -> str:
    head = f'<svg class="plot" role="img" viewBox="0 0 {width} {height}">'
    told = f"<title>{escape(printable(title))}</title><desc>{escape(about)}</desc>"
    return f"{head}{told}{''.join(parts)}</svg>"
