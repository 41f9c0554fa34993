from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gesturegen_cli.config.schema import Sampling
from gesturegen_cli.pipeline import Pipeline
from gesturegen_cli.rendering import Source
from gesturegen_cli.types import AudioClip


@pytest.fixture(scope="module")
def prepared(tiny_bundle: Path, make_speaker, tmp_path_factory) -> tuple[Pipeline, Source]:
    pipeline = Pipeline.from_pretrained(tiny_bundle, device="cpu")
    return pipeline, pipeline.load_source(make_speaker(tmp_path_factory.mktemp("p") / "p.png"))


@settings(max_examples=25, deadline=None)
@given(samples=st.integers(1600, 48_000), fps=st.sampled_from([None, 24.0, 25.0, 30000 / 1001, 60.0]))
@example(samples=10_240, fps=None)  # one window exactly
@example(samples=10_241, fps=None)
@example(samples=20_480, fps=None)
@example(samples=1600, fps=1.0)
def test_a_video_has_round_of_duration_times_fps_frames(prepared, samples, fps):
    pipeline, source = prepared
    clip = AudioClip(np.sin(np.arange(samples) / 30).astype(np.float32))
    video = pipeline(clip, source, sampling=Sampling(steps=1, render_batch=64), fps=fps)
    expected = max(1, round(samples * (fps or 25) / 16_000))
    assert video.frame_count == len(video.motion.motion) == expected
    assert sum(1 for _ in video.frames) == expected
    assert bool(video.motion.motion.isfinite().all())
