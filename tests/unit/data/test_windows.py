from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gesturegen_cli.config.schema import Window
from gesturegen_cli.data.motion_cache import MotionStore, smooth_motion
from gesturegen_cli.data.normalizer import Normalizer
from gesturegen_cli.data.windows import MotionWindows, plan_windows
from gesturegen_cli.errors import InputError

WINDOW = Window(frames=16, seed_frames=4, stride=5)
UNIT = Normalizer(torch.zeros(2), torch.ones(2))


@pytest.fixture
def windows(tmp_path) -> MotionWindows:
    """One clip of 40 frames whose motion and audio are the frame's number."""
    number = np.arange(40, dtype=np.float32)[:, None]
    np.save(tmp_path / "motion.npy", number.repeat(2, 1))
    np.save(tmp_path / "audio.npy", number.repeat(3, 1))
    stores = (MotionStore("clip", tmp_path / "motion.npy", tmp_path / "audio.npy", 40),)
    return MotionWindows(stores, plan_windows(stores, WINDOW), WINDOW, UNIT, 64, 0, static_start=0.0)


@given(st.integers(1, 300), st.integers(8, 80), st.integers(1, 30))
def test_windows_lie_inside_the_clip_and_reach_its_end(frames, length, stride):
    store = MotionStore("c", None, None, frames)
    window = Window(frames=length, seed_frames=4, stride=stride)
    if frames < length:
        with pytest.raises(InputError, match="as long as a window"):
            plan_windows([store], window)
        return
    starts = [start for _, start in plan_windows([store], window)]
    assert starts[0] == 0
    assert starts[-1] + length == frames
    assert all(0 < b - a <= stride for a, b in pairwise(starts))


def test_motion_audio_and_history_belong_together(windows):
    batch = windows.batch(0)
    assert batch["clean"].shape == (64, 16, 2)
    assert batch["seed"].shape == (64, 4, 2)
    assert torch.equal(batch["clean"][..., 0], batch["audio"][..., 0])
    start = batch["clean"][:, 0, 0]
    expected = (start[:, None] + torch.arange(-4, 0)).clamp_min(0)
    assert torch.equal(batch["seed"][..., 0], expected)
    assert set(start.tolist()) == {0, 5, 10, 15, 20, 24}
    assert batch["source"][:, 0].unique().numel() > 15


def test_still_starts_hold_the_frame_before_the_window(windows):
    batch = replace(windows, static_start=1.0).batch(0)
    before = (batch["clean"][:, 0, 0] - 1).clamp_min(0)
    assert torch.equal(batch["source"][:, 0], before)
    assert torch.equal(batch["seed"][..., 0], before[:, None].expand(-1, 4))


def test_a_batch_depends_on_seed_step_and_rank_only(windows):
    first, again = windows.batch(3, 1), windows.batch(3, 1)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["clean"], windows.batch(4, 1)["clean"])
    assert not torch.equal(first["clean"], windows.batch(3, 0)["clean"])


def test_everything_but_audio_is_normalised(windows):
    plain = windows.batch(0)
    scaled = replace(windows, normalizer=Normalizer(torch.tensor([1.0, 1.0]), torch.tensor([2.0, 2.0]))).batch(0)
    for name in ("clean", "seed", "source"):
        assert torch.equal(scaled[name], (plain[name] - 1) / 2)
    assert torch.equal(scaled["audio"], plain["audio"])


def test_smoothing_keeps_lines_and_spreads_a_jump():
    line = torch.arange(20.0)[:, None]
    assert torch.allclose(smooth_motion(line)[2:-2], line[2:-2])
    jump = torch.zeros(11, 1)
    jump[5] = 16
    assert smooth_motion(jump)[3:8, 0].tolist() == [1, 4, 6, 4, 1]
