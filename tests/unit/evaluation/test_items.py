"""Which videos belong to an evaluation, and which of them to each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from gesturegen_cli.errors import ConfigError, InputError
from gesturegen_cli.evaluation.items import Item, draw_items, find_items, partner_of


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


def test_ids_that_hold_two_underscores_pair_by_the_longest_part():
    real = {name: Item(name, Path(name)) for name in ("my", "my__talk", "a_")}
    names = {"my__talk__host": "my__talk", "my__talk": "my__talk", "my__other__host": "my", "a___b": "a_", "__my": None}
    for name, partner in names.items():
        assert partner_of(Item(name, Path("1")), real) == (real[partner] if partner else None), name
    assert partner_of(Item("my___host", Path("1")), real) == real["my"]


def test_a_split_of_what_is_no_dataset_is_refused(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"x")
    for path in (tmp_path, tmp_path / "a.mp4"):
        with pytest.raises(ConfigError, match=r"--split test, but '.*' is no dataset") as caught:
            find_items(path, "test")
        assert "leave --split out" in caught.value.hint


def test_drawn_items_keep_their_order_and_depend_on_the_seed_only():
    items = [Item(f"{index}", Path("1")) for index in range(20)]
    drawn = draw_items(items, 5, 3)
    assert len(set(drawn)) == 5
    assert drawn == sorted(drawn, key=items.index) == draw_items(items, 5, 3) != draw_items(items, 5, 4)
    assert draw_items(items, 0, 3) == draw_items(items, 30, 3) == items
