"""Autoencoders on disk: what is written comes back, and nothing else is taken."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from gesturegen_cli.errors import InputError
from gesturegen_cli.evaluation import pose_space_file
from gesturegen_cli.evaluation.pose_space import PoseAutoencoder, fit_pose_autoencoder
from gesturegen_cli.evaluation.pose_space_file import load_pose_space, save_pose_space

JOINTS = ("neck", "left_wrist", "right_wrist")


@pytest.fixture(scope="module")
def space() -> PoseAutoencoder:
    windows = torch.randn(30, 16, 6, generator=torch.Generator().manual_seed(0))
    return fit_pose_autoencoder(windows, joints=JOINTS, window=16, fps=25, steps=2)


@pytest.fixture
def saved(space: PoseAutoencoder, tmp_path: Path) -> Path:
    path = tmp_path / "poses.safetensors"
    save_pose_space(path, space)
    return path


def rewrite(path: Path, edit: Callable[[dict[str, Any], dict[str, Tensor]], None]) -> None:
    with path.open("rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    about, tensors = json.loads(header["__metadata__"]["pose_space"]), load_file(path)
    edit(about, tensors)
    save_file(tensors, path, metadata={"pose_space": json.dumps(about)})


def test_what_is_written_comes_back(space: PoseAutoencoder, saved: Path, tmp_path: Path):
    windows = torch.randn(5, 16, 6)
    found = load_pose_space(saved)
    assert torch.equal(found.features(windows), space.features(windows))
    assert torch.equal(found.reconstruct(windows), space.reconstruct(windows))
    assert (found.joints, found.window, found.fps) == (JOINTS, 16, 25)
    assert found.training == space.training
    # the same space gives the same file, and so the same digest
    assert save_pose_space(tmp_path / "again.safetensors", found) == found.digest
    assert len(found.digest) == 64


def test_files_without_an_estimator_are_read(saved: Path):
    rewrite(saved, lambda about, _: about.pop("estimator"))
    assert load_pose_space(saved).estimator == ""


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("kind", "another", "is no pose space"),
        ("format", 2, "has format 2, expected 1"),
        ("window", 4, "has window 4"),
        ("window", 10**9, "has window"),
        ("window", 16.0, "has window"),
        ("window", True, "has window"),
        ("window", 18, "expected F32"),
        ("fps", float("nan"), "has fps"),
        ("fps", 10**400, "has fps"),
        ("fps", -1, "has fps"),
        ("fps", "25", "has fps"),
        ("joints", "neck", "has joints"),
        ("joints", [], "has joints"),
        ("joints", ["neck"] * 3, "has joints"),
        ("joints", ["neck", "left_wrist", "\x1b[2J"], "has joints"),
        ("joints", ["neck", ["left_wrist"], 3], "has joints"),
        ("joints", [str(k) for k in range(10_000)], "has joints"),
        ("joints", ["neck", "left_wrist"], "expected F32"),
        ("training", None, "has training"),
        ("training", {"error": "low"}, "has training"),
        ("estimator", 7, "has estimator"),
        ("estimator", "e" * 65, "has estimator"),
    ],
)
def test_files_that_say_something_else_are_refused(saved: Path, key: str, value: object, message: str):
    rewrite(saved, lambda about, _: about.update({key: value}))
    with pytest.raises(InputError, match=message):
        load_pose_space(saved)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda tensors: tensors.pop("mean"), "mean of None None, expected F32"),
        (lambda tensors: tensors.update(more=torch.zeros(1)), "more of F32 .1., expected F32 None"),
        (lambda tensors: tensors.update(scale=torch.zeros(6)), "no scale"),
        (lambda tensors: tensors.update(scale=torch.ones(7)), "scale of F32 .7., expected F32 .6."),
        (lambda tensors: tensors.update(mean=torch.zeros(6).double()), "mean of F64"),
        (lambda tensors: tensors.update(mean=torch.full((6,), float("nan"))), "not finite"),
    ],
)
def test_files_with_other_tensors_are_refused(saved: Path, edit: Callable[[dict[str, Tensor]], None], message: str):
    rewrite(saved, lambda _, tensors: edit(tensors))
    with pytest.raises(InputError, match=message):
        load_pose_space(saved)


@pytest.mark.parametrize("kept", [1, 7, 100, 5000, -1])
def test_truncated_files_are_refused(saved: Path, kept: int):
    saved.write_bytes(saved.read_bytes()[:kept])
    with pytest.raises(InputError):
        load_pose_space(saved)


@pytest.mark.parametrize(
    "data", [b"\x80\x04pickle", b"PK\x03\x04" + 99 * b"x", b"{}", struct.pack("<Q", 2) + b"[]", b"\xff" * 64]
)
def test_files_of_other_formats_are_refused(tmp_path: Path, data: bytes):
    path = tmp_path / "other.safetensors"
    path.write_bytes(data)
    with pytest.raises(InputError):
        load_pose_space(path)


def test_missing_and_huge_files_and_other_tensor_files_are_refused(saved: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(InputError, match="does not exist"):
        load_pose_space(saved.with_name("none.safetensors"))
    save_file({"a": torch.zeros(1)}, saved.with_name("plain.safetensors"))
    with pytest.raises(InputError, match="is no pose space"):
        load_pose_space(saved.with_name("plain.safetensors"))
    monkeypatch.setattr(pose_space_file, "MOST_BYTES", 1000)
    with pytest.raises(InputError, match="expected at most 1000"):
        load_pose_space(saved)
