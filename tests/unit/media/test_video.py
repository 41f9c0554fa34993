"""Writing videos: complete, marked, repeatable, or not there at all."""

from __future__ import annotations

import hashlib
import os
import struct
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest

from gesturegen_cli.errors import ConfigError, EnvironmentFault, InputError
from gesturegen_cli.media import ffmpeg
from gesturegen_cli.media.audio import load_audio
from gesturegen_cli.media.video import AI_MARK, iter_frames, probe_video, read_mark, write_video
from gesturegen_cli.types import SAMPLE_RATE, AudioClip

from . import make


def drawn(count: int, width: int = 64, height: int = 48):
    """Frames whose left part is as bright as their number says."""
    for index in range(count):
        frame = np.full((height, width, 3), (40, 90, 160), np.uint8)
        frame[:, : width // 2] = 10 * (index % 24)
        yield frame


def numbers(frames) -> list[int]:
    """Undo `drawn`."""
    return [round(float(frame[:, 4 : frame.shape[1] // 2 - 4].mean()) / 10) for frame in frames]


def speech(seconds: float) -> AudioClip:
    return AudioClip(make.tone(seconds, SAMPLE_RATE)[:, 0])


def write(path: Path, count: int = 20, **options):
    settings = {"fps": 25, "size": (64, 48), "frame_count": count, **options}
    write_video(path, drawn(count, *settings["size"]), **settings)
    return path


def test_every_frame_arrives_once_and_in_order(tmp_path):
    path = write(tmp_path / "o.mp4", 20)
    assert numbers(iter_frames(path, fps=25)) == list(range(20))
    info = probe_video(path)
    assert (info.width, info.height, info.fps, info.has_audio) == (64, 48, 25.0, False)
    assert info.seconds == pytest.approx(0.8, abs=0.01)
    assert os.listdir(tmp_path) == ["o.mp4"]


def test_colours_survive(tmp_path):
    frame = next(iter_frames(write(tmp_path / "o.mp4"), fps=25))
    assert np.abs(frame[24, 56].astype(int) - (40, 90, 160)).max() <= 4


@pytest.mark.parametrize(("count", "fps"), [(1, 25), (7, 25), (33, 25), (20, 29.97), (12, 12.5)])
@pytest.mark.parametrize("sound_seconds", [0.2, 3.0])
def test_length_is_that_of_the_frames_whatever_the_sound_is(tmp_path, count, fps, sound_seconds):
    path = write(tmp_path / "o.mp4", count, fps=fps, audio=speech(sound_seconds))
    info = probe_video(path)
    assert info.has_audio
    assert info.seconds == pytest.approx(count / fps, abs=1 / fps)
    assert len(list(iter_frames(path, fps=info.fps))) == count


def test_speech_is_in_the_video_at_its_time(tmp_path):
    samples = np.zeros(SAMPLE_RATE, np.float32)
    samples[8000:] = make.tone(0.5, SAMPLE_RATE)[:, 0]
    heard = load_audio(write(tmp_path / "o.mp4", 25, audio=AudioClip(samples))).samples
    onset = int(np.argmax(np.abs(heard) > 0.1))
    assert abs(onset - 8000) < 200


@pytest.mark.parametrize("name", ["s.wav", "s.mp3", "s.flac"])
def test_the_original_recording_is_used_when_given(tmp_path, name):
    recording = make.pcm_wav(tmp_path / "source.wav", make.tone(1.0, 44100, 2, hertz=10_000), 44100)
    recording = make.convert(recording, tmp_path / name, *(["-c:a", "pcm_s24le"] if name == "s.wav" else []))
    path = write(tmp_path / "o.mp4", 25, audio_path=recording)
    back = make.convert(path, tmp_path / "back.wav", "-ar", "44100", "-ac", "1")
    samples = np.frombuffer(back.read_bytes()[-80_000:-8_000], "<i2").astype(float)
    peak = int(np.abs(np.fft.rfft(samples)).argmax()) * 44100 / len(samples)
    assert abs(peak - 10_000) < 20  # above the 8 kHz that 16 kHz samples can hold


def test_the_mark_is_written_and_read_back(tmp_path):
    path = write(tmp_path / "o.mp4")
    assert read_mark(path) == AI_MARK
    assert AI_MARK.startswith("AI-generated video (gesturegen ")
    assert read_mark(make.convert(path, tmp_path / "remuxed.mp4", "-c", "copy")) == AI_MARK
    assert read_mark(make.convert(path, tmp_path / "encoded.mkv")) == AI_MARK


def test_other_comments_are_no_mark(tmp_path):
    assert read_mark(make.film(tmp_path / "f.mp4", "-metadata", "comment=holiday")) is None
    assert read_mark(write(tmp_path / "o.mp4", comment="")) is None


def test_private_metadata_of_the_speech_does_not_travel(tmp_path):
    recording = make.pcm_wav(tmp_path / "s.wav", make.tone(1.0, 16000), 16000)
    tags = ["-metadata", "artist=Jane Secret", "-metadata", "title=Jane at home"]
    path = write(tmp_path / "o.mp4", audio_path=make.convert(recording, tmp_path / "tagged.mp3", *tags))
    assert b"Jane" not in path.read_bytes()


def test_the_same_frames_give_the_same_file(tmp_path):
    digests = {
        hashlib.sha256(write(tmp_path / f"{k}.mp4", 30, audio=speech(1.2)).read_bytes()).hexdigest() for k in range(2)
    }
    assert len(digests) == 1


def test_the_index_comes_first_for_streaming(tmp_path):
    data = write(tmp_path / "o.mp4").read_bytes()
    kinds, place = [], 0
    while place < len(data):
        size, kind = struct.unpack_from(">I4s", data, place)
        kinds.append(kind)
        place += size
    assert kinds.index(b"moov") < kinds.index(b"mdat")


def test_progress_counts_every_frame(tmp_path):
    seen = []
    write(tmp_path / "o.mp4", 5, on_frame=seen.append)
    assert seen == [1, 2, 3, 4, 5]


def test_frames_are_taken_one_at_a_time(tmp_path):
    given, most = [], 0

    def watched():
        nonlocal most
        for frame in drawn(40):
            given.append(weakref.ref(frame))
            most = max(most, sum(reference() is not None for reference in given))
            yield frame

    write_video(tmp_path / "o.mp4", watched(), fps=25, size=(64, 48), frame_count=40)
    assert most <= 3  # this one, the generator's, and the one before it in the writer's hand


@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt, OSError, InputError])
def test_an_error_of_the_frames_comes_through_and_leaves_the_old_file(tmp_path, kind):
    (tmp_path / "o.mp4").write_bytes(b"old")

    def failing():
        yield from drawn(5)
        raise kind("no more")

    with pytest.raises(kind, match="no more"):
        write_video(tmp_path / "o.mp4", failing(), fps=25, size=(64, 48), frame_count=20)
    assert (tmp_path / "o.mp4").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["o.mp4"]


@pytest.mark.parametrize(
    ("given", "match"), [(19, "19 frames came"), (0, "0 frames came"), (21, "more than 20 frames")]
)
def test_a_wrong_number_of_frames_leaves_nothing(tmp_path, given, match):
    with pytest.raises(ValueError, match=match):
        write_video(tmp_path / "o.mp4", drawn(given), fps=25, size=(64, 48), frame_count=20)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("frame", [np.zeros((48, 62, 3), np.uint8), np.zeros((48, 64, 3), np.float32)])
def test_a_wrong_frame_leaves_nothing(tmp_path, frame):
    with pytest.raises(ValueError, match="expected uint8"):
        write_video(tmp_path / "o.mp4", [frame], fps=25, size=(64, 48), frame_count=1)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("size", [(63, 48), (64, 47), (0, 0)])
def test_odd_sizes_are_refused(tmp_path, size):
    with pytest.raises(ConfigError, match="must be even"):
        write(tmp_path / "o.mp4", size=size)


@pytest.mark.parametrize("options", [{"frame_count": 0}, {"fps": 0}, {"fps": float("nan")}])
def test_impossible_requests_are_refused(tmp_path, options):
    with pytest.raises(ConfigError):
        write(tmp_path / "o.mp4", 1, **options)


def test_the_speech_file_is_never_overwritten(tmp_path):
    recording = make.pcm_wav(tmp_path / "s.wav", make.tone(1.0, 16000), 16000)
    before = recording.read_bytes()
    with pytest.raises(ConfigError, match="speech file itself"):
        write(recording, audio_path=recording)
    assert recording.read_bytes() == before


def test_a_missing_folder_is_an_environment_fault(tmp_path):
    with pytest.raises(EnvironmentFault, match="No such file"):
        write(tmp_path / "no" / "o.mp4")


def stub(tmp_path: Path, monkeypatch, script: str) -> None:
    """Replace ffmpeg by a script, except for the reading of files."""
    program = tmp_path / "bin" / "ffmpeg"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(ffmpeg, "executable", lambda: str(program))


def test_a_full_disk_is_reported_and_leaves_nothing(tmp_path, monkeypatch):
    stub(tmp_path, monkeypatch, "head -c 20000 >/dev/null; echo 'av_write: No space left on device' >&2; exit 228")
    (tmp_path / "out").mkdir()
    with pytest.raises(EnvironmentFault, match="No space left") as caught:
        write(tmp_path / "out" / "o.mp4")
    assert "free some space" in caught.value.hint
    assert os.listdir(tmp_path / "out") == []


def test_an_encoder_that_loses_frames_is_noticed(tmp_path, monkeypatch):
    short = write(tmp_path / "short.mp4", 10)
    real = ffmpeg.executable()
    encode = f'cat >/dev/null; for last; do :; done; cp {short} "${{last#file:}}"'
    script = f'case "$*" in *rawvideo*) {encode};; *) exec {real} "$@";; esac'
    stub(tmp_path, monkeypatch, script)
    with pytest.raises(EnvironmentFault, match="only 10 of 20 frames"):
        write(tmp_path / "o.mp4", 20)
    assert not (tmp_path / "o.mp4").exists()


def test_a_killed_run_leaves_no_video_and_the_next_cleans_up(tmp_path):
    code = f"""
import itertools, os, signal, numpy as np
from gesturegen_cli.media.video import write_video
def frames():
    for index in itertools.count():
        if index == 40: os.kill(os.getpid(), signal.SIGKILL)
        yield np.zeros((48, 64, 3), np.uint8)
write_video({str(tmp_path / "o.mp4")!r}, frames(), fps=25, size=(64, 48), frame_count=100)
"""
    subprocess.run([sys.executable, "-c", code], check=False, timeout=120)
    assert not (tmp_path / "o.mp4").exists()
    left = os.listdir(tmp_path)
    assert len(left) == 1
    assert left[0].startswith(".o.mp4.")
    write(tmp_path / "o.mp4")
    assert os.listdir(tmp_path) == ["o.mp4"]
