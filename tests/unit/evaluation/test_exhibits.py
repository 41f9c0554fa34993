"""Which clips are shown as best and worst."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gesturegen_cli.evaluation.exhibits import choose_exhibits
from gesturegen_cli.evaluation.results import Curves, Score, Section, System

EMPTY = np.zeros(0)
CURVES = Curves(EMPTY, EMPTY, None, None, EMPTY, (), EMPTY)


def reasons(rows, reference=None):
    """Clip -> why it is shown, for one system with these scores by clip, and the reference's scores."""
    clips = [{"id": name, "reference": name, **scores} for name, scores in rows.items()]
    own = {key: Score(value, clips=3) for key, value in (reference or {}).items()}
    section = Section("videos", [System("reference", "reference", own), System("ours", "system", {}, clips)])
    videos = {name: {clip: Path(f"{name}/{clip}.mp4") for clip in rows} for name in ("reference", "ours")}
    curves = {name: dict.fromkeys(rows, CURVES) for name in videos}
    found = choose_exhibits(section, videos, curves)
    assert all(list(exhibit.videos) == ["reference", "ours"] for exhibit in found)
    return {exhibit.id: exhibit.why for exhibit in found}


def test_high_and_low_values_are_best_as_the_metric_goes():
    rows = {"a": {"psnr": 20.0, "bas": 0.1}, "b": {"psnr": 30.0}, "c": {"psnr": 10.0, "bas": 0.9}}
    assert reasons(rows) == {"b": "best PSNR of ours", "c": "worst PSNR of ours"}
    assert reasons({"a": {"l1": 0.2}, "b": {"l1": 0.1}}) == {"b": "best L1 of ours", "a": "worst L1 of ours"}


def test_what_is_good_near_the_reference_is_ranked_by_its_distance():
    rows = {"a": {"bas": 0.9}, "b": {"bas": 0.45}, "c": {"bas": 0.3}}
    assert reasons(rows, {"bas": 0.4}) == {"b": "best BAS of ours", "a": "worst BAS of ours"}
    assert reasons(rows) == {"a": "first of ours"}  # nothing to be near to


def test_one_clip_is_the_best():
    assert reasons({"a": {"ssim": 0.5}}) == {"a": "best SSIM of ours"}
