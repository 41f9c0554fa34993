"""`gesturegen evaluate`: results on stdout and on disk, gates and baselines, bad input with its code."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from gesturegen_cli.cli.app import app
from gesturegen_cli.cli.console import Terminated

FILES = ["metrics.json", "per_clip.csv", "report.html", "table.md", "table.tex"]
SMALL = ("evaluation.size=64", "evaluation.bootstrap=20", "evaluation.window=34")


@pytest.fixture(scope="module")
def videos(tmp_path_factory, make_video):
    folder = tmp_path_factory.mktemp("videos")
    make_video(folder / "one.mp4", seconds=2)
    make_video(folder / "two.mp4", seconds=2, shade=40)
    return folder


@pytest.fixture
def run(tiny_bundle, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def call(*words, estimator=True):
        settings = [word for setting in SMALL for word in ("--set", setting)]
        chosen = ["--estimator", str(tiny_bundle)] if estimator else []
        return CliRunner().invoke(app, ["evaluate", "--device", "cpu", *settings, *chosen, *map(str, words)])

    return call


def load(path):
    return json.loads(path.read_text())


def scores(report, system, section=0):
    return next(s for s in report["sections"][section]["systems"] if s["name"] == system)["scores"]


def test_the_table_is_on_stdout_and_everything_is_in_the_report(run, videos, tmp_path):
    done = run(videos, "--reference", videos, "-o", "report", "--names", "ours")
    assert done.exit_code == 0, done.stderr
    for name in ("PSNR", "SSIM", "FGD", "DIV", "BAS", "FVD-self", "ours", "reference", "first frame"):
        assert name in done.stdout
    report = load(tmp_path / "report" / "metrics.json")
    assert report["format"] == 2
    assert scores(report, "ours")["l1"]["value"] == 0.0
    assert scores(report, "ours")["fvd"]["reason"].startswith("no I3D")
    assert sorted(p.name for p in (tmp_path / "report").iterdir()) == FILES
    assert "data:video/mp4" in (tmp_path / "report" / "report.html").read_text()


def test_json_gives_the_whole_report_as_one_event(run, videos, tmp_path):
    done = run(videos / "one.mp4", "--reference", videos, "--metrics", "fast", "--json")
    result = [json.loads(line) for line in done.stdout.splitlines()][-1]
    assert result["event"] == "result"
    assert set(scores(result, "one.mp4")) == {"psnr", "ssim", "l1", "length", "sync"}
    assert result["report"] is None
    assert len(result["protocol_digest"]) == 64
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_is_scored_by_its_own_videos(run, videos, tiny_bundle, tmp_path):
    words = ("-m", tiny_bundle, "--data", videos, "--metrics", "fast", "--set", "sampling.steps=2")
    done = run(*words, "-o", "report", "--no-html")
    assert done.exit_code == 0, done.stderr
    report = load(tmp_path / "report" / "metrics.json")
    assert [section["name"] for section in report["sections"]] == ["reconstruction", "speech"]
    assert sorted(p.name for p in (tmp_path / "report").iterdir()) == [
        *(f for f in FILES if f != "report.html"),
        "videos",
    ]


def test_gates_decide_about_the_exit_code_and_the_report_is_there_anyway(run, videos, tmp_path):
    words = (videos, "-r", videos, "--metrics", "psnr,l1", "-o", "report", "--no-html")
    assert run(*words, "--fail-under", "psnr=99,l1<0.1").exit_code == 0
    shutil.rmtree(tmp_path / "report")
    done = run(*words, "--fail-under", "psnr=99,ssim>=0.5")
    assert done.exit_code == 7
    assert "ssim >= 0.5: not measured" in done.stderr
    assert (tmp_path / "report" / "metrics.json").is_file()


def test_a_baseline_is_compared_with_and_another_protocol_is_refused(run, videos, make_video, tmp_path):
    (tmp_path / "worse").mkdir()
    make_video(tmp_path / "worse" / "one.mp4", seconds=2, shade=30)
    words = ("-r", videos, "--metrics", "psnr,l1", "--names", "ours", "--no-html")
    assert run(videos, *words, "-o", "old").exit_code == 0
    baseline = ("--baseline", "old/metrics.json")
    done = run("worse", *words, *baseline, "--fail-under", "worse")
    assert done.exit_code == 7
    assert "psnr of ours (videos)" in done.stderr
    assert "videos, ours, PSNR: 100 -> " in done.stderr
    done = run("worse", *words, *baseline, "--set", "evaluation.fps=10", "-o", "new")
    assert done.exit_code == 2
    assert "settings.fps 10, not 25" in done.stderr
    assert not (tmp_path / "new").exists()
    done = run("worse", *words, *baseline, "--set", "evaluation.fps=10", "--force")
    assert done.exit_code == 0
    assert "not comparable" in done.stderr


def test_a_protocol_can_be_repeated(run, videos, tmp_path):
    words = (videos, "-r", videos, "--metrics", "psnr", "--no-html")
    assert run(*words, "-o", "old", "--set", "evaluation.frames=10", "--seed", "3").exit_code == 0
    done = run(*words, "-o", "new", "--protocol", "old/metrics.json")
    assert done.exit_code == 0, done.stderr
    old, new = (load(tmp_path / name / "metrics.json") for name in ("old", "new"))
    assert old["protocol"] == new["protocol"]
    assert new["protocol"]["settings"]["frames"] == 10
    assert new["protocol"]["rng_seed"] == 3
    (tmp_path / "other").mkdir()
    shutil.copy(videos / "one.mp4", tmp_path / "other")
    done = run(videos, "-r", "other", "--metrics", "psnr", "--protocol", "old/metrics.json")
    assert done.exit_code == 2
    assert "reference_clips 1, not 2" in done.stderr


def test_an_autoencoder_is_fitted_on_the_reference_and_used(run, make_video, tmp_path):
    (tmp_path / "real").mkdir()
    for index in range(4):
        make_video(tmp_path / "real" / f"{index}.mp4", seconds=4, shade=10 * index)
    settings = ("--set", "evaluation.stride=2", "--set", "evaluation.fgd_steps=5")
    done = run("--fit-fgd", "fgd.safetensors", "-r", "real", *settings)
    assert done.exit_code == 0, done.stderr
    digest = done.stdout.split("sha256 ")[1].strip()
    words = ("real", "-r", "real", "--metrics", "fgd,div", "-o", "report", "--no-html", "--fgd", "fgd.safetensors")
    done = run(*words, *settings, "--names", "ours")
    assert done.exit_code == 0, done.stderr
    report = load(tmp_path / "report" / "metrics.json")
    assert report["protocol"]["networks"]["fgd"] == digest
    assert scores(report, "ours")["fgd"]["value"] == pytest.approx(0.0, abs=1e-4)
    done = run(*words, "--set", "evaluation.window=64")
    assert done.exit_code == 2
    assert "34" in done.stderr


def test_a_bad_video_costs_one_video_and_the_exit_code_says_so(run, videos, tmp_path):
    folder = tmp_path / "made"
    shutil.copytree(videos, folder)
    (folder / "three.mp4").write_bytes((videos / "one.mp4").read_bytes()[:900])
    done = run(folder, "--reference", videos, "-o", "report", "--metrics", "fast", "--no-html")
    assert done.exit_code == 6
    assert "1 videos could not be measured: three of made: " in done.stderr
    failed = load(tmp_path / "report" / "metrics.json")["sections"][0]["systems"][2]["failed"]
    assert [item["id"] for item in failed] == ["three"]


@pytest.mark.parametrize("words", [["nowhere", "-r", "."], [".", "-r", "nowhere"], ["-m", "base", "-r", "nowhere"]])
def test_a_missing_folder_is_reported_before_torch_is_loaded(tmp_path, words):
    code = f"import sys\nsys.argv = ['gesturegen', 'evaluate', '-o', 'report', *{words}]\n"
    code += "from gesturegen_cli.cli.app import app\ntry:\n    app()\nexcept SystemExit as end:\n    "
    code += "print(end.code, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == "3 False\n"
    assert "error: 'nowhere' does not exist" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt, 130), (Terminated, 143)])
def test_an_interrupted_evaluation_says_what_is_kept(run, videos, tiny_bundle, monkeypatch, error, code):
    def stop(*args, **options):
        raise error

    monkeypatch.setattr("gesturegen_cli.evaluation.run.evaluate", stop)
    done = run(videos, "-r", videos)
    assert done.exit_code == code
    assert "hint: run the same command again: it begins anew" in done.stderr
    done = run("-m", tiny_bundle, "-r", videos, "-o", "report")
    assert done.exit_code == code
    assert "hint: run the same command again: it keeps the videos that were made" in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 2, "no reference was given"),
        (["--reference", "VIDEOS"], 2, "nothing to evaluate was given"),
        (["VIDEOS", "--reference", "VIDEOS", "--split", "all1"], 2, "expected one of all, train, val, test"),
        (["VIDEOS", "--reference", "VIDEOS", "--set", "nope=1"], 2, "unknown key 'nope'"),
        (["VIDEOS", "--reference", "VIDEOS", "--set", "evaluation.fps=1"], 2, "evaluation.fps"),
        (["VIDEOS", "--reference", "VIDEOS", "--metrics", "psnr,beauty"], 2, "unknown metric 'beauty'"),
        (["VIDEOS", "--reference", "VIDEOS", "--metrics", "psnrr"], 2, "did you mean 'psnr'?"),
        (["VIDEOS", "--reference", "VIDEOS", "--fail-under", "psnrr=20"], 2, "did you mean 'psnr'?"),
        (["VIDEOS", "--reference", "VIDEOS", "--fail-under", "psnr"], 2, "is not a gate"),
        (["VIDEOS", "--reference", "VIDEOS", "--fail-under", "worse"], 2, "needs something to compare with"),
        (["VIDEOS", "--reference", "VIDEOS", "--names", "a,b"], 2, "2 names for 1 systems"),
        (["VIDEOS", "--reference", "VIDEOS", "--fit-fgd", "x.safetensors"], 2, "only looks at the reference"),
        (["--reference", "VIDEOS", "--fit-fgd", "x.pt"], 2, "ends in .safetensors"),
        (["--reference", "VIDEOS", "--fit-fgd", "x.safetensors", "-o", "report"], 2, "and there is more: --output"),
        (["--reference", "VIDEOS", "--fit-fgd", "x.safetensors", "--names", "a"], 2, "and there is more: --names"),
        (["--reference", "VIDEOS", "--fit-fgd", "x.safetensors", "--fail-under", "fgd<1"], 2, "more: --fail-under"),
        (["--reference", "VIDEOS", "--fit-fgd", "x.safetensors", "--baseline", "file"], 2, "more: --baseline"),
        (["--reference", "VIDEOS", "--fit-fgd", "x.safetensors", "--fgd", "file"], 2, "more: --fgd"),
        (["--reference", "VIDEOS", "--fit-fgd", "x.safetensors"], 3, "expected at least 64 to fit on"),
        (["VIDEOS", "--reference", "VIDEOS", "-o", "file"], 2, "is a file, expected a folder"),
        (["VIDEOS", "--reference", "VIDEOS", "--estimator", "nope"], 3, "no bundle 'nope'"),
        (["-m", "nope", "--reference", "VIDEOS"], 3, "name a bundle folder, or 'base'"),
        (["missing.mp4", "--reference", "VIDEOS"], 3, "'missing.mp4' does not exist"),
        (["file", "--reference", "VIDEOS"], 3, "no video of 'file' could be read"),
        (["VIDEOS", "--reference", "missing.mp4"], 3, "'missing.mp4' does not exist"),
        (["VIDEOS", "--reference", "empty"], 3, "holds no dataset and no videos"),
        (["VIDEOS", "--reference", "half"], 3, "dataset.json"),
        (["VIDEOS", "--reference", "VIDEOS", "--baseline", "file"], 3, "file"),
        (["VIDEOS", "--reference", "VIDEOS", "--fgd", "file"], 3, "file"),
        (["VIDEOS", "--reference", "VIDEOS", "--i3d", "file"], 3, "file"),
        (["VIDEOS", "--reference", "VIDEOS", "--lpips", "file"], 3, "file"),
        (["VIDEOS", "--reference", "VIDEOS", "-o", "file/report"], 4, "Not a directory"),
    ],
)
def test_bad_requests_are_refused_and_leave_no_report(run, videos, tmp_path, words, code, message):
    (tmp_path / "file").write_text("no video")
    (tmp_path / "empty").mkdir()
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "dataset.json").write_text("{}")
    if "-o" not in words and "--fit-fgd" not in words:
        words = [*words, "-o", "report"]
    done = run(*[str(videos) if word == "VIDEOS" else word for word in words], estimator="--estimator" not in words)
    assert done.exit_code == code, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "file", "half"]
