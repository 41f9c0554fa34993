"""`gesturegen evaluate`: results on stdout and on disk, bad input with its code, nothing left behind."""

from __future__ import annotations

import json
import shutil

import pytest
from typer.testing import CliRunner

from gesturegen_cli.cli.app import app


@pytest.fixture(scope="module")
def videos(tmp_path_factory, make_video):
    folder = tmp_path_factory.mktemp("videos")
    make_video(folder / "one.mp4", seconds=1)
    make_video(folder / "two.mp4", seconds=1, shade=40)
    return folder


@pytest.fixture
def run(tiny_bundle, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def call(*words):
        arguments = ["evaluate", "-m", str(tiny_bundle), "--device", "cpu", *map(str, words)]
        return CliRunner().invoke(app, arguments)

    return call


def test_the_table_is_on_stdout_and_the_numbers_are_in_the_report(run, videos, tmp_path):
    done = run(videos, "--reference", videos, "-o", "report")
    assert done.exit_code == 0, done.stderr
    for name in ("PSNR", "SSIM", "L1", "FGD", "DIV", "BAS"):
        assert name in done.stdout
    report = json.loads((tmp_path / "report" / "metrics.json").read_text())
    assert report["metrics"]["l1"] == 0.0
    assert report["counts"]["pairs"] == 2
    assert report["reasons"]["fgd"].startswith("0 generated")
    assert [p.name for p in (tmp_path / "report").iterdir()] == ["metrics.json"]


def test_json_gives_the_whole_report_as_one_event(run, videos):
    done = run(videos / "one.mp4", "--reference", videos, "--json")
    result = [json.loads(line) for line in done.stdout.splitlines()][-1]
    assert result["event"] == "result"
    assert result["metrics"]["psnr"] == 100.0
    assert result["report"] is None
    assert result["protocol"]["bundle_digest"]


def test_reconstruction_needs_no_generated_videos(run, videos):
    done = run("--mode", "reconstruction", "--reference", videos / "one.mp4", "--json")
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["mode"] == "reconstruction"
    assert result["baseline"]["psnr"] > 0


def test_a_bad_video_costs_one_video_and_the_exit_code_says_so(run, videos, tmp_path):
    folder = tmp_path / "made"
    shutil.copytree(videos, folder)
    (folder / "three.mp4").write_bytes((videos / "one.mp4").read_bytes()[:900])
    done = run(folder, "--reference", videos, "-o", "report")
    assert done.exit_code == 6
    assert "1 videos could not be measured: three: " in done.stderr
    assert json.loads((tmp_path / "report" / "metrics.json").read_text())["counts"]["generated"] == 2


def test_an_older_report_is_replaced(run, videos, tmp_path):
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "metrics.json").write_text("old")
    assert run(videos / "one.mp4", "--reference", videos, "-o", "report").exit_code == 0
    assert json.loads((tmp_path / "report" / "metrics.json").read_text())["format"] == 1


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 2, "no reference was given"),
        (["--reference", "VIDEOS"], 2, "no generated videos were given"),
        (["VIDEOS", "--reference", "VIDEOS", "--mode", "fast"], 2, "expected one of generated, reconstruction"),
        (["VIDEOS", "--reference", "VIDEOS", "--mode", "reconstruction"], 2, "takes no generated videos"),
        (["VIDEOS", "--reference", "VIDEOS", "--split", "all1"], 2, "expected one of all, train, val, test"),
        (["VIDEOS", "--reference", "VIDEOS", "--set", "nope=1"], 2, "unknown key 'nope'"),
        (["VIDEOS", "--reference", "VIDEOS", "-o", "file"], 2, "is a file, expected a folder"),
        (["VIDEOS", "--reference", "VIDEOS", "-m", "nope"], 3, "no bundle 'nope'"),
        (["missing.mp4", "--reference", "VIDEOS"], 3, "'missing.mp4' does not exist"),
        (["file", "--reference", "VIDEOS"], 3, "no generated video could be read"),
        (["VIDEOS", "--reference", "empty"], 3, "holds no dataset and no videos"),
        (["VIDEOS", "--reference", "half"], 3, "dataset.json"),
        (["VIDEOS", "--reference", "VIDEOS", "-o", "file/report"], 4, "Not a directory"),
    ],
)
def test_bad_requests_are_refused_and_leave_no_report(run, videos, tmp_path, words, code, message):
    (tmp_path / "file").write_text("no video")
    (tmp_path / "empty").mkdir()
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "dataset.json").write_text("{}")
    if "-o" not in words:
        words = [*words, "-o", "report"]
    done = run(*[str(videos) if word == "VIDEOS" else word for word in words])
    assert done.exit_code == code, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "file", "half"]
