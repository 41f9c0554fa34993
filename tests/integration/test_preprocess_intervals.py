"""Preprocess by an interval list from end to end: ids, squares, splits, reasons, resuming, the command line."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import wave
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from gesturegen_cli.config.schema import Preprocess
from gesturegen_cli.data.intervals import IntervalList
from gesturegen_cli.data.manifest import read_dataset
from gesturegen_cli.data.preprocess import preprocess
from gesturegen_cli.media.video import iter_frames

from .drawn_videos import beeps, draw

SETTINGS = Preprocess(size=64, min_seconds=1.0, max_seconds=3.0, validation=0.0, test=0.0, workers=2)
HEIGHT = 90
LINK = "https://www.youtube.com/watch?v="
TALK, SHOW, GONE = "aaaaaaaaaaa", "bbbbbbbbbbb", "ccccccccccc"
ROWS = [
    f"seth,101,{LINK}{TALK},0:00:00.4,0:00:02.4",
    f"seth,102,{LINK}{TALK},2.8,20",
    f"seth,103,{LINK}{TALK},30,40",
    f"oliver,201,{LINK}{SHOW},0:00:00,0:00:02",
    f"ellen,301,{LINK}{SHOW},0:00:01,0:00:03",
    f"chem,401,{LINK}{GONE},0:00:01,0:00:03",
    f"jon,501,{LINK}{GONE},0:00:01,0:00:03",
    f"jon,502,{LINK}{GONE},0:00:03,0:00:01",
]
FILTER = {"train": [101, 201, 501], "test": [102, 401, 999]}


def table(path: Path, rows: Sequence[str] = ROWS) -> Path:
    path.write_text("speaker,interval_id,video_link,start_time,end_time\n" + "\n".join(rows) + "\n")
    return path


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    draw(folder / f"Late talk [{TALK}].mp4", 8.0, audio=beeps(8.0), height=HEIGHT)
    draw(folder / f"{SHOW}.mp4", 3.2, audio=beeps(3.2), height=HEIGHT)
    draw(folder / "jon#501.mp4", 2.0, audio=beeps(2.0), height=HEIGHT)
    return folder


@pytest.fixture(scope="module")
def lists(tmp_path_factory: pytest.TempPathFactory) -> IntervalList:
    folder = tmp_path_factory.mktemp("lists")
    (folder / "filtered_intervals.json").write_text(json.dumps(FILTER))
    return IntervalList(table(folder / "cmu_intervals_df.csv"), folder / "filtered_intervals.json")


@pytest.fixture(scope="module")
def done(videos: Path, lists: IntervalList, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of the whole table, without the filter."""
    data = tmp_path_factory.mktemp("out") / "data"
    preprocess(videos, data, SETTINGS, intervals=IntervalList(lists.table))
    return data


def test_clips_are_the_intervals_and_called_after_them(done: Path) -> None:
    clips = read_dataset(done).clips
    found = {(clip.id.split("-")[0], clip.id.split("-")[1], round(clip.start, 2), clip.frames) for clip in clips}
    assert found == {
        ("seth", "101", 0.4, 50),
        ("seth", "102", 2.8, 65),  # 17.2 s are asked for, 5.2 s are there: two clips
        ("seth", "102", 5.4, 65),
        ("oliver", "201", 0.0, 50),
        ("ellen", "301", 1.0, 50),
        ("jon", "501", 0.0, 50),
    }
    assert all(clip.speaker == clip.id.split("-")[0] for clip in clips)
    assert {clip.source for clip in clips if clip.speaker == "seth"} == {f"Late talk [{TALK}].mp4"}


def test_pictures_and_sound_are_those_of_the_interval(done: Path) -> None:
    clip = next(clip for clip in read_dataset(done).clips if clip.id.startswith("seth-101"))
    frames = list(iter_frames(clip.video, fps=25))
    assert len(frames) == 50
    # The drawn square stands at x = 100 + frame % 20 of the video; the interval begins with frame 10.
    bright = np.flatnonzero(frames[0][25:35].mean(axis=(0, 2)) > 230)
    assert clip.crop is not None
    assert abs((bright.mean() + 0.5) * clip.crop[2] / 64 + clip.crop[0] - 120) < 1.6
    with wave.open(str(clip.audio)) as sound:
        samples = np.frombuffer(sound.readframes(sound.getnframes()), "<i2")
    expected = beeps(8.0).samples[6400 : 6400 + 32000]
    loud = np.abs(samples.reshape(-1, 160)).max(axis=1) > 3000
    assert np.mean(loud == (np.abs(expected.reshape(-1, 160)).max(axis=1) > 0.1)) > 0.97


def test_published_speakers_get_the_published_square(done: Path) -> None:
    crops = {clip.speaker: clip.crop for clip in read_dataset(done).clips}
    assert crops["seth"] == (63, 0, HEIGHT)
    assert crops["oliver"] == (61, 0, HEIGHT)
    assert crops["jon"] == (70, 0, HEIGHT)
    assert crops["ellen"] is not None
    assert crops["ellen"][0] not in {61, 63}  # looked for, as ever: the drawing moves about x = 120


def test_what_is_left_out_has_its_reason(done: Path) -> None:
    lines = [json.loads(line) for line in (done / "dropped.jsonl").read_text().splitlines()]
    reasons = {(line["source"], line["reason"]) for line in lines}
    assert reasons == {
        ("interval 502", "bad row"),
        (LINK + GONE, "video missing"),
        (f"seth#103 (Late talk [{TALK}].mp4)", "too short"),
    }
    late = next(line for line in lines if line["reason"] == "too short")
    assert late["detail"] == "the video ends at 8.00 s, before this part"
    assert "video missing" in (done / "report.html").read_text()


def test_a_filter_gives_splits_and_cuts_intervals_off(videos: Path, lists: IntervalList, tmp_path: Path) -> None:
    made = preprocess(videos, tmp_path / "data", SETTINGS, intervals=lists)
    found = {(clip.id.split("-")[1], clip.split, clip.frames) for clip in made.dataset.clips}
    assert found == {("101", "train", 50), ("102", "test", 75), ("201", "train", 50), ("501", "train", 50)}
    assert made.mixed == 1
    assert {item.reason for item in made.dropped} == {"video missing", "not in the table"}
    assert made.faults == ()


def test_intervals_of_one_video_share_a_split_even_when_cut_already(
    videos: Path, lists: IntervalList, tmp_path: Path
) -> None:
    source, halves = tmp_path / "in", Preprocess(**{**SETTINGS.__dict__, "validation": 0.5})
    shutil.copytree(videos, source)
    draw(source / "jon#503.mp4", 2.2, audio=beeps(2.2), height=HEIGHT)
    path = table(tmp_path / "table.csv", [*ROWS, f"jon,503,{LINK}{GONE},5,8"])
    made = preprocess(source, tmp_path / "data", halves, intervals=IntervalList(path))
    splits = {group: set() for group in ("seth", "jon")}
    for clip in made.dataset.clips:
        if clip.speaker in splits:
            splits[clip.speaker].add(clip.split)
    assert len([clip for clip in made.dataset.clips if clip.speaker == "jon"]) == 2
    assert all(len(used) == 1 for used in splits.values())
    assert made.mixed == 0


def test_a_second_run_continues_and_takes_new_rows(
    videos: Path, done: Path, lists: IntervalList, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(done, data)
    before = {path.name: path.stat().st_mtime_ns for path in data.glob("clips/*")}
    rows = [*ROWS, f"seth,104,{LINK}{TALK},1,3"]
    after = preprocess(videos, data, SETTINGS, intervals=IntervalList(table(tmp_path / "table.csv", rows)))
    assert any(clip.id.startswith("seth-104") for clip in after.dataset.clips)
    assert after.reused == 6
    assert {path.name: path.stat().st_mtime_ns for path in data.glob("clips/*") if path.name in before} == before


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gesturegen_cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_the_command_reads_interval_lists(videos: Path, lists: IntervalList, tmp_path: Path) -> None:
    settings = ["--set", "preprocess.min_seconds=1", "--set", "preprocess.max_seconds=3", "--size", "64"]
    which = ["--from", "s2g", "--intervals", lists.table, "--filter", lists.chosen or ""]
    made = run("preprocess", videos, tmp_path / "data", *which, *settings, "--json")
    assert made.returncode == 0, made.stderr
    result = next(json.loads(line) for line in made.stdout.splitlines() if '"result"' in line)
    assert (result["clips"], result["splits"]) == (4, {"train": 3, "val": 0, "test": 1})
    assert result["dropped"] == {"video missing": 1, "not in the table": 1}
    assert "videos with clips in more than one split, as the filter says: 1" in made.stdout + made.stderr


def test_the_script_of_the_paper_example_pairs_speech_and_first_frames(done: Path, tmp_path: Path) -> None:
    script, out = Path(__file__).parents[2] / "examples" / "paper" / "first_frames.py", tmp_path / "out"
    command = [sys.executable, str(script), str(done), str(out)]
    empty = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (empty.returncode, out.exists()) == (1, False)
    made = subprocess.run([*command, "train"], capture_output=True, text=True, timeout=60, check=False)
    assert made.returncode == 0, made.stderr
    ids = {clip.id for clip in read_dataset(done).clips}
    assert {path.name for path in out.iterdir()} == {f"{name}{end}" for name in ids for end in (".png", ".wav")}


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--from", "pats"], 2, "--from pats, expected one of list, s2g"),
        (["--from", "s2g"], 2, "--from s2g needs the table of intervals"),
        (["--intervals", "t.csv"], 2, "--intervals goes with --from s2g, got --from list"),
        (["--filter", "f.json"], 2, "--filter goes with --from s2g"),
        (["--from", "s2g", "--intervals", "no such table.csv"], 3, "'no such table.csv' does not exist"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    videos: Path, tmp_path: Path, options: list[str], code: int, message: str
) -> None:
    made = run("preprocess", videos, tmp_path / "data", *options)
    assert made.returncode == code
    assert message in made.stderr
    assert not (tmp_path / "data").exists()
