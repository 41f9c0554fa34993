"""Dataset manifests: what is written reads back, and whatever does not fit is refused with its line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gesturegen_cli.data.manifest import Clip, Dropped, read_dataset, write_dataset
from gesturegen_cli.errors import InputError

DIGEST = "0" * 64


def make_clip(root: Path, name: str, split: str = "train", **changes: object) -> Clip:
    (root / "clips").mkdir(exist_ok=True)
    paths = {"video": root / "clips" / f"{name}.mp4", "audio": root / "clips" / f"{name}.wav"}
    for path in paths.values():
        path.write_bytes(b"x")
    values = {"labels": None, "split": split, "source": "a.mp4", "start": 1.5, "frames": 50, "seconds": 2.0}
    sizes = {"fps": 25, "size": 256, "sha256": {"video": DIGEST, "audio": DIGEST}, "crop": (1, 2, 300)}
    return Clip(id=name, **paths, **{**values, **sizes, **changes})


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    clips = [make_clip(tmp_path, "a"), make_clip(tmp_path, "b", "val", source="b.mp4")]
    write_dataset(tmp_path, clips, fps=25, size=256, source="test", dropped=[Dropped("c.mp4", 0.0, 1.0, "too short")])
    return tmp_path


def change(root: Path, line: int, **values: object) -> None:
    lines = (root / "manifest.jsonl").read_text().splitlines()
    lines[line - 1] = json.dumps({**json.loads(lines[line - 1]), **values})
    (root / "manifest.jsonl").write_text("\n".join(lines) + "\n")


def change_header(root: Path, **values: object) -> None:
    header = json.loads((root / "dataset.json").read_text())
    (root / "dataset.json").write_text(json.dumps({**header, **values}))


def test_dataset_reads_back_with_its_splits(dataset: Path) -> None:
    read = read_dataset(dataset)
    assert [clip.id for clip in read.split("train")] == ["a"]
    assert [clip.id for clip in read.split("val")] == ["b"]
    assert read.split("test") == ()
    assert read.clips[0].video == dataset / "clips" / "a.mp4"
    assert read.clips[0].crop == (1, 2, 300)
    assert read.seconds == 4.0
    assert json.loads((dataset / "dropped.jsonl").read_text())["reason"] == "too short"


def test_dataset_says_it_has_labels_only_when_every_clip_has(dataset: Path) -> None:
    label = dataset / "clips" / "a.labels.safetensors"
    label.write_bytes(b"x")
    digests = {"video": DIGEST, "audio": DIGEST, "labels": DIGEST}
    labelled = make_clip(dataset, "a", labels=label, sha256=digests)
    assert write_dataset(dataset, [labelled], fps=25, size=256, source="").labels
    both = write_dataset(dataset, [labelled, make_clip(dataset, "b")], fps=25, size=256, source="")
    assert not both.labels
    assert both.clips[0].labels == label
    change_header(dataset, labels=True)
    with pytest.raises(InputError, match="line 2: no labels"):
        read_dataset(dataset)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"id": "../evil"}, "line 2: id = '../evil', expected"),
        ({"id": "a" * 121}, "line 2: id = 'a"),
        ({"id": "a"}, "line 2: id 'a' stands in line 1 already"),
        ({"video": "/etc/passwd"}, "line 2: video = '/etc/passwd', expected a relative path"),
        ({"video": "clips/../../x.mp4"}, "line 2: video = .* expected a relative path"),
        ({"audio": "clips/none.wav"}, "line 2: audio = 'clips/none.wav', there is no such file"),
        ({"audio": "clips"}, "line 2: audio = 'clips' is not a regular file"),
        ({"video": 3}, "line 2: video = 3, expected text"),
        ({"split": "training"}, "line 2: split = 'training', expected one of train, val, test"),
        ({"frames": 50.5}, "line 2: frames = 50.5, expected a whole number"),
        ({"frames": True}, "line 2: frames = True, expected a number"),
        ({"seconds": 9.0}, "line 2: seconds = 9, expected frames / fps = 2"),
        ({"start": -1}, "line 2: start = -1, expected a number of at least 0"),
        ({"start": float("nan")}, "line 2 is not JSON .NaN is no number"),
        ({"fps": 30}, "line 2: 30 fps at size 256, expected 25 fps"),
        ({"sha256": {"video": DIGEST}}, "line 2: sha256.audio = None, expected 64"),
        ({"crop": [1, 2]}, "line 2: crop ="),
    ],
)
def test_bad_lines_are_refused_with_their_number(dataset: Path, values: dict[str, object], message: str) -> None:
    change(dataset, 2, **values)
    with pytest.raises(InputError, match=message) as caught:
        read_dataset(dataset)
    assert "gesturegen preprocess" in caught.value.hint


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "other"}, "kind = 'other', expected 'gesturegen-dataset'"),
        ({"format": 2}, "format = 2, this version reads 1"),
        ({"sample_rate": 44100}, "sample_rate = 44100, expected 16000"),
        ({"clips": 3}, "says 3 clips, manifest.jsonl has 2"),
    ],
)
def test_bad_headers_are_refused(dataset: Path, values: dict[str, object], message: str) -> None:
    change_header(dataset, **values)
    with pytest.raises(InputError, match=message):
        read_dataset(dataset)


def test_links_out_of_the_folder_are_refused_and_links_inside_are_followed(dataset: Path, tmp_path: Path) -> None:
    outside = tmp_path.parent / f"{tmp_path.name}-outside.mp4"
    outside.write_bytes(b"secret")
    (dataset / "clips" / "in.mp4").symlink_to(dataset / "clips" / "a.mp4")
    change(dataset, 2, video="clips/in.mp4")
    assert read_dataset(dataset).clips[1].video.name == "in.mp4"
    (dataset / "clips" / "out.mp4").symlink_to(outside)
    change(dataset, 2, video="clips/out.mp4")
    with pytest.raises(InputError, match=r"line 2: video = 'clips/out.mp4' leads out of the dataset folder"):
        read_dataset(dataset)


def test_linked_folders_out_of_the_dataset_are_refused(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "a.mp4").write_bytes(b"secret")
    (dataset / "away").symlink_to(outside)
    change(dataset, 1, video="away/a.mp4")
    with pytest.raises(InputError, match=r"line 1: video = 'away/a.mp4' leads out"):
        read_dataset(dataset)


def test_broken_json_key_twice_and_unfinished_folders_are_refused(dataset: Path) -> None:
    good = (dataset / "manifest.jsonl").read_text()
    (dataset / "manifest.jsonl").write_text(good + '{"id": "c", "id": "d"}\n')
    with pytest.raises(InputError, match=r"line 3 is not JSON .a key stands twice"):
        read_dataset(dataset)
    (dataset / "manifest.jsonl").write_text("[1]\n")
    with pytest.raises(InputError, match="line 1 holds list"):
        read_dataset(dataset)
    (dataset / "dataset.json").unlink()
    with pytest.raises(InputError, match=r"not a finished dataset: it has no dataset\.json"):
        read_dataset(dataset)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a folder"):
        read_dataset(tmp_path / "none")


def test_an_unknown_split_is_refused(dataset: Path) -> None:
    with pytest.raises(InputError, match="unknown split 'training'"):
        read_dataset(dataset).split("training")
