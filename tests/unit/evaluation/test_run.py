"""Whole evaluations on drawn videos with an untrained, small model: the model's quality does not matter here."""

from __future__ import annotations

import math
import shutil

import pytest
import torch

from gesturegen_cli.config.load import load_config
from gesturegen_cli.config.schema import Sampling
from gesturegen_cli.errors import ConfigError, InputError
from gesturegen_cli.evaluation import pose
from gesturegen_cli.evaluation import run as module
from gesturegen_cli.evaluation.items import Item
from gesturegen_cli.evaluation.metrics import METRICS
from gesturegen_cli.evaluation.observe import has_speech
from gesturegen_cli.evaluation.run import Networks, Request, evaluate, failures
from gesturegen_cli.media.video import probe_video, read_mark, write_video

CPU = torch.device("cpu")
SETTINGS = ("evaluation.size=64", "evaluation.bootstrap=50", "evaluation.window=34", "evaluation.stride=8")


@pytest.fixture
def run(tiny_bundle):
    def call(generated=(), reference=None, models=(), settings=(), comparable_to=None, **options):
        config = load_config(assignments=[*SETTINGS, *settings])
        request = Request(
            tuple(generated),
            tuple(map(str, models)),
            reference,
            networks=Networks(estimator=str(tiny_bundle)),
            **options,
        )
        stages = []

        def on_stage(name, unit):
            stages.append((name, unit, []))
            return lambda done, total: stages[-1][2].append((done, total))

        samplings = {str(model): Sampling(steps=2, overlap=4) for model in models}
        report, exhibits, _ = evaluate(
            request, config, samplings, device=CPU, comparable_to=comparable_to, on_stage=on_stage
        )
        call.stages, call.exhibits = stages, exhibits
        return report

    return call


def systems(report, section=0):
    return {system.name: system for system in report.sections[section].systems}


def test_a_set_against_itself_gets_perfect_scores(run, make_video, tmp_path, monkeypatch):
    monkeypatch.setattr(pose, "HANDS_SEEN_FROM", 0.0)  # an untrained model is sure of nothing
    for index in range(6):
        make_video(tmp_path / f"clip{index}.mp4", seconds=3, shade=8 * index)
    report = run([tmp_path], tmp_path)
    ours, real = (systems(report)[name].scores for name in (tmp_path.name, "reference"))
    assert set(ours) == set(METRICS)
    for key in ("l1", "hand_l1", "mouth_l1", "moving_l1", "fgd", "fvd_self", "length", "sync"):
        assert ours[key].value == pytest.approx(0.0, abs=1e-4), key
        assert ours[key].low <= 0.0 <= ours[key].high or ours[key].high < 1e-4, key
    assert ours["psnr"].value == 100.0
    assert ours["ssim"].value == pytest.approx(1.0, abs=1e-6)
    assert ours["sharpness"].value == ours["hand_sharpness"].value == 1.0
    for key in ("div", "bas", "bas_chance", "bc", "speed", "jerk", "range", "flicker"):
        assert ours[key].value == pytest.approx(real[key].value, rel=1e-6), key
    assert ours["fvd"].reason.startswith("no I3D")
    assert ours["lpips"].reason.startswith("no weights")
    assert ours["seam"].reason.startswith("no record")
    assert real["sharpness"].value == 1.0
    assert real["psnr"].reason == "compares a video with the reference"
    name, unit, seen = run.stages[-1]
    assert (name, unit) == ("evaluate", "frames")
    assert seen[-1] == (900, 900)  # 75 frames of 6 clips, and as many of the reference
    assert report.protocol["networks"]["estimator"]
    assert report.notes.keys() == METRICS.keys()


def test_the_first_frame_repeated_stands_beside_the_systems(run, make_video, tmp_path):
    video = make_video(tmp_path / "a.mp4", seconds=2)
    report = run([video], tmp_path)
    still = systems(report)["first frame"]
    assert still.role == "still"
    assert still.scores["l1"].value > 0.005  # the figure moves
    assert still.scores["speed"].reason == "not asked of a still picture"


def test_several_systems_stand_side_by_side_and_unmatched_ids_are_listed(run, make_video, tmp_path):
    real, one, two = (tmp_path / name for name in ("real", "one", "two"))
    for folder in (real, one, two):
        folder.mkdir()
    for name in ("a", "b", "c"):
        make_video(real / f"{name}.mp4", seconds=2)
    shutil.copy(real / "a.mp4", one / "a__host.mp4")
    make_video(one / "other.mp4", seconds=2, shade=30)
    make_video(two / "b.mp4", seconds=2, shade=30)
    report = run([one, two], real, names=("ours", "theirs"))
    found = systems(report)
    assert list(found) == ["reference", "first frame", "ours", "theirs"]
    assert found["ours"].unmatched == ["other"]
    assert report.sections[0].unused == ["c"]
    assert found["ours"].scores["psnr"].value == 100.0
    assert found["ours"].scores["psnr"].clips == 1
    assert found["ours"].scores["speed"].clips == 2
    assert found["theirs"].scores["psnr"].value < 40
    assert {exhibit.id for exhibit in run.exhibits} == {"a", "b"}


def test_other_rates_sizes_and_lengths_are_brought_together(run, make_video, tmp_path):
    (tmp_path / "real").mkdir()
    real = make_video(tmp_path / "real" / "a.mp4", seconds=2)
    made = tmp_path / "a.mp4"
    from gesturegen_cli.media.video import iter_frames

    frames = list(iter_frames(real, fps=50, size=128, seconds=1.5))
    write_video(made, iter(frames), fps=50, size=(128, 128), frame_count=len(frames))
    report = run([made], tmp_path / "real")
    ours = systems(report)["a.mp4"]
    assert ours.clips[0]["frames"] == 38  # 1.5 s at 25 fps
    assert ours.scores["psnr"].value > 25
    assert ours.scores["length"].value == 12
    assert report.warnings == ["a.mp4: a has 12 frames fewer than its reference; the common ones were compared"]


def test_silent_constant_and_short_videos_give_reasons_and_no_nan(run, tmp_path):
    import numpy as np

    for name, count in (("still", 60), ("short", 5)):
        frame = np.full((64, 64, 3), 90, np.uint8)
        write_video(tmp_path / f"{name}.mp4", [frame] * count, fps=25, size=(64, 64), frame_count=count)
    report = run([tmp_path], tmp_path)
    scores = systems(report)[tmp_path.name].scores
    assert scores["fgd"].reason == "all windows of 34 frames of the reference show the same motion"
    assert scores["bas"].reason == "no clip has speech with onsets"
    assert scores["moving_l1"].reason == "nothing moves in the reference"
    assert "colour_drift" in scores
    for score in scores.values():
        assert (score.value is None) == bool(score.reason)
        assert score.value is None or math.isfinite(score.value)
    only_short = run([tmp_path / "short.mp4"], tmp_path / "short.mp4")
    assert "windows of 34 frames" in systems(only_short)["short.mp4"].scores["fgd"].reason
    assert "clips of 16 frames" in systems(only_short)["short.mp4"].scores["fvd_self"].reason


def test_one_bad_video_costs_one_video(run, make_video, tmp_path):
    make_video(tmp_path / "good.mp4", seconds=2)
    (tmp_path / "bad.mp4").write_text("no video")
    report = run([tmp_path], tmp_path, names=("ours",))
    assert [line.split(":")[0] for line in failures(report)] == ["bad of reference", "bad of ours"]
    assert systems(report)["ours"].scores["l1"].value == 0.0
    with pytest.raises(InputError, match=r"no video of 'bad\.mp4' could be read"):
        run([tmp_path / "bad.mp4"], tmp_path / "good.mp4")
    with pytest.raises(InputError, match="no reference video could be read"):
        run([tmp_path / "good.mp4"], tmp_path / "bad.mp4")


def test_reference_files_that_are_none_cost_themselves_only(run, tiny_bundle, make_video, tmp_path):
    real, fast = tmp_path / "real", ("evaluation.metrics=psnr",)
    real.mkdir()
    good = make_video(real / "good.mp4", seconds=1)
    (real / "folder.mp4").mkdir()
    (real / "link.mp4").symlink_to(real / "gone.mp4")
    report = run([good], real, settings=fast)
    assert [item["id"] for item in systems(report)["reference"].failed] == ["folder", "link"]
    assert systems(report)["good.mp4"].scores["psnr"].value == 100.0
    report = run(reference=real, models=[tiny_bundle], output=tmp_path / "report", names=("ours",), settings=fast)
    rebuilt = systems(report)["ours"]
    assert ([clip["id"] for clip in rebuilt.clips], [item["id"] for item in rebuilt.failed]) == (
        ["good"],
        ["folder", "link"],
    )
    with pytest.raises(InputError, match=r"^'god\.mp4' does not exist"):
        run([good], real / "god.mp4", settings=fast)


def test_fewer_metrics_are_the_same_protocol(run, make_video, tmp_path):
    video = make_video(tmp_path / "a.mp4", seconds=2)
    full = run([video], video)
    assert set(full.protocol["networks"]) == {"estimator", "fgd", "fvd_self"}
    quick = run([video], video, settings=("evaluation.metrics=psnr",), comparable_to=full)
    assert set(quick.protocol["networks"]) == {"estimator"}
    assert quick.protocol_digest == full.protocol_digest


def test_a_bundle_is_scored_by_its_videos_which_are_made_once(run, tiny_bundle, make_video, tmp_path):
    real, output = tmp_path / "real", tmp_path / "report"
    real.mkdir()
    make_video(real / "a.mp4", seconds=2)
    make_video(real / "b.mp4", seconds=2, shade=20, sound=False)
    report = run(reference=real, models=[tiny_bundle], output=output, names=("ours",))
    assert [section.name for section in report.sections] == ["reconstruction", "speech"]
    rebuilt, spoken = (systems(report, index)["ours"] for index in (0, 1))
    assert [clip["id"] for clip in rebuilt.clips] == ["a", "b"]
    assert [clip["id"] for clip in spoken.clips] == ["a"]  # the other one has no sound
    assert spoken.scores["seam"].value > 0  # windows of 16 frames
    assert spoken.scores["length"].value == 0
    assert spoken.scores["sync"].value == 0
    videos = sorted(path.relative_to(output).as_posix() for path in output.rglob("*.mp4"))
    assert videos == [
        "videos/ours/reconstruction/a.mp4",
        "videos/ours/reconstruction/b.mp4",
        "videos/ours/speech/a.mp4",
    ]
    assert all(read_mark(output / video) for video in videos)
    assert probe_video(output / videos[0]).has_audio
    before = {video: (output / video).stat().st_mtime_ns for video in videos}
    again = run(reference=real, models=[tiny_bundle], output=output, names=("ours",))
    assert {video: (output / video).stat().st_mtime_ns for video in videos} == before
    assert systems(again)["ours"].scores == rebuilt.scores
    run(reference=real, models=[tiny_bundle], output=output, names=("ours",), settings=("rng_seed=5",))
    changed = {video for video in videos if (output / video).stat().st_mtime_ns != before[video]}
    assert changed == {"videos/ours/speech/a.mp4"}  # only motion is drawn


def test_only_the_first_frames_and_some_clips_count_when_asked(run, make_video, tmp_path):
    real, made = tmp_path / "real", tmp_path / "made"
    real.mkdir()
    for name in "abcd":
        make_video(real / f"{name}.mp4", seconds=2)
    shutil.copytree(real, made)
    report = run([made], real, settings=("evaluation.frames=20", "evaluation.clips=2"))
    ours = systems(report)["made"]
    assert len(ours.clips) == 2
    assert {clip["frames"] for clip in ours.clips} == {20}
    assert report.protocol["reference_clips"] == 2
    assert ours.scores["length"].value == 0


def test_names_have_to_fit(run, make_video, tmp_path):
    video = make_video(tmp_path / "a.mp4", seconds=1)
    with pytest.raises(ConfigError, match="1 names for 2 systems"):
        run([video, video], video, names=("one",))
    with pytest.raises(ConfigError, match="not all different"):
        run([video, video], video)
    with pytest.raises(ConfigError, match="not all different"):
        run([video], video, names=("reference",))
    with pytest.raises(ConfigError, match="not all different"):
        run([video, video], video, names=("a b", "A_b"))  # their folders would be the same


def test_wrong_folders_show_before_anything_else_is_looked_at(run, make_video, tmp_path, monkeypatch):
    def too_late(*args):
        raise AssertionError("the networks are loaded only when there is something to look at")

    monkeypatch.setattr(module, "prepare_tools", too_late)
    real, made = tmp_path / "real", tmp_path / "made"
    for folder in (real, made):
        folder.mkdir()
    make_video(real / "a.mp4", seconds=1)
    (made / "a.mp4").write_text("no video")
    (made / "b.mp4").write_bytes((real / "a.mp4").read_bytes()[:900])
    with pytest.raises(InputError, match="no video of 'made' could be read"):
        run([made], real)
    shutil.copy(real / "a.mp4", made / "c.mp4")
    (made / "a.mp4").unlink()
    for settings in (("evaluation.metrics=psnr,length",), ("evaluation.clips=1",)):
        with pytest.raises(InputError, match=r"no video of 'made' has the name of a clip .*'b', 'c'; clips: 'a'"):
            run([made], real, settings=settings)
    with pytest.raises(AssertionError, match="something to look at"):  # FGD needs no names
        run([made], real)
    for missing in (tmp_path / "gone", tmp_path / "gone.mp4"):
        with pytest.raises(InputError, match=r"'gone.*' does not exist"):
            run([made], missing)


def test_reasons_tell_missing_partners_from_missing_weights(run, make_video, tmp_path):
    made, real = (make_video(tmp_path / f"{name}.mp4", seconds=1) for name in ("made", "real"))
    scores = systems(run([made], real))["made.mp4"].scores
    assert scores["psnr"].reason == scores["hand_l1"].reason == "no video has the name of a reference clip"
    assert scores["lpips"].reason == "no weights of LPIPS were given (--lpips)"


def test_a_sound_file_counts_as_speech_whether_it_can_be_read_or_not(tmp_path, make_video):
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    video = make_video(tmp_path / "a.mp4", seconds=1, sound=False)
    assert not has_speech(Item("a", video))
    assert has_speech(Item("a", video, tmp_path / "bad.wav"))
