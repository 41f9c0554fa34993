"""Merging configuration layers, for any layers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gesturegen_cli.config.load import merge

keys = st.sampled_from(["a", "b", "c"])
trees = st.recursive(
    st.dictionaries(keys, st.integers(0, 3), max_size=3),
    lambda inner: st.dictionaries(keys, inner | st.integers(0, 3), max_size=3),
    max_leaves=8,
)


@given(trees, trees, trees)
def test_merging_is_associative_where_layers_have_one_shape(one, two, three):
    # a number laid over a mapping and a mapping over that again is the one case where grouping may matter
    one, two, three = (same_shape(tree) for tree in (one, two, three))
    assert merge(merge(one, two), three) == merge(one, merge(two, three))


def same_shape(tree, depth=0):
    """Mappings under `a` and `b` down to depth 2, numbers elsewhere: layers of one schema."""
    shaped = {}
    for key, value in tree.items():
        nested = key in ("a", "b") and depth < 2
        if nested:
            shaped[key] = same_shape(value, depth + 1) if isinstance(value, dict) else {}
        else:
            shaped[key] = value if isinstance(value, int) else 0
    return shaped


@given(trees)
def test_an_empty_layer_changes_nothing(tree):
    assert merge(tree, {}) == tree == merge({}, tree)


@given(trees, trees)
def test_the_upper_layer_wins_and_the_lower_one_is_not_changed(one, two):
    before = repr(one)
    merged = merge(one, two)
    assert repr(one) == before
    assert set(merged) == set(one) | set(two)
    for key, value in two.items():
        if not isinstance(value, dict):
            assert merged[key] == value
