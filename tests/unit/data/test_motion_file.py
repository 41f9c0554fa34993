import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save, save_file

from gesturegen_cli.data.motion_file import load_motion, resample_motion, save_motion
from gesturegen_cli.errors import EnvironmentFault, InputError
from gesturegen_cli.types import MotionSequence

NOTES = {"gesturegen.kind": "motion", "gesturegen.format_version": "1", "space": "person-free", "fps": "25.0"}


def _motion(frames: int = 5, dim: int = 3) -> MotionSequence:
    return MotionSequence(torch.randn(frames, dim, generator=torch.Generator().manual_seed(0)), 29.97, "abc")


def test_motion_comes_back_as_it_was_saved(tmp_path):
    save_motion(tmp_path / "m.safetensors", _motion())
    back = load_motion(tmp_path / "m.safetensors", expected_dim=3)
    assert torch.equal(back.motion, _motion().motion)
    assert (back.fps, back.bundle_digest) == (29.97, "abc")
    assert os.listdir(tmp_path) == ["m.safetensors"]


@pytest.mark.parametrize(
    "motion",
    [
        MotionSequence(torch.zeros(3)),
        MotionSequence(torch.zeros(0, 3)),
        MotionSequence(torch.full((2, 3), float("nan"))),
        MotionSequence(torch.zeros(2, 3), fps=0),
        MotionSequence(torch.zeros(2, 3), fps=float("inf")),
    ],
)
def test_unusable_motion_is_not_written(tmp_path, motion):
    with pytest.raises(ValueError, match="expected finite t d"):
        save_motion(tmp_path / "m.safetensors", motion)
    assert os.listdir(tmp_path) == []


def test_missing_folder_is_an_environment_fault(tmp_path):
    with pytest.raises(EnvironmentFault, match="cannot write"):
        save_motion(tmp_path / "no" / "m.safetensors", _motion())


@pytest.mark.parametrize(
    ("tensors", "notes", "message"),
    [
        ({"motion": torch.zeros(2, 3)}, {"gesturegen.kind": "denoiser"}, "gesturegen.kind is 'denoiser'"),
        ({"motion": torch.zeros(2, 3)}, {"gesturegen.format_version": "9"}, "expected '1'"),
        ({"motion": torch.zeros(2, 3)}, {"space": "picture"}, "space is 'picture', expected 'person-free'"),
        ({"other": torch.zeros(2, 3)}, {}, "tensor 'motion' is none"),
        ({"motion": torch.zeros(3)}, {}, r"expected numbers t x d"),
        ({"motion": torch.zeros(2, 3, dtype=torch.int64)}, {}, "int64"),
        ({"motion": torch.zeros(2, 4)}, {}, "4 numbers per frame, this model has 3"),
        ({"motion": torch.full((2, 3), float("inf"))}, {}, "not finite"),
        ({"motion": torch.zeros(2, 3)}, {"fps": "-25"}, "fps is '-25'"),
        ({"motion": torch.zeros(2, 3)}, {"fps": "fast"}, "damaged"),
    ],
)
def test_motion_that_does_not_fit_is_refused(tmp_path, tensors, notes, message):
    save_file(tensors, tmp_path / "m.safetensors", metadata=NOTES | notes)
    with pytest.raises(InputError, match=message):
        load_motion(tmp_path / "m.safetensors", expected_dim=3)


GOOD = save({"motion": torch.zeros(2, 3)}, metadata=NOTES)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (pickle.dumps({"motion": 1}), "is a pickle"),
        (b"PK\3\4 and so on", "is a pickle or archive"),
        (b"", "empty"),
        (b"abc", "not a safetensors file"),
        (b"\xff" * 64, "not a safetensors file"),
        (GOOD[:-5], "damaged"),
        (GOOD[:8] + b"[" + GOOD[9:], "not a safetensors file"),
        ((1_000_001).to_bytes(8, "little") + b" " * 1_000_001, "header of 1000001 bytes"),
    ],
)
def test_files_that_are_no_motion_are_refused(tmp_path, data, message):
    path = Path(tmp_path, "m.safetensors")
    path.write_bytes(data)
    with pytest.raises(InputError, match=message):
        load_motion(path)


def test_resampling_is_exact_for_straight_movement():
    ramp = MotionSequence(torch.arange(10.0)[:, None], 25, "abc")
    faster = resample_motion(ramp, 50, 20)
    assert torch.allclose(faster.motion[:, 0], (torch.arange(20.0) / 2).clamp(max=9))
    assert (faster.fps, faster.bundle_digest) == (50, "abc")
    assert torch.allclose(resample_motion(ramp, 12.5, 5).motion[:, 0], torch.arange(0.0, 10, 2))
