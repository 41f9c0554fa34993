import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from gesturegen_cli.evaluation.metrics import METRICS
from gesturegen_cli.evaluation.report_plots import (
    STYLE,
    flicker_plot,
    interval_plot,
    largest,
    nice_ticks,
    speech_plot,
)
from gesturegen_cli.evaluation.results import Curves, Score, System

FPS = 25.0
HOSTILE = "<script>alert('x')</script>&\x1b"
LEFT, RIGHT = 62.0, 948.0


def make_curves(frames: int = 101) -> Curves:
    """4 s: onsets at 10, 50, 90 frames; rests 2 frames after the first, 9 after the second, 10 from the third."""
    return Curves(
        speed=np.full(frames - 1, 1.5, np.float32),
        rests=np.array([12.0, 59.0, 80.0]),
        onsets=np.array([10.0, 50.0, 90.0]),
        loudness=np.abs(np.sin(np.arange(400) / 9)).astype(np.float32),
        flicker=np.linspace(0, 2, frames - 1).astype(np.float32),
        seams=(0, 40),
        hands=np.zeros((frames, 2, 3), np.float32),
    )


def elements(svg: str, kind: str) -> list[ElementTree.Element]:
    """Elements of a class; the plot must be well-formed XML."""
    return [one for one in ElementTree.fromstring(svg).iter() if kind in one.get("class", "").split()]


def plot(curves: Curves, **options: float) -> str:
    return speech_plot(curves, fps=FPS, title="motion", **options)


def test_onsets_are_linked_with_rests_within_nine_frames_and_coloured_by_score() -> None:
    svg = plot(make_curves())
    links = elements(svg, "link")
    seconds = 101 / FPS
    ends = [(float(link.get("x1", "")), float(link.get("x2", ""))) for link in links]
    expected = [
        (LEFT + (RIGHT - LEFT) * a / FPS / seconds, LEFT + (RIGHT - LEFT) * b / FPS / seconds)
        for a, b in ((10, 12), (50, 59))
    ]
    np.testing.assert_allclose(ends, expected, atol=0.06)
    assert [link.get("class") for link in links] == ["link k4", "link k0"]  # exp(-4/18) = 0.80, exp(-81/18) = 0.01
    assert len(elements(svg, "ring")) == 1
    assert len(elements(svg, "onset")) == 3
    assert len(elements(svg, "rest")) == 3


def test_seams_are_marked_where_a_window_begins_and_not_at_the_start() -> None:
    marks = elements(plot(make_curves()), "mark")
    assert ["".join(mark.itertext()) for mark in marks] == ["new window at 1.60 s"]


def test_plot_has_title_description_and_units() -> None:
    svg = speech_plot(make_curves(), fps=FPS, title=HOSTILE)
    root = ElementTree.fromstring(svg)
    assert root.get("role") == "img"
    assert root[0].tag == "title"
    assert root[1].tag == "desc"
    assert "<script" not in svg
    text = "".join(root.itertext())
    mean = (np.exp(-4 / 18) + np.exp(-81 / 18) + np.exp(-100 / 18)) / 3
    for part in ("speed, widths/s", "onset strength", "time, s", f"mean score {mean:.2f} over 3 onsets"):
        assert part in text


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"onsets": None, "loudness": None}, "no sound"),
        ({"onsets": np.zeros(0), "loudness": np.zeros(400, np.float32)}, "silence"),
        ({"rests": np.zeros(0)}, "mean score 0.00"),
        ({"speed": np.zeros(0, np.float32), "flicker": np.zeros(0, np.float32)}, "time, s"),
        ({"speed": np.full(100, np.nan, np.float32)}, "Speed up to 0.00"),
    ],
)
def test_plots_of_clips_that_lack_something(change: dict[str, object], part: str) -> None:
    curves = replace(make_curves(), **change)
    svg = plot(curves)
    assert part in "".join(ElementTree.fromstring(svg).itertext())
    assert "nan" not in re.sub("<title>.*</desc>", "", svg)
    assert "nan" not in flicker_plot({"a": curves}, {"a": 1}, fps=FPS, title="f")


def test_long_clips_show_their_first_twenty_seconds() -> None:
    curves = replace(make_curves(60 * 25), onsets=np.array([10.0, 1000.0]), rests=np.array([10.0, 1000.0]))
    svg = plot(curves)
    assert len(elements(svg, "onset")) == 1
    assert "the plot shows 20 of 60 s" in svg


def test_plots_share_their_axes() -> None:
    path = elements(plot(make_curves(), top=6.0, span=8.0), "curve")[0].get("d", "")
    points = np.array([[float(v) for v in pair.split()] for pair in re.split("[ML]", path) if pair])
    assert points[:, 0].max() < (LEFT + RIGHT) / 2 + 5  # 4 of 8 s
    axis = [float(one.text or "") for one in elements(plot(make_curves(), top=6.0), "faint") if one.get("x") == "54"]
    assert max(axis) >= 6.0


def test_flicker_has_gaps_and_keeps_spikes_of_long_clips() -> None:
    flicker = np.full(10_000, 0.5, np.float32)
    flicker[3000:4000] = np.nan
    flicker[7777] = 9.0
    svg = flicker_plot({HOSTILE: replace(make_curves(), flicker=flicker)}, {HOSTILE: 2}, fps=FPS, title="flicker")
    (curve,) = elements(svg, "c2")
    path = curve.get("d", "")
    assert path.count("M") == 2
    assert path.count("L") < 1300
    heights = [float(pair.split()[1]) for pair in re.split("[ML]", path) if pair]
    assert sorted(heights)[0] < sorted(heights)[1] - 50  # the one spike of ten thousand frames
    assert "median 0.50" in svg
    assert "grey levels" in svg


def test_legend_of_many_columns_stays_inside() -> None:
    names = [f"system-with-a-name-{k}" for k in range(9)]
    svg = flicker_plot({name: make_curves() for name in names}, {}, fps=FPS, title="f")
    places = [float(one.get("x", "")) for one in elements(svg, "f7")]
    assert len(places) == 9
    assert max(places) < 800


def test_interval_plot_places_dots_and_intervals() -> None:
    systems = [
        System("reference", "reference", {"bas": Score(0.4)}),
        System(HOSTILE, "system", {"bas": Score(0.5, 0.4, 0.7)}),
        System("none", "system", {"bas": Score(None, reason="no sound")}),
    ]
    svg = interval_plot(METRICS["bas"], systems, {"reference": 0, HOSTILE: 1})
    root = ElementTree.fromstring(svg)
    dots = [float(dot.get("cx", "")) for dot in root.iter("circle")]
    (line,) = elements(svg, "link")
    low, high = float(line.get("x1", "")), float(line.get("x2", ""))
    assert dots[0] == pytest.approx(low)  # both at 0.4
    assert (dots[1] - low) / (high - low) == pytest.approx(1 / 3, abs=0.01)
    assert float(elements(svg, "own")[0].get("x1", "")) == dots[0]
    assert "near the reference is better" in svg
    assert "<script" not in svg
    assert interval_plot(METRICS["bas"], systems[2:], {}) == ""
    assert interval_plot(METRICS["psnr"], systems, {}) == ""


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (-3.2, 4.1), (5, 5), (0, 0), (0.0012, 0.0013), (1e6, 3e6), (0, 8.99)]
)
def test_ticks_are_few_round_and_cover_the_range(low: float, high: float) -> None:
    ticks = nice_ticks(low, high, 4)
    assert 2 <= len(ticks) <= 8
    assert ticks[0] <= low + 1e-12
    assert ticks[-1] >= high - 1e-9 * abs(high)


def test_largest_takes_finite_values_only() -> None:
    assert largest(np.array([np.nan, 2.0, np.inf])) == 2.0
    assert largest(np.zeros(0)) == 0.0


def test_style_has_every_colour_in_both_schemes() -> None:
    light, dark = STYLE.split("prefers-color-scheme: dark")
    names = set(re.findall(r"(--[a-z]+\d?):", light))
    assert names == set(re.findall(r"(--[a-z]+\d?):", dark))
    assert set(re.findall(r"var\((--[a-z]+\d?)\)", STYLE)) <= names
