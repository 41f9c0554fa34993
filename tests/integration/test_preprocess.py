"""Preprocess from end to end on videos drawn here: clips, reasons, resuming, interrupts, hostile names."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import wave
from pathlib import Path

import numpy as np
import pytest

from gesturegen_cli.config.schema import Preprocess
from gesturegen_cli.data.folder_lock import folder_lock
from gesturegen_cli.data.manifest import read_dataset
from gesturegen_cli.data.preprocess import preprocess
from gesturegen_cli.errors import ConfigError, EnvironmentFault, InputError
from gesturegen_cli.media.video import iter_frames

from .drawn_videos import beeps, draw

SETTINGS = Preprocess(size=64, min_seconds=1.0, max_seconds=3.0, validation=0.2, test=0.0, workers=1)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    draw(folder / "-i plain 'one' \"$(x)\".mp4", audio=beeps(2.4))
    draw(folder / "sub" / "cut.mp4", 5.0, cut=62, audio=beeps(5.0))
    draw(folder / "mute.mp4")
    shutil.copy(folder / "sub" / "cut.mp4", folder / "sub" / "zz copy.mp4")
    (folder / "text.mp4").write_text("this is no video\n")
    return folder


@pytest.fixture(scope="module")
def done(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("out") / "data"
    preprocess(videos, data, SETTINGS)
    return data


def mtimes(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in sorted(folder.rglob("*")) if path.is_file()}


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gesturegen_cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_clips_avoid_the_cut_and_every_drop_has_its_reason(done: Path) -> None:
    dataset = read_dataset(done)
    spans = sorted((clip.source, round(clip.start * 25), clip.frames) for clip in dataset.clips)
    assert spans == [("-i plain 'one' \"$(x)\".mp4", 0, 60), ("sub/cut.mp4", 0, 61), ("sub/cut.mp4", 63, 62)]
    lines = [json.loads(line) for line in (done / "dropped.jsonl").read_text().splitlines()]
    assert {(line["source"], line["reason"]) for line in lines} == {
        ("mute.mp4", "no audio"),
        ("text.mp4", "unreadable"),
        ("sub/zz copy.mp4", "duplicate"),
    }
    assert "text.mp4" in (done / "report.html").read_text()


def test_clips_have_the_promised_shape_and_length(done: Path) -> None:
    for clip in read_dataset(done).clips:
        frames = list(iter_frames(clip.video, fps=25))
        assert len(frames) == clip.frames
        assert frames[0].shape == (64, 64, 3)
        with wave.open(str(clip.audio)) as sound:
            assert (sound.getframerate(), sound.getnchannels()) == (16000, 1)
            assert sound.getnframes() == round(clip.frames / 25 * 16000)
        assert clip.crop is not None
        left, _top, side = clip.crop
        assert left <= 100
        assert left + side >= 140


def test_sound_and_pictures_of_a_late_clip_stay_together(done: Path) -> None:
    late = next(clip for clip in read_dataset(done).clips if clip.start > 1)
    with wave.open(str(late.audio)) as sound:
        samples = np.frombuffer(sound.readframes(sound.getnframes()), "<i2")
    expected = beeps(5.0).samples[round(late.start * 16000) :][: len(samples)]
    loud = np.abs(samples.reshape(-1, 160)).max(axis=1) > 3000
    assert np.mean(loud == (np.abs(expected.reshape(-1, 160)).max(axis=1) > 0.1)) > 0.97
    # The square returns to its start every 20 frames: the clip's first frame is frame 63 of the video.
    shown = next(iter_frames(late.video, fps=25))[25].mean(axis=1)
    assert late.crop is not None
    middle = (np.flatnonzero(shown > 230).mean() + 0.5) * late.crop[2] / 64 + late.crop[0]
    assert abs(middle - (100 + 63 % 20 + 10)) < 1.6


def test_the_cut_is_gone_from_the_clips(done: Path) -> None:
    for clip in read_dataset(done).clips:
        corner = np.stack([frame[:8, :8] for frame in iter_frames(clip.video, fps=25)]).astype(float)
        assert np.ptp(corner.mean(axis=(1, 2, 3))) < 12


def test_running_again_changes_no_file(videos: Path, done: Path) -> None:
    before = mtimes(done)
    again = preprocess(videos, done, SETTINGS)
    assert mtimes(done) == before
    assert again.reused == 4


def test_a_lost_clip_and_a_new_video_are_made_and_the_rest_is_kept(videos: Path, done: Path, tmp_path: Path) -> None:
    source, data = tmp_path / "in", tmp_path / "data"
    shutil.copytree(videos, source)
    shutil.copytree(done, data)
    lost = next(clip for clip in read_dataset(data).clips if clip.source.startswith("-i"))
    lost.video.unlink()
    draw(source / "new.mp4", 2.0, audio=beeps(2.0))
    before = mtimes(data / "clips")
    after = preprocess(source, data, SETTINGS)
    assert {clip.source for clip in after.dataset.clips} > {"new.mp4", lost.source}
    assert {
        path: stamp for path, stamp in mtimes(data / "clips").items() if path in before and lost.id not in path
    } == {path: stamp for path, stamp in before.items() if lost.id not in path}


def test_other_settings_are_refused_by_name(videos: Path, done: Path) -> None:
    changed = Preprocess(**{**SETTINGS.__dict__, "size": 128, "workers": 2})
    with pytest.raises(ConfigError, match=r"preprocess\.size = 128 \(was 64\)") as caught:
        preprocess(videos, done, changed)
    assert "another folder" in caught.value.hint
    assert "workers" not in caught.value.message


def test_folders_made_by_something_else_are_refused(videos: Path, done: Path, tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text("{}")
    with pytest.raises(ConfigError, match="holds a dataset that preprocess did not make"):
        preprocess(videos, tmp_path, SETTINGS)
    assert [path.name for path in tmp_path.iterdir()] == ["dataset.json"]


def test_silent_videos_are_kept_when_no_speech_is_asked_for(videos: Path, tmp_path: Path) -> None:
    settings = Preprocess(**{**SETTINGS.__dict__, "min_speech": 0.0})
    made = preprocess(videos / "mute.mp4", tmp_path / "data", settings)
    with wave.open(str(made.dataset.clips[0].audio)) as sound:
        assert sound.readframes(sound.getnframes()) == bytes(2 * 38400)


def test_two_runs_on_one_folder_are_refused(videos: Path, done: Path) -> None:
    with folder_lock(done / "work" / "lock"), pytest.raises(EnvironmentFault, match="another run is working in 'data'"):
        preprocess(videos, done, SETTINGS)


def test_nothing_usable_leaves_no_folder(videos: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no usable clip in any video \(no audio: 1\)"):
        preprocess(videos / "mute.mp4", tmp_path / "data", SETTINGS)
    assert list(tmp_path.iterdir()) == []


def test_the_command_tells_faults_by_its_exit_code(videos: Path, done: Path, tmp_path: Path) -> None:
    limits = ["--set", "preprocess.min_seconds=1", "--set", "preprocess.max_seconds=3"]
    rest = ["--set", "preprocess.validation=0.2", "--set", "preprocess.test=0", "--size", "64", "--workers", "1"]
    some = run("preprocess", videos, done, *limits, *rest, "--json")
    assert some.returncode == 6
    result = next(json.loads(line) for line in some.stdout.splitlines() if '"result"' in line)
    assert (result["clips"], result["dropped"]) == (3, {"duplicate": 1, "no audio": 1, "unreadable": 1})
    assert "1 of 5 videos could not be used, first 'text.mp4'" in some.stderr
    assert run("preprocess", videos / "none", tmp_path / "data").returncode == 3
    assert run("preprocess", videos, done, "--size", "96").returncode == 2
    assert not (tmp_path / "data").exists()


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize(("sign", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_an_interrupt_leaves_no_half_file_and_the_next_run_continues(
    videos: Path, tmp_path: Path, sign: int, code: int
) -> None:
    several, data = tmp_path / "several", tmp_path / "data"
    shutil.copytree(videos, several)
    draw(several / "zz long.mp4", 30.0, audio=beeps(30.0))  # the last one, so that a signal that comes late is in time
    limits = ["--set", "preprocess.min_seconds=1", "--set", "preprocess.max_seconds=3", "--size", "64"]
    command = [sys.executable, "-m", "gesturegen_cli", "preprocess", several, data, *limits, "--workers", "1"]
    process = subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not list(data.glob("clips/*.wav")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert list(data.glob("clips/*.wav"))
    process.send_signal(sign)
    process.communicate(timeout=60)
    assert process.returncode == code
    assert not (data / "dataset.json").exists()
    assert _children_end(data)
    for video in data.glob("clips/*.mp4"):
        assert len(list(iter_frames(video, fps=25))) in {60, 61, 62, 75}
    settings = Preprocess(size=64, min_seconds=1.0, max_seconds=3.0)
    assert len(preprocess(several, data, settings).dataset.clips) == 3 + 10


def _children_end(data: Path) -> bool:
    """Whether partial files vanish soon: those who write them clean up, even when their parent was killed."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if not list(data.glob("*/.*.part*")):
            return True
        time.sleep(0.1)
    return False
