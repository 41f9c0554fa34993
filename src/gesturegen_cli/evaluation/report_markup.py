"""The look of the evaluation's page, and its smallest pieces of markup."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

from gesturegen_cli.media.files import printable

STYLE = """
:root { --page: #fff; --ink: #1d2228; --soft: #5c6672; --line: #e3e7ec; --rule: #c3cad2; --tint: #f5f7f9;
  --best: #e6f2ee; --best-ink: #04563f; --link: #1f5da8; --warn: #fff6e0; --warn-line: #e0b354 }
@media (prefers-color-scheme: dark) { :root { --page: #15181c; --ink: #e4e8ed; --soft: #98a2ae; --line: #292f36;
  --rule: #47505a; --tint: #1c2025; --best: #17352e; --best-ink: #93ecd4; --link: #85b7f5; --warn: #2e2614;
  --warn-line: #8a6a26 } }
* { box-sizing: border-box }
html { scroll-behavior: smooth; scroll-padding-top: 1rem; -webkit-text-size-adjust: 100% }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.55 system-ui, -apple-system, "Segoe UI",
  Roboto, "Helvetica Neue", "Liberation Sans", Arial, sans-serif }
main { max-width: 76rem; margin: 0 auto; padding: 2.5rem 1.5rem 5rem }
h1 { font-size: 2rem; line-height: 1.2; letter-spacing: -.02em; margin: 0 0 1rem }
h2 { font-size: 1.35rem; letter-spacing: -.01em; margin: 3.5rem 0 .25rem }
h3 { font-size: 1.05rem; margin: 0 } h3.part { font-size: 1.2rem; margin: 2.75rem 0 .25rem }
h4 { font-size: .82rem; font-weight: 600; color: var(--soft); margin: 1.4rem 0 .5rem }
a { color: var(--link) } p { margin: .4rem 0 } code { font: .9em ui-monospace, Menlo, Consolas, monospace }
code, td, li, h3, dd { overflow-wrap: anywhere }
.lead { color: var(--soft); margin: 0 0 1rem } .note, .notes { color: var(--soft); font-size: .85rem; max-width: 62rem }
.notes { padding-left: 1.4rem; margin: .4rem 0 1.2rem }
header dl { display: flex; flex-wrap: wrap; gap: .5rem 2.5rem; margin: 0 0 1.25rem } header dl div { max-width: 100% }
dt { color: var(--soft); font-size: .8rem } dd { margin: 0; font-weight: 550 }
nav { display: flex; flex-wrap: wrap; gap: .35rem 1.4rem; border-block: 1px solid var(--line); padding: .6rem 0 }
nav a { text-decoration: none } nav a:hover { text-decoration: underline }
.warn { background: var(--warn); border: 1px solid var(--warn-line); border-radius: 8px; padding: .8rem 1.1rem;
  margin: 1.5rem 0 0 } .warn h2 { font-size: 1rem; margin: 0 0 .2rem } .warn ul { margin: 0; padding-left: 1.2rem }
.scroll { overflow-x: auto; margin: .5rem 0 .75rem } .wide { min-width: 40rem }
table { border-collapse: collapse } th { font-weight: 600; text-align: left } th, td { vertical-align: baseline }
table.plain { width: 100%; font-size: .9rem } .plain th, .plain td { padding: .35rem 1.2rem .35rem 0;
  border-bottom: 1px solid var(--line); text-align: left } .plain thead th { border-color: var(--rule);
  color: var(--soft); font-weight: 500; font-size: .82rem } .plain .how { color: var(--soft); margin: .1rem 0 0;
  font-size: .85rem } .plain td { min-width: 4rem } .plain tr:target { background: var(--best) }
.scores { font-variant-numeric: tabular-nums; white-space: nowrap; min-width: 34rem }
.scores th, .scores td { padding: .3rem .3rem; border-bottom: 1px solid var(--line) }
.scores thead th { border-color: var(--rule); padding: .4rem .6rem .5rem .9rem; text-align: left }
.scores thead th:first-child { color: var(--soft); font-weight: 500 }
.scores th:first-child { position: sticky; left: 0; background: var(--page); padding: .3rem 1.4rem .3rem 0 }
.scores tbody th { font-weight: 500 } .scores tbody th a { color: inherit; text-decoration: none }
.scores tbody th a:hover { text-decoration: underline }
.scores .group th { color: var(--soft); font-size: .8rem; padding-top: 1.1rem; border-color: var(--rule) }
.unit { color: var(--soft); font-size: .82rem; font-weight: 400 } .arrow { color: var(--soft); padding-left: .4rem }
.scores .chip { max-width: 11rem } .scores .v { text-align: right; padding-left: .9rem }
.scores .i { color: var(--soft); font-size: .82rem; padding-right: .7rem }
.scores td.reference, .scores td.still { color: var(--soft) }
.scores .best { background: var(--best); color: var(--best-ink) } .scores sup { color: var(--soft); line-height: 0 }
.chip { display: inline-flex; align-items: baseline; gap: .45rem; max-width: 100%; font-weight: 600 }
.chip i { flex: none; width: .65rem; height: .65rem; border-radius: 3px } .chip span { overflow: hidden;
  text-overflow: ellipsis; white-space: nowrap }
details { border-top: 1px solid var(--line); padding: .55rem 0 } details[open] { padding-bottom: 1rem }
summary { cursor: pointer; font-weight: 550 } summary:hover { color: var(--link) }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 21rem), 1fr)); gap: 1.6rem 2.4rem;
  padding-top: 1rem } figure { margin: 0 } figcaption { font-size: .88rem; margin: 1.2rem 0 .3rem }
article { border: 1px solid var(--line); border-radius: 12px; padding: 1.2rem 1.4rem 1rem; margin: 1.2rem 0;
  background: var(--tint) } article video { display: block; max-width: 100%; height: auto; margin: .9rem 0 0;
  border-radius: 8px; background: #16191d } .why { color: var(--soft); margin: .1rem 0 0; font-size: .9rem }
.hands { display: grid; grid-template-columns: minmax(5.5rem, max-content) repeat(var(--n), minmax(7rem, 1fr));
  gap: .5rem; align-items: center; font-size: .82rem } .hands .time { color: var(--soft); text-align: center }
.hands img { display: block; width: 100%; height: auto; border-radius: 5px } .hands .chip { max-width: 9rem }
.two { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); gap: 0 3rem }
@media (max-width: 40rem) { main { padding: 1.5rem 1rem 3rem } article { padding: .9rem .9rem .6rem }
  h1 { font-size: 1.6rem } .scores th:first-child { max-width: 9.5rem; white-space: normal } }
@media print { main { max-width: none } article, figure { break-inside: avoid } .scroll { overflow: visible } }
"""


def html_text(value: object) -> str:
    """`value` as text that is never markup and steers nothing."""
    return escape(printable(str(value)), quote=True)


def chip(name: str, colour: int) -> str:
    """A name beside its colour in the plots."""
    text = html_text(name)
    return f'<span class="chip" title="{text}"><i style="background:var(--c{colour})"></i><span>{text}</span></span>'


def plural(count: int, noun: str) -> str:
    """As `1 video` or `3 videos`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def unfold(summary: str, body: str, unfolded: bool = False) -> str:
    """A part that a click unfolds. `body` is markup."""
    return f"<details{' open' if unfolded else ''}><summary>{html_text(summary)}</summary>{body}</details>"


def data_table(head: Sequence[str], rows: Sequence[Sequence[object]], most: int) -> str:
    """A table of text; of more than `most` rows it says how many are left out."""
    names = "".join(f'<th scope="col">{html_text(name)}</th>' for name in head)
    lines = [f'<div class="scroll"><table class="plain"><thead><tr>{names}</tr></thead><tbody>']
    lines += ["<tr>" + "".join(f"<td>{html_text(value)}</td>" for value in row) + "</tr>" for row in rows[:most]]
    more = f'<p class="note">and {len(rows) - most} more, all in metrics.json</p>' if len(rows) > most else ""
    return "".join(lines) + "</tbody></table></div>" + more


def data_uri(data: bytes, kind: str) -> str:
    """`data` as an address that holds it; `kind` as `image/jpeg`."""
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
