"""Windows cover every frame once, for any length."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gesturegen_cli.diffusion.longform import plan_windows


@given(frames=st.integers(1, 5000), window=st.integers(1, 1000))
def test_windows_cover_all_frames_in_order_without_gap_or_overlap(frames, window):
    plan = plan_windows(frames, window)
    assert [f for start, length in plan for f in range(start, start + length)] == list(range(frames))
    assert all(length == window for _, length in plan[:-1])
    assert 1 <= plan[-1][1] <= window
