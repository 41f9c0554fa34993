"""What is kept of one video: how long its pictures are, whatever its header says."""

from __future__ import annotations

import subprocess

import pytest
import torch

from gesturegen_cli.bundle import open_bundle
from gesturegen_cli.evaluation.items import Item
from gesturegen_cli.evaluation.observe import Observation, own_speech
from gesturegen_cli.evaluation.pose import load_estimator
from gesturegen_cli.evaluation.view import View, iter_batches
from gesturegen_cli.media import ffmpeg
from gesturegen_cli.media.video import probe_video


@pytest.fixture(scope="module")
def observe(tiny_bundle):
    estimator = load_estimator(open_bundle(tiny_bundle), torch.device("cpu"))

    def call(path, frames=0):
        view = View(25, 64, torch.device("cpu"), frames=frames)
        observation = Observation(Item(path.stem, path), view, estimator, {})
        for batch in iter_batches(observation.item, view):
            observation.add(batch)
        return observation.finish(own_speech(observation.item))

    return call


def test_length_counts_pictures_though_the_sound_goes_on(observe, make_video, make_speech, tmp_path):
    pictures = make_video(tmp_path / "p.mp4", seconds=1, sound=False)
    speech, path = make_speech(tmp_path / "s.wav", 2), tmp_path / "early.mp4"
    inputs = ["-i", str(pictures), "-i", str(speech)]
    subprocess.run([ffmpeg.executable(), "-loglevel", "error", *inputs, "-c:v", "copy", str(path)], check=True)
    assert probe_video(path).seconds == pytest.approx(2.0, abs=0.05)  # as the header says
    found = observe(path)
    assert found.frames == 25
    assert found.scores["length"] == pytest.approx(25, abs=1)  # the end of AAC may be a frame off
    assert observe(path, frames=20).scores["length"] == 0
    assert observe(path, frames=30).scores["length"] == 5


def test_pictures_as_long_as_the_speech_have_no_error(observe, make_video, tmp_path):
    assert observe(make_video(tmp_path / "a.mp4", seconds=2)).scores["length"] == 0
