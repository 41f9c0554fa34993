"""Which videos belong to an evaluation, and which of them to each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from gesturegen_cli.errors import InputError
from gesturegen_cli.evaluation.items import Item, find_items, partner_of


def test_a_folder_gives_its_videos_sorted_and_nothing_else(tmp_path):
    for name in ("b.mp4", "a.MOV", "a.json", ".b.mp4.12.part.mp4"):
        (tmp_path / name).write_bytes(b"x")
    assert [item.id for item in find_items(tmp_path)] == ["a", "b"]


def test_videos_of_one_stem_keep_their_endings_as_ids(tmp_path):
    for name in ("a.mp4", "a.mov"):
        (tmp_path / name).write_bytes(b"x")
    assert [item.id for item in find_items(tmp_path)] == ["a.mov", "a.mp4"]


def test_a_folder_without_videos_is_refused(tmp_path):
    with pytest.raises(InputError, match="no dataset and no videos"):
        find_items(tmp_path)


def test_videos_pair_by_id_or_by_the_part_before_two_underscores():
    real = {name: Item(name, Path(name)) for name in ("talk", "unused")}
    found = {name: partner_of(Item(name, Path("1")), real) for name in ("talk", "talk__host", "other")}
    assert found == {"talk": real["talk"], "talk__host": real["talk"], "other": None}
