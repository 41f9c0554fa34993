"""Reading videos: facts, and frames in time, upright and in square pixels."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import psutil
import pytest

from gesturegen_cli.errors import InputError
from gesturegen_cli.media import ffmpeg
from gesturegen_cli.media.audio import load_audio
from gesturegen_cli.media.framing import CropBox, crop_and_resize
from gesturegen_cli.media.video import iter_frames, probe_video, write_video

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


def write(path: Path, count: int = 20, **options):
    settings = {"fps": 25, "size": (64, 48), "frame_count": count, **options}
    write_video(path, drawn(count, *settings["size"]), **settings)
    return path


@pytest.mark.parametrize("fps", [30, 25, 10, 60, 29.97])
def test_frames_come_at_the_rate_asked_for(tmp_path, fps):
    path = make.film(tmp_path / "f.mp4", seconds=2.0)
    assert abs(len(list(iter_frames(path, fps=fps))) - 2 * fps) <= 1


def test_a_stretch_of_a_video_is_the_stretch_of_the_whole(tmp_path):
    path = write(tmp_path / "o.mp4", 24)
    assert numbers(iter_frames(path, fps=25, start=0.4, seconds=0.32)) == list(range(10, 18))
    assert numbers(iter_frames(path, fps=12.5, start=0.0, seconds=0.32))[0] in (0, 1)


def test_a_start_after_the_end_is_refused(tmp_path):
    with pytest.raises(InputError, match="not one frame could be decoded from 50 s on"):
        next(iter_frames(write(tmp_path / "o.mp4"), fps=25, start=50))


def test_scaling_and_cropping_match_the_same_on_whole_frames(tmp_path):
    path = make.film(tmp_path / "f.mp4", "-crf", "5", size="160x120")
    whole = next(iter_frames(path, fps=30))
    for box in (CropBox(30, 10, 100), CropBox(-20, -10, 150)):
        part = next(iter_frames(path, fps=30, crop=box, size=64))
        assert part.shape == (64, 64, 3)
        assert np.abs(part.astype(int) - crop_and_resize(whole, box, 64)).mean() < 4
        assert next(iter_frames(path, fps=30, crop=box)).shape == (box.side, box.side, 3)


@pytest.mark.parametrize(("degrees", "size"), [(90, (48, 64)), (180, (64, 48)), (270, (48, 64))])
def test_turned_videos_come_upright(tmp_path, degrees, size):
    plain = write(tmp_path / "o.mp4")
    turned = tmp_path / "t.mp4"
    command = [ffmpeg.executable(), "-loglevel", "error", "-display_rotation", str(-degrees)]
    subprocess.run([*command, "-i", str(plain), "-c", "copy", str(turned)], check=True)
    info = probe_video(turned)
    assert (info.width, info.height, info.rotation) == (*size, degrees)
    frame = next(iter_frames(turned, fps=25))
    expected = np.rot90(next(iter_frames(plain, fps=25)), k=-degrees // 90)
    assert frame.shape == expected.shape
    assert np.abs(frame.astype(int) - expected).mean() < 5


def test_wide_pixels_become_square(tmp_path):
    path = make.film(tmp_path / "f.mp4", "-vf", "setsar=2/1")
    info = probe_video(path)
    assert (info.width, info.height) == (128, 48)
    assert next(iter_frames(path, fps=30)).shape == (48, 128, 3)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("f.mkv", ()),
        ("f.webm", ("-c:v", "libvpx-vp9", "-c:a", "libopus")),
        ("f.avi", ("-c:v", "mpeg4")),
        ("f.ts", ()),
        ("f.flv", ("-c:v", "flv")),
        ("f.mov", ("-c:v", "prores")),
        ("f.mpg", ("-c:v", "mpeg2video")),
    ],
)
def test_usual_containers_are_read(tmp_path, name, options):
    path = make.film(tmp_path / name, *options)
    info = probe_video(path)
    assert (info.width, info.height, info.has_audio) == (64, 48, True)
    assert info.seconds == pytest.approx(1.0, abs=0.15)
    assert abs(len(list(iter_frames(path, fps=30))) - 30) <= 2


def test_a_video_without_length_is_measured(tmp_path):
    path = tmp_path / "live.mkv"
    with path.open("wb") as file:
        command = [ffmpeg.executable(), "-loglevel", "error", "-i", str(make.film(tmp_path / "f.mp4")), "-c", "copy"]
        subprocess.run([*command, "-live", "1", "-f", "matroska", "pipe:1"], check=True, stdout=file)
    assert probe_video(path).seconds == pytest.approx(1.0, abs=0.1)


def test_sound_with_a_cover_picture_is_no_video(tmp_path):
    cover = make.film(tmp_path / "c.png", "-frames:v", "1", sound=False)
    sound = make.pcm_wav(tmp_path / "s.wav", make.tone(1.0, 16000), 16000)
    extra = ["-i", str(cover), "-map", "0", "-map", "1", "-c:v", "copy", "-disposition:v", "attached_pic"]
    path = make.convert(sound, tmp_path / "s.mp3", *extra)
    with pytest.raises(InputError, match="has no picture track"):
        probe_video(path)
    assert load_audio(path).seconds == pytest.approx(1.0, abs=0.08)


def test_closing_the_generator_ends_the_decoder(tmp_path):
    frames = iter_frames(make.film(tmp_path / "f.mp4", seconds=5, size="640x480"), fps=30)
    next(frames)
    children = [child for child in psutil.Process().children() if "ffmpeg" in " ".join(child.cmdline())]
    assert children
    frames.close()
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)


def test_a_cut_video_gives_its_good_frames(tmp_path):
    path = make.film(tmp_path / "f.mp4", "-movflags", "+faststart", seconds=3.0, size="320x240")
    os.truncate(path, path.stat().st_size * 2 // 3)
    assert 20 < len(list(iter_frames(path, fps=30))) < 89


def test_real_videos_are_read():
    for path in make.shared_media("video"):
        info = probe_video(path)
        frames = list(iter_frames(path, fps=25, size=64, seconds=2.0))
        assert len(frames) == 50
        assert info.seconds > 3
