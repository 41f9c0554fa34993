"""From videos to numbers: all five commands, one after the other, on drawn clips, as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file
from typer.testing import CliRunner

from gesturegen_cli.bundle import verify_bundle
from gesturegen_cli.cli.app import app
from gesturegen_cli.data.manifest import read_dataset
from gesturegen_cli.media.video import probe_video, read_mark


def gesturegen(*words: object) -> list[dict]:
    """Run a command with --json and give its events."""
    done = CliRunner().invoke(app, [*map(str, words), "--device", "cpu", "--json"])
    assert done.exit_code == 0, f"{words}: {done.stderr}"
    return [json.loads(line) for line in done.stdout.splitlines()]


def checkpoints(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "checkpoints").iterdir())


@pytest.mark.slow
def test_videos_become_a_bundle_that_generates_and_is_measured(
    tmp_path, monkeypatch, make_video, make_speech, make_speaker
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "videos").mkdir()
    for name, shade in (("ann", 0), ("bob", 30), ("cem", 60)):
        make_video(tmp_path / "videos" / f"{name}.mp4", seconds=6, size=96, shade=shade)
    make_speech(tmp_path / "speech.wav", 2.5, 5)
    make_speaker(tmp_path / "host.png")
    tiny = ("--preset", "tiny", "--set", "preprocess.workers=1")

    gesturegen("preprocess", "videos", "data", *tiny)
    dataset = read_dataset(tmp_path / "data")
    assert len(dataset.clips) >= 3
    assert {clip.source for clip in dataset.clips} == {"ann.mp4", "bob.mp4", "cem.mp4"}

    stage1 = ("pretrain-deviation", "data", "stage1", *tiny, "--cache", "cache")
    gesturegen(*stage1, "--steps", 2)
    first = load_file(tmp_path / "stage1" / "bundle" / "deviation.safetensors")
    gesturegen(*stage1, "--steps", 4)  # goes on from step 2
    second = load_file(tmp_path / "stage1" / "bundle" / "deviation.safetensors")
    assert any(not first[name].equal(second[name]) for name in first)
    steps = [json.loads(line)["step"] for line in (tmp_path / "stage1" / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(steps)
    assert steps[-1] == 4

    stage2 = ("train", "data", "stage2", "--deviation", "stage1/bundle", *tiny)
    gesturegen(*stage2, "--steps", 2)
    gesturegen(*stage2, "--steps", 4)
    assert any("4" in name for name in checkpoints(tmp_path / "stage2"))
    bundle = verify_bundle(tmp_path / "stage2" / "bundle")
    assert bundle.spec.kind == "full"

    out = tmp_path / "made" / "ann.mp4"
    out.parent.mkdir()
    options = ("-m", "stage2/bundle", "-o", out, "--steps", 2)
    gesturegen("generate", "speech.wav", "host.png", *options)
    info = probe_video(out)
    assert (info.width, info.height, info.fps, info.has_audio) == (64, 64, 25.0, True)
    assert info.seconds == pytest.approx(2.5, abs=0.04)
    assert read_mark(out)
    assert json.loads(out.with_suffix(".json").read_text())["frames"] == 62

    mine = ("pretrain-deviation", "data", "mine", "--init", "stage2/bundle", "--keep-motion", *tiny, "--cache", "cache")
    gesturegen(*mine, "--steps", 2)
    gesturegen(*mine, "--steps", 4)  # goes on
    gesturegen("generate", "speech.wav", "host.png", "-m", "mine/bundle", "-o", "mine.mp4", "--steps", 2)
    assert probe_video(tmp_path / "mine.mp4").seconds == pytest.approx(2.5, abs=0.04)

    small = ("--set", "evaluation.size=64", "--estimator", "stage2/bundle")
    gesturegen("evaluate", "made", "--reference", "videos", "-o", "report", *small)
    report = json.loads((tmp_path / "report" / "metrics.json").read_text())
    assert report["protocol"]["networks"]["estimator"] == bundle.digest
    ours = report["sections"][0]["systems"][-1]
    assert [clip["reference"] for clip in ours["clips"]] == ["ann"]
    assert 0 < ours["scores"]["psnr"]["value"] < 60
    assert ours["scores"]["length"]["value"] == 88  # 2.5 s of video for the 6 s that the reference of this name speaks
    gesturegen("evaluate", "-m", "stage1/bundle", "--data", "data", "-o", "report1", "--metrics", "psnr", *small)
    (section,) = json.loads((tmp_path / "report1" / "metrics.json").read_text())["sections"]
    assert section["name"] == "reconstruction"
    assert len(section["systems"][-1]["clips"]) == len(dataset.clips)
