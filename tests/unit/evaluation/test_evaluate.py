"""Sets of videos against a reference: what is compared with what, and what is said about it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from gesturegen_cli.bundle import open_bundle
from gesturegen_cli.data.video_record import MARK, record_path
from gesturegen_cli.evaluation.compare import Wanted
from gesturegen_cli.evaluation.evaluate import Candidate, Tools, Work, evaluate_section, observe_reference
from gesturegen_cli.evaluation.items import Item
from gesturegen_cli.evaluation.metrics import choose_metrics
from gesturegen_cli.evaluation.pose import Estimator, load_estimator
from gesturegen_cli.evaluation.view import View
from gesturegen_cli.media.video import iter_frames, write_video
from gesturegen_cli.types import AudioClip

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def judge(tiny_bundle):
    estimator = load_estimator(open_bundle(tiny_bundle), CPU)

    def call(references, systems, metrics, section="videos"):
        """The systems of a section by name, and the warnings; `references` and `systems` hold paths."""
        keys = choose_metrics(metrics)
        tools = Tools(View(25, 64, CPU), estimator, Wanted(frozenset(keys)), keys, {}, None, 34, 8, 0, 0)
        work = Work(1)
        reference = observe_reference([Item(path.stem, path) for path in references], tools, work)
        candidates = [Candidate(name, [Item(p.stem, p) for p in paths]) for name, paths in systems.items()]
        found, _ = evaluate_section(section, candidates, reference, tools, work)
        return {system.name: system for system in found.systems}, work.warnings

    return call


def widen(source, target, bar=0):
    """`source`, 64 x 64, in the middle of a wall 128 pixels wide, with a dark bar of `bar` pixels at its right."""
    frames = []
    for frame in iter_frames(source, fps=25):
        wide = np.full((64, 128, 3), (205, 215, 225), np.uint8)
        wide[:, 32:96] = frame
        wide[:, 122 - bar : 122] = 40
        frames.append(wide)
    target.parent.mkdir(exist_ok=True)
    write_video(target, frames, fps=25, size=(128, 64), frame_count=len(frames))
    return target


def test_pictures_that_are_not_square_are_compared_over_one_square(judge, make_video, tmp_path):
    source = make_video(tmp_path / "source.mp4", seconds=1, sound=False)
    real = widen(source, tmp_path / "real" / "a.mp4")
    made = widen(source, tmp_path / "made" / "a.mp4", bar=12)  # moves the square of its own by some pixels
    found, _ = judge([real], {"ours": [made]}, "psnr,l1")
    assert found["ours"].scores["psnr"].value > 35
    assert found["ours"].scores["l1"].value < 0.01


def remake(source, target, samples=None):
    """The pictures of `source` in `target`, with other sound."""
    frames = list(iter_frames(source, fps=25))
    target.parent.mkdir(exist_ok=True)
    audio = None if samples is None else AudioClip(samples)
    write_video(target, frames, fps=25, size=frames[0].shape[1::-1], frame_count=len(frames), audio=audio)
    return target


def test_a_silent_sound_track_is_judged_by_the_speech_of_the_reference(judge, make_video, tmp_path):
    real = make_video(tmp_path / "a.mp4", seconds=3)
    without = remake(real, tmp_path / "without" / "a.mp4")
    silent = remake(real, tmp_path / "silent" / "a.mp4", np.zeros(48_000, np.float32))
    found, _ = judge([real], {"without": [without], "silent": [silent]}, "bas,bc,silence,length,sync")
    for key in ("bas", "bc", "length"):
        assert found["without"].scores[key].value is not None, key
    assert found["silent"].scores == found["without"].scores
    assert found["silent"].scores["sync"].reason  # the sound of the reference says nothing about that of the video


@pytest.mark.parametrize("seen", [(False, False), (True, False), (True, True)])
def test_hands_count_only_where_the_reference_shows_them(judge, make_video, tmp_path, monkeypatch, seen):
    monkeypatch.setattr(Estimator, "sees_hands", lambda self, frames: torch.tensor(seen))
    # an untrained model: wherever its hands are, they are in the picture
    monkeypatch.setattr(Estimator, "locate", lambda self, frames: _joints(self.joints).expand(len(frames), -1, -1))
    real = make_video(tmp_path / "a.mp4", seconds=1, sound=False)
    (tmp_path / "made").mkdir()
    made = make_video(tmp_path / "made" / "a.mp4", seconds=1, sound=False, shade=30)
    found, _ = judge([real], {"ours": [made]}, "hand_l1,hand_psnr,hand_sharpness,mouth_l1")
    for key in ("hand_l1", "hand_psnr", "hand_sharpness"):
        for name in ("ours", "first frame", *(("reference",) if key == "hand_sharpness" else ())):
            score = found[name].scores[key]
            assert (score.value is not None) == any(seen), (name, key)
            assert score.reason == ("" if any(seen) else "no hand is seen in the reference")
    assert found["ours"].scores["mouth_l1"].value is not None


def _joints(names):
    """Left hand at the left, right hand at the right, all else spread in the middle; `1 k 2`."""
    places = torch.stack([torch.linspace(-0.1, 0.1, len(names)), torch.linspace(-0.5, 0.5, len(names))], dim=-1)
    for index, name in enumerate(names):
        places[index, 0] += 0.6 * (name.startswith("right_") - name.startswith("left_"))
    return places[None]


def test_a_missing_seam_has_its_true_reason(judge, make_video, tmp_path):
    real = make_video(tmp_path / "real.mp4", seconds=1, sound=False)
    late, still = tmp_path / "late.mp4", tmp_path / "still.mp4"
    write_video(late, list(iter_frames(real, fps=25)), fps=25, size=(64, 64), frame_count=25)
    write_video(still, [np.full((64, 64, 3), 90, np.uint8)] * 25, fps=25, size=(64, 64), frame_count=25)
    for video, seams in ((late, [70, 140]), (still, [10])):
        record_path(video).write_text(json.dumps({MARK: True, "fps": 25, "seams": seams}))
    found, _ = judge([real], {"late": [late], "still": [still], "both": [late, real]}, "seam")
    none, outside = (
        "no record beside the videos says where windows begin",
        "no window but the first begins inside the measured frames",
    )
    assert found["reference"].scores["seam"].reason == none
    assert found["late"].scores["seam"].reason == outside
    assert found["still"].scores["seam"].reason == "nothing moves in most frames, so that there is no usual step"
    assert found["both"].scores["seam"].reason == f"{none}; {outside}"


def test_sound_that_is_far_off_has_a_bad_offset(judge, make_video, tmp_path):
    rng = np.random.default_rng(0)
    clicks = np.repeat(np.where(rng.random(600) > 0.97, 0.5, 0.0), 160) * rng.standard_normal(96_000)
    source = make_video(tmp_path / "source.mp4", seconds=6, sound=False)
    real, late, other = (tmp_path / name / "a.mp4" for name in ("real", "late", "other"))
    remake(source, real, clicks.astype(np.float32))
    remake(source, late, np.concatenate([np.zeros(16_000), clicks[:-16_000]]).astype(np.float32))
    remake(source, other, clicks[::-1].astype(np.float32))
    found, _ = judge([real], {"late": [late], "other": [other]}, "sync")
    assert found["late"].scores["sync"].value == pytest.approx(1000, abs=10)
    assert found["other"].scores["sync"].value == 5000


def test_a_system_with_videos_for_some_clips_only_is_named_with_their_number(judge, make_video, tmp_path):
    real = [make_video(tmp_path / f"{name}.mp4", seconds=1) for name in "abc"]
    silent = make_video(tmp_path / "d.mp4", seconds=1, sound=False)
    systems = {"all": real, "some": [real[1]], "none": [silent]}
    found, warnings = judge(real, systems, "psnr")
    assert warnings == ["some: videos for 1 of 3 reference clips", "none: videos for 0 of 3 reference clips"]
    assert found["some"].scores["psnr"].clips == 1
    # of a clip without speech nobody can make a video from its speech
    assert judge([*real, silent], {"all": real}, "psnr", section="speech")[1] == []
    reconstructed = judge([*real, silent], {"all": real}, "psnr", section="reconstruction")[1]
    assert reconstructed == ["all (reconstruction): videos for 3 of 4 reference clips"]


def test_a_reference_that_shows_one_pose_only_measures_no_distance_of_motion(judge, make_video, tmp_path):
    moving = make_video(tmp_path / "a.mp4", seconds=2, sound=False)
    frame = np.full((64, 64, 3), 90, np.uint8)
    (tmp_path / "still").mkdir()
    still = tmp_path / "still" / "a.mp4"
    write_video(still, [frame] * 50, fps=25, size=(64, 64), frame_count=50)
    found, _ = judge([still], {"ours": [moving]}, "fgd,div,speed")
    for name, key in (("ours", "fgd"), ("ours", "div"), ("reference", "div")):
        score = found[name].scores[key]
        assert score.value is None, (name, key)
        assert score.reason == "all windows of 34 frames of the reference show the same motion"
    assert found["ours"].scores["speed"].value is not None
    short = tmp_path / "short.mp4"
    write_video(short, [frame] * 5, fps=25, size=(64, 64), frame_count=5)
    assert "fewer than 2 windows" in judge([short], {"ours": [moving]}, "fgd")[0]["ours"].scores["fgd"].reason
