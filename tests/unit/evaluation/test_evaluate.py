"""Whole evaluations on drawn videos with an untrained, small model: the model's quality does not matter here."""

from __future__ import annotations

import json

import pytest
import torch

from gesturegen_cli.bundle import open_bundle
from gesturegen_cli.errors import InputError
from gesturegen_cli.evaluation.evaluate import evaluate_generated, evaluate_reconstruction
from gesturegen_cli.evaluation.motion_metrics import STRIDE, WINDOW, cut_windows
from gesturegen_cli.evaluation.report import FILE, report_folder, report_table, save_report

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def bundle(tiny_bundle):
    return open_bundle(tiny_bundle)


def test_a_set_against_itself_gets_perfect_scores(bundle, make_video, tmp_path):
    for name, shade in (("one", 0), ("two", 40)):
        make_video(tmp_path / f"{name}.mp4", seconds=4, shade=shade)
    seen = []
    report = evaluate_generated(tmp_path, tmp_path, bundle, device=CPU, on_progress=lambda *step: seen.append(step))
    assert report.metrics["l1"] == 0.0
    assert report.metrics["ssim"] == pytest.approx(1.0, abs=1e-6)
    assert report.metrics["fgd"] == pytest.approx(0.0, abs=1e-6)
    assert report.metrics["div"] == pytest.approx(report.baseline["div"])
    assert report.metrics["bas"] == report.baseline["bas"]
    assert 0.0 <= report.metrics["bas"] <= 1.0
    assert report.counts["pairs"] == 2
    assert report.protocol["bundle_digest"] == bundle.digest
    assert seen[-1] == (600, 600)  # 200 of each set, and 200 compared
    assert not report.failed


def test_without_pairs_the_image_scores_are_missing_and_say_why(bundle, make_video, tmp_path):
    made = make_video(tmp_path / "made.mp4", seconds=1)
    real = make_video(tmp_path / "real.mp4", seconds=1, shade=30, sound=False)
    report = evaluate_generated(made, real, bundle, device=CPU)
    assert report.metrics["psnr"] is None
    assert "no generated video has the name" in report.reasons["psnr"]
    assert report.metrics["fgd"] is None
    assert "0 generated and 0 reference windows of 64 frames" in report.reasons["fgd"]
    assert report.metrics["bas"] is not None
    assert report.baseline["bas"] is None


def test_a_video_of_another_length_is_compared_over_the_common_frames(bundle, make_video, tmp_path):
    (tmp_path / "real").mkdir()
    made = make_video(tmp_path / "a__host.mp4", seconds=1)
    make_video(tmp_path / "real" / "a.mp4", seconds=2)
    report = evaluate_generated(made, tmp_path / "real", bundle, device=CPU)
    assert report.metrics["psnr"] > 30
    assert report.warnings == ["a__host has 25 frames fewer than its reference; the common ones were compared"]


def test_one_bad_video_costs_one_video(bundle, make_video, tmp_path):
    make_video(tmp_path / "good.mp4", seconds=1)
    (tmp_path / "bad.mp4").write_text("no video")
    report = evaluate_generated(tmp_path / "good.mp4", tmp_path, bundle, device=CPU)
    assert [item["id"] for item in report.failed] == ["bad"]
    assert report.metrics["l1"] == 0.0


def test_a_set_without_a_readable_video_is_refused(bundle, make_video, tmp_path):
    good = make_video(tmp_path / "good.mp4", seconds=1)
    (tmp_path / "bad.mp4").write_text("no video")
    with pytest.raises(InputError, match="no generated video could be read"):
        evaluate_generated(tmp_path / "bad.mp4", good, bundle, device=CPU)


def test_reconstruction_reports_the_baseline_of_repeating_the_first_frame(bundle, make_video, tmp_path):
    video = make_video(tmp_path / "a.mp4", seconds=1)
    report = evaluate_reconstruction(video, bundle, device=CPU)
    assert set(report.metrics) == set(report.baseline) == {"psnr", "ssim", "l1"}
    assert report.baseline["l1"] > 0.005  # the figure moves
    assert report.clips[0]["copy_l1"] == report.baseline["l1"]


def test_windows_start_every_stride_and_short_motions_give_none():
    motion = torch.arange(float(WINDOW + 2 * STRIDE))[:, None]
    windows = cut_windows([motion, motion[: WINDOW - 1]])
    assert windows[:, 0, 0].tolist() == [0.0, STRIDE, 2.0 * STRIDE]


def test_report_is_written_as_json_and_shown_as_a_table(bundle, make_video, tmp_path):
    report = evaluate_reconstruction(make_video(tmp_path / "a.mp4", seconds=1), bundle, device=CPU)
    folder = tmp_path / "deep" / "report"
    with report_folder(folder):
        path = save_report(folder, report)
    assert path.name == FILE
    read = json.loads(path.read_text())
    assert read["metrics"] == report.metrics
    assert read["format"] == 1
    assert report_table(report).row_count == 3


def test_a_failed_evaluation_leaves_no_folder(tmp_path):
    with pytest.raises(KeyError), report_folder(tmp_path / "a" / "b"):
        raise KeyError
    assert not (tmp_path / "a").exists()
