"""Windows cover every frame once, for any length."""

from __future__ import annotations

import itertools

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gesturegen_cli.config.schema import Diffusion, Sampling, Window
from gesturegen_cli.diffusion.longform import plan_windows, sample_long


@given(frames=st.integers(1, 5000), window=st.integers(1, 1000))
def test_windows_cover_all_frames_in_order_without_gap_or_overlap(frames, window):
    plan = plan_windows(frames, window)
    assert [f for start, length in plan for f in range(start, start + length)] == list(range(frames))
    assert all(length == window for _, length in plan[:-1])
    assert 1 <= plan[-1][1] <= window


@st.composite
def _windows(draw: st.DrawFn, longest: int = 1000) -> tuple[int, int]:
    """A window and an overlap below it."""
    window = draw(st.integers(8, longest))
    return window, draw(st.integers(0, window - 1))


@given(frames=st.integers(1, 5000), sizes=_windows())
def test_overlapping_windows_share_exactly_the_overlap_and_each_adds_frames(frames, sizes):
    window, overlap = sizes
    plan = plan_windows(frames, window, overlap)
    assert plan[0][0] == 0
    assert sum(plan[-1]) == frames
    assert all(length == window for _, length in plan[:-1])
    assert plan[-1][1] <= window
    for (start, length), (following, rest) in itertools.pairwise(plan):
        assert start + length - following == overlap
        assert rest > overlap


@settings(deadline=None, max_examples=50)
@given(frames=st.integers(1, 60), sizes=_windows(12), candidates=st.integers(1, 3), seeds=st.integers(1, 7))
def test_every_length_gets_its_frames_and_only_real_ones(frames, sizes, candidates, seeds):
    window, overlap = sizes
    drawn = sample_long(
        lambda motion, _, cond: cond.audio + 0 * motion,
        torch.arange(1.0, frames + 1)[:, None] / frames,
        torch.zeros(1),
        window=Window(frames=window, seed_frames=seeds),
        diffusion=Diffusion(),
        sampling=Sampling(steps=1, guidance=1.0, candidates=candidates, overlap=overlap),
        generator=torch.Generator().manual_seed(0),
    )
    # This denoiser shows what it hears: every frame has to be that of its own moment, whichever window it is from.
    torch.testing.assert_close(drawn.motion[:, 0] * frames, torch.arange(1.0, frames + 1))
    assert len(drawn.seam_scores) == len(plan_windows(frames, window, overlap)) - 1
