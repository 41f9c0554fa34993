"""Which clips an autoencoder of poses is fitted on, and which it could not be."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
import torch

from gesturegen_cli.bundle import open_bundle
from gesturegen_cli.config.load import load_config
from gesturegen_cli.errors import ConfigError, InputError
from gesturegen_cli.evaluation import fit_fgd as module
from gesturegen_cli.evaluation.fit_fgd import fit_fgd
from gesturegen_cli.evaluation.pose_space_file import load_pose_space, save_pose_space
from gesturegen_cli.evaluation.run import Networks, Request, prepare_tools

CPU = torch.device("cpu")
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


def test_too_few_windows_show_before_anything_is_looked_at(fit, real, monkeypatch):
    def too_late(*args):
        raise AssertionError("the headers tell how many windows there are")

    monkeypatch.setattr(module, "load_estimator", too_late)
    monkeypatch.setattr(module, "FEWEST_WINDOWS", 64)
    with pytest.raises(
        InputError, match="33 windows of 34 frames in 3 readable reference videos, expected at least 64"
    ):
        fit(real)


def test_the_autoencoder_records_its_estimator_and_is_refused_with_another(fit, real, tiny_bundle, tmp_path):
    fit(real)
    digest = open_bundle(tiny_bundle).digest
    path = tmp_path / "fgd.safetensors"
    space = load_pose_space(path)
    assert space.estimator == digest
    config = load_config(assignments=[*SETTINGS, "evaluation.metrics=fgd"])
    networks = Networks(fgd=path, estimator=str(tiny_bundle))
    assert prepare_tools(config, networks, CPU)[0].space.estimator == digest
    save_pose_space(path, replace(space, estimator="f" * 64))
    with pytest.raises(ConfigError, match=r"another estimator found \(ffffffffffff\.\.\., 'tiny' is ") as caught:
        prepare_tools(config, networks, CPU)
    assert "--estimator" in caught.value.hint
    save_pose_space(path, replace(space, estimator=""))  # a file that does not say it
    assert prepare_tools(config, networks, CPU)[0].space.estimator == ""


def test_as_many_clips_are_used_as_the_settings_say(fit, real):
    windows, failed, frames = fit(real, "evaluation.clips=2")
    assert (windows, failed, frames) == (20, [], 150)
