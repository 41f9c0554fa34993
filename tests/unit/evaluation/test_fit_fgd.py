"""Which clips an autoencoder of poses is fitted on, and which it could not be."""

from __future__ import annotations

import shutil

import pytest
import torch

from gesturegen_cli.config.load import load_config
from gesturegen_cli.errors import InputError
from gesturegen_cli.evaluation import fit_fgd as module
from gesturegen_cli.evaluation.fit_fgd import fit_fgd
from gesturegen_cli.evaluation.pose_space_file import load_pose_space
from gesturegen_cli.evaluation.run import Networks, Request

SETTINGS = ("evaluation.size=64", "evaluation.window=34", "evaluation.stride=4", "evaluation.fgd_steps=1")


@pytest.fixture
def fit(tiny_bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "FEWEST_WINDOWS", 8)

    def call(reference, *settings):
        """The windows that were trained on, the videos that failed, and the frames that were looked at."""
        failed, seen = [], []
        fit_fgd(
            Request((), (), reference, networks=Networks(estimator=str(tiny_bundle))),
            load_config(assignments=[*SETTINGS, *settings]),
            tmp_path / "fgd.safetensors",
            device=torch.device("cpu"),
            on_frames=lambda done, total: seen.append(done),
            on_step=lambda done, total: None,
            failed=failed,
        )
        return load_pose_space(tmp_path / "fgd.safetensors").training["windows"], failed, seen[-1]

    return call


@pytest.fixture
def real(make_video, tmp_path):
    folder = tmp_path / "real"
    folder.mkdir()
    make_video(folder / "0.mp4", seconds=3, sound=False)
    for index in (1, 2):
        shutil.copy(folder / "0.mp4", folder / f"{index}.mp4")
    return folder


def test_videos_that_cannot_be_read_are_left_out_and_named(fit, real):
    (real / "bad.mp4").write_text("no video")
    windows, failed, frames = fit(real)
    assert (windows, frames) == (30, 225)  # 11 windows of 34 frames in each of three clips; a tenth is held out
    assert [one["id"] for one in failed] == ["bad"]
    assert failed[0]["message"]
    for index in range(3):
        (real / f"{index}.mp4").write_text("no video")
    with pytest.raises(InputError, match="0 windows of 34 frames in 0 readable"):
        fit(real)


def test_as_many_clips_are_used_as_the_settings_say(fit, real):
    windows, failed, frames = fit(real, "evaluation.clips=2")
    assert (windows, failed, frames) == (20, [], 150)
