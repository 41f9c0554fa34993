"""Splits by source: stable, in the shares asked for, never without training."""

from __future__ import annotations

from gesturegen_cli.data.splits import assign_splits


def names(count: int) -> list[str]:
    return [f"{i:064x}" for i in range(count)]


def test_one_source_trains() -> None:
    for name in names(50):
        assert assign_splits([name], 0.5, 0.5) == {name: "train"}


def test_shares_are_met_in_the_large() -> None:
    splits = list(assign_splits(names(4000), 0.1, 0.05).values())
    assert abs(splits.count("val") - 400) < 60
    assert abs(splits.count("test") - 200) < 45


def test_more_sources_do_not_move_the_others() -> None:
    few, many = assign_splits(names(200), 0.1, 0.1), assign_splits(names(400), 0.1, 0.1)
    assert all(many[name] == split for name, split in few.items())


def test_from_three_sources_on_one_validates_unless_none_is_wanted() -> None:
    for offset in range(20):
        some = names(100)[offset : offset + 3]
        assert "val" in assign_splits(some, 0.01, 0.0).values()
        assert set(assign_splits(some, 0.0, 0.0).values()) == {"train"}


def test_order_does_not_matter_and_something_always_trains() -> None:
    for count in range(1, 8):
        some = names(count)
        splits = assign_splits(some, 0.5, 0.5)
        assert splits == assign_splits(some[::-1], 0.5, 0.5)
        assert "train" in splits.values()
    assert assign_splits([], 0.1, 0.1) == {}
