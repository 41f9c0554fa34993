"""A tiny dataset is really made; needs the assets and espeak-ng."""

import json
import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from safetensors import safe_open
from scipy.io import wavfile
from scipy.ndimage import map_coordinates

from gesturegen_speakers.arrays import Array
from gesturegen_speakers.articulation import FACE, HAND
from gesturegen_speakers.assets import load_assets
from gesturegen_speakers.clip import ClipSettings, Stopped, clip_paths, make_clip
from gesturegen_speakers.render import Progress, render_dataset
from gesturegen_speakers.skeleton import JOINTS, PARTS

pytestmark = pytest.mark.usefixtures("espeak")
SETTINGS = ClipSettings(seed=3, size=128, frames=75, recordings=())


@pytest.fixture(scope="module")
def dataset(assets_root: Path, espeak: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("speakers")
    render_dataset(assets_root, folder, 2, SETTINGS, 2, lambda _: None)
    return folder


def read_video(path: Path, size: int) -> Array:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path), "-f", "rawvideo"]
    raw = subprocess.run([*command, "-pix_fmt", "rgb24", "-"], capture_output=True, check=True).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, size, size, 3).astype(np.float32)


def read_labels(path: Path) -> tuple[dict[str, Array], dict[str, str]]:
    with safe_open(path, "np") as file:
        return {key: file.get_tensor(key) for key in file.keys()}, file.metadata()  # noqa: SIM118 - not a dict


def sample(image: Array, x: Array, y: Array) -> Array:
    """Bilinear colours of picture points in [-1, 1]."""
    half = len(image) / 2
    at = [(y + 1) * half - 0.5, (x + 1) * half - 0.5]
    return np.stack([map_coordinates(image[..., c], at, order=1, mode="nearest") for c in range(3)], -1)


def test_layout_and_manifest_are_those_of_a_dataset(dataset: Path) -> None:
    rows = [json.loads(line) for line in (dataset / "manifest.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == ["speaker-000000", "speaker-000001"]
    for row in rows:
        assert all((dataset / row[kind]).is_file() for kind in ("video", "audio", "labels"))
    summary = json.loads((dataset / "dataset.json").read_text())
    assert summary["clips"] == 2
    assert summary["seconds"] == 6.0
    assert sum(summary["splits"].values()) == 2
    assert len(list((dataset / "clips").iterdir())) == 6


def test_video_and_sound_have_the_promised_length(dataset: Path) -> None:
    paths = clip_paths(dataset, 0)
    assert read_video(paths["video"], 128).shape == (75, 128, 128, 3)
    rate, wave = wavfile.read(paths["audio"])
    assert (rate, wave.dtype, wave.shape) == (16000, np.int16, (48000,))


def test_labels_have_the_promised_shapes(dataset: Path) -> None:
    tensors, metadata = read_labels(clip_paths(dataset, 0)["labels"])
    shapes = {key: (str(value.dtype), value.shape) for key, value in tensors.items()}
    assert shapes == {
        "frames": ("int32", (15,)),
        "joints": ("float32", (15, 25, 2)),
        "parts": ("uint8", (15, 64, 64)),
        "alpha": ("uint8", (15, 64, 64)),
        "source_frames": ("int32", (15, 2)),
        "flow": ("float16", (15, 2, 64, 64, 2)),
        "visible": ("uint8", (15, 2, 64, 64)),
        "boxes": ("float32", (15, 3, 4)),
        "face": ("float32", (15, 8)),
        "hands": ("float32", (15, 2, 8)),
    }
    assert json.loads(metadata["joints"]) == list(JOINTS)
    assert json.loads(metadata["parts"]) == list(PARTS)
    assert json.loads(metadata["face"]) == list(FACE)
    assert json.loads(metadata["hands"]) == list(HAND)
    assert tensors["parts"].max() < len(PARTS)
    assert 0 <= tensors["source_frames"].min() <= tensors["source_frames"].max() < 15


@pytest.mark.parametrize("number", [0, 1])
def test_warping_the_source_by_the_flow_gives_the_driving_frame(dataset: Path, number: int) -> None:
    paths = clip_paths(dataset, number)
    video = read_video(paths["video"], 128)
    labels, _ = read_labels(paths["labels"])
    axis = (np.arange(64) * 2 + 1) / 64 - 1
    x, y = np.meshgrid(axis, axis)
    warped_error, copied_error = [], []
    for k in range(15):
        driving, source = (video[labels["frames"][i]] for i in (k, labels["source_frames"][k, 0]))
        flow = labels["flow"][k, 0].astype(np.float32)
        moving = (labels["parts"][k] > 0) & (labels["visible"][k, 0] > 0) & (np.abs(flow).max(-1) > 0.03)
        target = sample(driving, x, y)[moving]
        warped_error += list(np.abs(sample(source, x + flow[..., 0], y + flow[..., 1])[moving] - target).mean(-1))
        copied_error += list(np.abs(sample(source, x, y)[moving] - target).mean(-1))
    assert len(warped_error) > 100
    assert np.mean(warped_error) < 0.6 * np.mean(copied_error)


def test_finished_clips_are_kept_and_lost_ones_come_back_the_same(dataset: Path, assets_root: Path) -> None:
    kept, lost = clip_paths(dataset, 0), clip_paths(dataset, 1)
    before = kept["video"].stat().st_mtime_ns
    content = {kind: path.read_bytes() for kind, path in lost.items()}
    lost["labels"].unlink()
    seen: list[Progress] = []
    render_dataset(assets_root, dataset, 2, SETTINGS, 1, seen.append)
    assert (seen[0].kept, seen[-1].done) == (1, 2)
    assert kept["video"].stat().st_mtime_ns == before
    assert {kind: path.read_bytes() for kind, path in lost.items()} == content


def test_a_stopped_clip_leaves_nothing_behind(assets_root: Path, tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    with pytest.raises(Stopped):
        make_clip(load_assets(assets_root), tmp_path, 0, SETTINGS, lambda: True)
    assert list((tmp_path / "clips").iterdir()) == []
