"""The report is one file: it loads nothing and shows hostile names as text."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

from gesturegen_cli.data.manifest import Clip, Dataset, Dropped
from gesturegen_cli.data.report import build_report

EVIL = "<script>alert(1)</script>\" onerror='x' &amp;.mp4"


def clip(name: str, seconds: float = 4.0) -> Clip:
    paths = {"video": Path("v"), "audio": Path("a"), "labels": None}
    return Clip(
        name, **paths, split="train", source=EVIL, start=0, frames=100, seconds=seconds, fps=25, size=256, sha256={}
    )


def dataset(clips: list[Clip]) -> Dataset:
    return Dataset(Path("d"), 25, 256, tuple(clips), False, EVIL)


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_names_are_text_and_nothing_is_loaded() -> None:
    page = build_report(dataset([clip("a")]), [Dropped(EVIL, 0, 1, EVIL, EVIL)], {"a": "QUJD"})
    tags = Tags()
    tags.feed(page)
    assert not [tag for tag, _ in tags.found if tag in {"script", "link", "iframe", "object"}]
    assert not [key for _, values in tags.found for key in values if key.startswith("on")]
    links = [value for _, values in tags.found for key, value in values.items() if key in {"src", "href"}]
    assert links == ["data:image/jpeg;base64,QUJD"]
    assert "http" not in page.replace("http-equiv", "")


def test_totals_reasons_and_lengths_are_counted() -> None:
    dropped = [Dropped("x", 0, 90, "silent"), Dropped("y", None, None, "unreadable"), Dropped("z", 0, 30, "silent")]
    page = build_report(dataset([clip("a", 4.0), clip("b", 4.5), clip("c", 9.0)]), dropped, {})
    assert '<td>silent</td><td class="n">2</td><td>2 min 00 s</td>' in page
    assert '<td>unreadable</td><td class="n">1</td>' in page
    assert '<td>train</td><td class="n">1</td><td class="n">3</td>' in page
    assert re.findall(r'text-anchor="middle">(\d+)<', page) == ["2", "1"]


def test_large_datasets_give_small_reports() -> None:
    clips = [clip(f"{i:06d}") for i in range(5000)]
    page = build_report(dataset(clips), [Dropped("x", 0, 1, "silent")] * 5000, {c.id: "A" * 6000 for c in clips})
    assert len(page.encode()) < 2_000_000
    assert "and 4000 more" in page


def test_a_report_of_nothing_can_be_built() -> None:
    assert "Nothing." in build_report(dataset([]), [], {})
