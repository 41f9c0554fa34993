import dataclasses
import json
from pathlib import Path

import pytest

from gesturegen_cli.errors import ConfigError, InputError
from gesturegen_speakers.clip import ClipSettings, clip_id, clip_paths
from gesturegen_speakers.dataset import open_dataset, split_of, write_dataset

SETTINGS = ClipSettings(seed=1, size=64, frames=50, recordings=())


def fake_clip(folder: Path, number: int) -> None:
    for kind, path in clip_paths(folder, number).items():
        path.write_bytes(kind.encode())


def test_splits_are_about_90_5_5_and_do_not_change() -> None:
    splits = [split_of(clip_id(n)) for n in range(4000)]
    shares = {split: splits.count(split) / len(splits) for split in set(splits)}
    assert shares == pytest.approx({"train": 0.9, "val": 0.05, "test": 0.05}, abs=0.015)
    assert split_of("speaker-000000") == "val"


def test_a_new_folder_is_a_readable_empty_dataset(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    assert open_dataset(folder, SETTINGS) == {}
    summary = json.loads((folder / "dataset.json").read_text())
    assert (summary["format"], summary["kind"], summary["clips"]) == (1, "gesturegen-dataset", 0)
    assert (folder / "manifest.jsonl").read_text() == (folder / "dropped.jsonl").read_text() == ""


def test_only_complete_clips_are_kept(tmp_path: Path) -> None:
    open_dataset(tmp_path, SETTINGS)
    fake_clip(tmp_path, 0)
    fake_clip(tmp_path, 1)
    clip_paths(tmp_path, 1)["video"].unlink()
    assert list(open_dataset(tmp_path, SETTINGS)) == [0]
    row = json.loads((tmp_path / "manifest.jsonl").read_text())
    assert (row["id"], row["frames"], row["seconds"], row["size"]) == ("speaker-000000", 50, 2.0, 64)
    assert set(row["sha256"]) == {"video", "audio", "labels"}


def test_entries_are_written_in_order_of_their_number(tmp_path: Path) -> None:
    open_dataset(tmp_path, SETTINGS)
    for number in (2, 0, 1):
        fake_clip(tmp_path, number)
    done = open_dataset(tmp_path, SETTINGS)
    write_dataset(tmp_path, SETTINGS, reversed(list(done.values())))
    rows = [json.loads(line) for line in (tmp_path / "manifest.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == [clip_id(n) for n in range(3)]


def test_other_settings_are_refused(tmp_path: Path) -> None:
    open_dataset(tmp_path, SETTINGS)
    with pytest.raises(ConfigError, match="seed: 1 there, 2 asked"):
        open_dataset(tmp_path, ClipSettings(seed=2, size=64, frames=50, recordings=()))


def test_folders_from_before_pauses_could_be_chosen_go_on(tmp_path: Path) -> None:
    open_dataset(tmp_path, SETTINGS)
    summary = tmp_path / "dataset.json"
    found = json.loads(summary.read_text())
    del found["settings"]["longest_pause"]
    summary.write_text(json.dumps(found))
    assert open_dataset(tmp_path, SETTINGS) == {}
    with pytest.raises(ConfigError, match="longest_pause"):
        open_dataset(tmp_path, dataclasses.replace(SETTINGS, longest_pause=4.0))


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "holiday.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        open_dataset(tmp_path, SETTINGS)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.txt"]


def test_a_damaged_summary_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text("[]")
    with pytest.raises(InputError, match="not a dataset"):
        open_dataset(tmp_path, SETTINGS)
