"""Numbers of a fixed, untrained bundle: a change here means that every user's videos change."""

from dataclasses import replace

import pytest
import torch

from gesturegen_cli.pipeline import GestureVideo, Pipeline

MOTION = {
    "mean": -0.009087,
    "std": 0.100663,
    "first": 0.04086,
    "last": 0.064609,
    "speed": 0.041493,
    "fastest": 0.079677,
}
FRAMES = {"mean": 0.564447, "std": 0.208117, "change": 0.000491}


@pytest.fixture(scope="module")
def drawn(tiny_bundle, make_speech, make_speaker, tmp_path_factory) -> GestureVideo:
    folder = tmp_path_factory.mktemp("golden")
    pipeline = Pipeline.from_pretrained(tiny_bundle, device="cpu")
    sampling = replace(pipeline.bundle.sampling, render_precision="fp32")
    return pipeline(make_speech(folder / "s.wav", 2.0), make_speaker(folder / "p.png"), sampling=sampling, rng_seed=11)


def test_motion_is_the_same_as_ever(drawn):
    motion = drawn.motion.motion
    speed = motion.diff(dim=0).norm(dim=1)
    found = {
        "mean": float(motion.mean()),
        "std": float(motion.std()),
        "first": float(motion[0, 0]),
        "last": float(motion[-1, -1]),
        "speed": float(speed.mean()),
        "fastest": float(speed.max()),
    }
    assert motion.shape == (50, 62)
    assert found == pytest.approx(MOTION, abs=1e-4)


def test_frames_are_the_same_as_ever(drawn):
    frames = torch.stack([torch.from_numpy(frame) for frame in drawn.frames]).float() / 255
    found = {"mean": float(frames.mean()), "std": float(frames.std()), "change": float(frames.diff(dim=0).abs().mean())}
    assert found == pytest.approx(FRAMES, abs=1e-4)
