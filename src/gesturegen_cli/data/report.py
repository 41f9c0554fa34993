"""`report.html`: what a dataset holds and what was left out, in one file that loads nothing from anywhere."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from html import escape

from gesturegen_cli.data.manifest import SPLITS, Clip, Dataset, Dropped

_MAX_ROWS = 1000
_MAX_THUMBNAILS = 60
_BARS = 20
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 66rem; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: .5rem 0 1.5rem } th, td { padding: .2rem .8rem .2rem 0; text-align: left }
th { border-bottom: 1px solid #999 } td { border-bottom: 1px solid #e4e4e4; overflow-wrap: anywhere }
td.n { text-align: right; white-space: nowrap } h2 { margin-top: 2rem }
figure { display: inline-block; margin: 0 .6rem .6rem 0; width: 96px; vertical-align: top; font-size: 10px }
figcaption { overflow-wrap: anywhere; line-height: 1.2 } svg text { font-size: 11px; fill: #444 }
"""


def build_report(dataset: Dataset, dropped: Sequence[Dropped], thumbnails: Mapping[str, str]) -> str:
    """The whole page. `thumbnails` maps clip ids to JPEGs in base64. Names of files are text, never markup."""
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8"><title>Dataset report</title>',
        # Should a name ever get through as markup, it still can load and run nothing.
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">",
        f"<style>{_STYLE}</style></head><body>",
        f"<h1>Dataset of {_text(dataset.source)}</h1>",
        _totals(dataset, dropped),
        "<h2>Left out</h2>",
        _reasons(dropped),
        "<h2>Lengths of the clips</h2>",
        _histogram([clip.seconds for clip in dataset.clips]),
        "<h2>Pictures</h2>",
        _pictures(dataset.clips, thumbnails),
        "<h2>Clips</h2>",
        _clips(dataset.clips),
        "<h2>Everything left out</h2>",
        _dropped(dropped),
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def _text(value: object) -> str:
    return escape(str(value), quote=True)


def _table(head: Sequence[str], rows: Sequence[Sequence[object]], total: int | None = None) -> str:
    """A table; numbers to the right. `total` is how many rows there would be."""
    lines = ["<table><tr>" + "".join(f"<th>{_text(name)}</th>" for name in head) + "</tr>"]
    for row in rows:
        cells = (f'<td class="n">{_text(v)}</td>' if isinstance(v, int) else f"<td>{_text(v)}</td>" for v in row)
        lines.append("<tr>" + "".join(cells) + "</tr>")
    more = (total or 0) - len(rows)
    note = f"<p>and {more} more</p>" if more > 0 else ""
    return "\n".join(lines) + "</table>" + note


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def _totals(dataset: Dataset, dropped: Sequence[Dropped]) -> str:
    rows: list[tuple[object, ...]] = []
    for name in SPLITS:
        clips = dataset.split(name)
        rows.append((name, len({c.source for c in clips}), len(clips), _time(sum(c.seconds for c in clips))))
    clips = dataset.clips
    rows.append(("all", len({c.source for c in clips}), len(clips), _time(dataset.seconds)))
    known = sum((item.end or 0.0) - (item.start or 0.0) for item in dropped if item.end is not None)
    facts = f"<p>{dataset.fps:g} frames per second, {dataset.size} x {dataset.size} pixels. "
    facts += f"Left out: {len(dropped)} parts or videos, {_time(known)} where the length is known.</p>"
    return _table(("split", "videos", "clips", "length"), rows) + facts


def _reasons(dropped: Sequence[Dropped]) -> str:
    if not dropped:
        return "<p>Nothing.</p>"
    counts = Counter(item.reason for item in dropped)
    seconds: defaultdict[str, float] = defaultdict(float)
    for item in dropped:
        seconds[item.reason] += item.end - (item.start or 0.0) if item.end is not None else 0.0
    return _table(("reason", "count", "length"), [(r, n, _time(seconds[r])) for r, n in counts.most_common()])


def _histogram(seconds: Sequence[float]) -> str:
    """Bars as inline SVG: clips per length, from 0 to the longest."""
    longest = max(seconds, default=0.0)
    width = max(1, math.ceil(longest / _BARS))
    bars = Counter(min(int(length // width), _BARS - 1) for length in seconds)
    most = max(bars.values(), default=1)
    count = max(bars, default=0) + 1
    step, height = 30, 120
    parts = [f'<svg viewBox="0 0 {count * step + 10} {height + 40}" width="{count * step + 10}" role="img">']
    parts.append("<title>clips per length in seconds</title>")
    for index in range(count):
        tall = height * bars[index] / most
        x, y = index * step + 5, height + 15 - tall
        parts.append(f'<rect x="{x}" y="{y:.1f}" width="{step - 4}" height="{tall:.1f}" fill="#4a7ab5"/>')
        if bars[index]:
            parts.append(f'<text x="{x + 13}" y="{y - 3:.1f}" text-anchor="middle">{bars[index]}</text>')
        parts.append(f'<text x="{x}" y="{height + 29}">{index * width}</text>')
    return "".join(parts) + "</svg><p>clips per length in seconds</p>"


def _pictures(clips: Sequence[Clip], thumbnails: Mapping[str, str]) -> str:
    shown = [clip for clip in clips if thumbnails.get(clip.id)]
    step = max(1, math.ceil(len(shown) / _MAX_THUMBNAILS))
    figures = []
    for clip in shown[::step]:
        picture = f'<img width="96" height="96" alt="" src="data:image/jpeg;base64,{_text(thumbnails[clip.id])}">'
        figures.append(f"<figure>{picture}<figcaption>{_text(clip.id)}</figcaption></figure>")
    return "".join(figures)


def _clips(clips: Sequence[Clip]) -> str:
    rows = [
        (clip.id, clip.split, clip.source, f"{clip.start:.2f} s", f"{clip.seconds:.2f} s", clip.speaker, clip.consent)
        for clip in clips[:_MAX_ROWS]
    ]
    return _table(("clip", "split", "video", "from", "length", "speaker", "consent"), rows, len(clips))


def _dropped(dropped: Sequence[Dropped]) -> str:
    rows = []
    for item in dropped[:_MAX_ROWS]:
        part = f"{item.start or 0:.2f} s to {item.end:.2f} s" if item.end is not None else "all"
        rows.append((item.source, part, item.reason, item.detail))
    return _table(("video", "part", "reason", "detail"), rows, len(dropped))
