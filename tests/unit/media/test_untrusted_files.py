"""Files that are not what they seem: scripts, pipes, text, the wrong kind, hostile names."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from gesturegen_cli.errors import InputError
from gesturegen_cli.media import ffmpeg
from gesturegen_cli.media.audio import load_audio
from gesturegen_cli.media.files import describe_content, is_text, shown
from gesturegen_cli.media.image import load_image
from gesturegen_cli.media.video import iter_frames, probe_video, read_mark

from . import make

READERS = [load_audio, load_image, probe_video, read_mark, lambda path: next(iter_frames(path, fps=25))]
ids = ["load_audio", "load_image", "probe_video", "read_mark", "iter_frames"]
every_reader = pytest.mark.parametrize("read", READERS, ids=ids)


@every_reader
def test_missing_file_suggests_the_nearest_name(tmp_path, read):
    (tmp_path / "speech.wav").write_bytes(b"x")
    with pytest.raises(InputError, match=r"'speach\.wav' does not exist") as caught:
        read(tmp_path / "speach.wav")
    assert "speech.wav" in caught.value.hint


@every_reader
def test_empty_file_is_refused(tmp_path, read):
    (tmp_path / "e.wav").touch()
    with pytest.raises(InputError, match="is empty"):
        read(tmp_path / "e.wav")


@every_reader
def test_folder_is_refused(tmp_path, read):
    with pytest.raises(InputError, match="is a folder"):
        read(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@every_reader
def test_named_pipe_is_refused_without_waiting(tmp_path, read):
    os.mkfifo(tmp_path / "p.wav")
    caught = []

    def attempt():
        with pytest.raises(InputError, match="named pipe") as error:
            read(tmp_path / "p.wav")
        caught.append(error)

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(20)
    assert caught


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="this system has no /dev/zero")
@every_reader
def test_device_is_refused(read):
    with pytest.raises(InputError, match="is a device"):
        read("/dev/zero")


@every_reader
def test_nul_in_a_name_is_refused(read):
    with pytest.raises(InputError, match="cannot be read"):
        read("a\0b.wav")


@every_reader
def test_text_is_refused_and_quoted(tmp_path, read):
    (tmp_path / "t.png").write_text("<!DOCTYPE html>\n<title>404</title>")
    with pytest.raises(InputError, match="text file that begins '<!DOCTYPE html>'"):
        read(tmp_path / "t.png")


@pytest.mark.parametrize("script", ["ffconcat version 1.0\nfile secret.wav\n", "#EXTM3U\n#EXTINF:1,\nsecret.wav\n"])
@pytest.mark.parametrize("name", ["s.wav", "s.mp4", "s.ffconcat", "s.m3u8"])
@every_reader
def test_playlists_are_refused_under_any_name(tmp_path, read, script, name):
    make.pcm_wav(tmp_path / "secret.wav", make.tone(1.0, 16000), 16000)
    (tmp_path / name).write_text(script)
    with pytest.raises(InputError, match="is a text file"):
        read(tmp_path / name)


@pytest.mark.parametrize("padding", ["", "\0"])
def test_ffmpeg_itself_does_not_follow_a_playlist(tmp_path, padding):
    """The second wall: should a script pass the look at its first bytes, the demuxer list stops it."""
    make.pcm_wav(tmp_path / "secret.wav", make.tone(1.0, 16000), 16000)
    script = tmp_path / "s.wav"
    script.write_text("ffconcat version 1.0\nfile secret.wav\n" + padding)
    arguments = [*ffmpeg.input_arguments(script), "-f", "f32le", "pipe:1"]
    with ffmpeg.running(arguments) as child:
        assert child.read(1000) == b""
        with pytest.raises(ffmpeg.FfmpegFailure, match="whitelist"):
            child.finish()


def test_a_picture_given_as_speech_is_named_as_such(tmp_path):
    path = make.png_that_claims(tmp_path / "p.wav", 100, 100)
    with pytest.raises(InputError, match="is a PNG picture, expected sound or video") as caught:
        load_audio(path)
    assert "first" in caught.value.hint


def test_speech_given_as_a_picture_is_refused(tmp_path):
    path = make.pcm_wav(tmp_path / "p.png", make.tone(1.0, 16000), 16000)
    with pytest.raises(InputError, match="is not a picture"):
        load_image(path)


@pytest.mark.parametrize(
    "name", ["-i.wav", "%03d.wav", "a b'\"$(x).wav", "l\n  Stream #0:0: Audio: x, 1 Hz.wav", "ü.wav"]
)
def test_odd_names_are_just_names(tmp_path, name):
    path = make.pcm_wav(tmp_path / name, make.tone(0.5, 16000), 16000)
    clip = load_audio(path)
    assert len(clip.samples) == 8000
    assert "\n" not in clip.name


def test_a_name_that_is_not_utf8_is_read_and_shown(tmp_path):
    path = make.pcm_wav(tmp_path / "plain.wav", make.tone(0.5, 16000), 16000)
    odd = os.path.join(os.fsencode(tmp_path), b"\xff\xfe.wav")
    try:
        os.rename(path, odd)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    clip = load_audio(os.fsdecode(odd))
    clip.name.encode("utf-8")
    assert len(clip.samples) == 8000


def test_relative_names_work_from_any_folder(tmp_path, monkeypatch):
    make.pcm_wav(tmp_path / "a.wav", make.tone(0.5, 16000), 16000)
    monkeypatch.chdir(tmp_path)
    assert len(load_audio("a.wav").samples) == 8000


def test_names_are_shown_without_folders_and_controls():
    assert shown("/home/someone/a\x1b[31m\nb.wav") == "a?[31m?b.wav"


def test_text_is_told_from_media():
    assert is_text("Grüße".encode()[:-1])
    assert is_text(b"plain\r\n\ttext")
    assert not is_text(b"RIFF\x24\0\0\0WAVE")
    assert not is_text(b"\xff\xfb\x90\x64" * 10)
    assert describe_content(b"ID3\x04\0\0\0\0\0\0") is None
    assert describe_content(b"RIFF\0\0\0\0WEBPVP8 ") == "a WEBP picture"


def test_a_child_that_hangs_is_killed(tmp_path, monkeypatch):
    stub = tmp_path / "ffmpeg"
    stub.write_text("#!/bin/sh\nexec sleep 60\n")
    stub.chmod(0o755)
    monkeypatch.setattr(ffmpeg, "executable", lambda: str(stub))
    with ffmpeg.running(["-version"], stall_seconds=0.4) as child:
        assert child.read(10) == b""
        with pytest.raises(ffmpeg.FfmpegFailure, match=r"no progress for 0\.4 s"):
            child.finish()


def test_leaving_the_block_ends_the_child(monkeypatch, tmp_path):
    stub = tmp_path / "ffmpeg"
    stub.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\necho ready\nexec sleep 60\n")
    stub.chmod(0o755)
    monkeypatch.setattr(ffmpeg, "executable", lambda: str(stub))

    def interrupted():
        with ffmpeg.running([]) as child:
            child.read(6)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_an_interrupt_in_the_middle_of_the_start_ends_the_child_too(monkeypatch, tmp_path):
    stub = tmp_path / "ffmpeg"
    stub.write_text("#!/bin/sh\nexec sleep 60\n")
    stub.chmod(0o755)
    monkeypatch.setattr(ffmpeg, "executable", lambda: str(stub))
    made = []

    class Slow(subprocess.Popen):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            made.append(self)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.2)  # here the handler of an interrupted main thread raises

    monkeypatch.setattr(subprocess, "Popen", Slow)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), ffmpeg.running([]):
            pass
    finally:
        signal.signal(signal.SIGINT, before)
    (process,) = made
    assert process.poll() == -signal.SIGKILL
