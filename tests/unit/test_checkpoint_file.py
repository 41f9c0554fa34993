"""Checkpoints of strangers: what is read, what is refused with which words, and that nothing in them runs."""

from __future__ import annotations

import argparse
import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from gesturegen_cli.checkpoint_file import named_tensors, read_checkpoint
from gesturegen_cli.errors import InputError

WEIGHTS = OrderedDict(a=torch.arange(6.0).view(2, 3), count=torch.tensor(4))


class Boom:
    """Leaves a trace when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = str(trace)

    def __reduce__(self):
        return (open, (self.trace, "w"))


class Shell(Boom):
    """Another way, by a module that can never be allowed."""

    def __reduce__(self):
        return (os.system, (f"touch {self.trace}",))


def refusal(path: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        named_tensors(read_checkpoint(path), path)
    assert caught.value.exit_code == 3
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize("modern", [True, False], ids=["zip", "legacy"])
def test_a_torch_file_of_any_age_is_read(tmp_path, modern):
    torch.save({"epoch": 3, "state_dict": WEIGHTS}, tmp_path / "x.pt", _use_new_zipfile_serialization=modern)
    top = read_checkpoint(tmp_path / "x.pt")
    tensors = named_tensors(top["state_dict"], tmp_path / "x.pt")
    assert top["epoch"] == 3
    assert all(torch.equal(tensors[name], WEIGHTS[name]) for name in WEIGHTS)


@pytest.mark.parametrize("padding", range(0, 300, 7))
def test_safetensors_are_read_whatever_their_name_and_first_byte(tmp_path, padding):
    save_file(dict(WEIGHTS), tmp_path / "x.pt", metadata={"x": "y" * padding})
    tensors = named_tensors(read_checkpoint(tmp_path / "x.pt"), tmp_path / "x.pt")
    assert torch.equal(tensors["a"], WEIGHTS["a"])


def test_safetensors_may_begin_as_an_archive_does(tmp_path):
    # The file starts with the header's length, little-endian: here 0x4b50, which reads "PK".
    save_file(dict(WEIGHTS), tmp_path / "x.pt", metadata={"x": ""})
    bare = int.from_bytes((tmp_path / "x.pt").read_bytes()[:8], "little")
    save_file(dict(WEIGHTS), tmp_path / "x.pt", metadata={"x": "y" * (0x4B50 - bare)})
    assert (tmp_path / "x.pt").read_bytes()[:2] == b"PK"
    assert torch.equal(read_checkpoint(tmp_path / "x.pt")["a"], WEIGHTS["a"])


@pytest.mark.parametrize("modern", [True, False], ids=["zip", "legacy"])
def test_bookkeeping_of_trainings_does_not_hinder_and_is_not_restored(tmp_path, modern):
    extra = {"args": argparse.Namespace(lr=1e-4), "best": np.float64(0.5), "state_dict": WEIGHTS}
    torch.save(extra, tmp_path / "x.pt", _use_new_zipfile_serialization=modern)
    top = read_checkpoint(tmp_path / "x.pt")
    assert type(top["args"]).__name__ == type(top["best"]).__name__ == "_Placeholder"
    assert torch.equal(top["state_dict"]["a"], WEIGHTS["a"])


@pytest.mark.parametrize("kind", ["zip", "legacy", "plain pickle"])
@pytest.mark.parametrize("bomb", [Boom, Shell])
def test_code_in_a_pickle_is_refused_and_does_not_run(tmp_path, kind, bomb):
    path, trace = tmp_path / "x.pt", tmp_path / "trace"
    content = {"state_dict": {**WEIGHTS, "b": bomb(trace)}}
    if kind == "plain pickle":
        path.write_bytes(pickle.dumps(bomb(trace)))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == "zip")
    error = refusal(path)
    if kind != "plain pickle":
        assert ("io.open" if bomb is Boom else "posix.system") in error.message
        assert "nothing of it was run" in error.message
    assert not trace.exists()


@pytest.mark.parametrize("modern", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.9, 0.999])
def test_a_cut_file_is_called_cut_off(tmp_path, modern, share):
    torch.save({"state_dict": {"w": torch.zeros(4000)}}, tmp_path / "x.pt", _use_new_zipfile_serialization=modern)
    data = (tmp_path / "x.pt").read_bytes()
    (tmp_path / "x.pt").write_bytes(data[: int(len(data) * share)])
    error = refusal(tmp_path / "x.pt")
    assert "checkpoint 'x.pt' is cut off or damaged" in error.message
    assert "fetch the file again" in error.hint


def test_cut_safetensors_are_called_cut_off(tmp_path):
    save_file(dict(WEIGHTS), tmp_path / "x.safetensors")
    data = (tmp_path / "x.safetensors").read_bytes()
    (tmp_path / "x.safetensors").write_bytes(data[:-4])
    assert "cut off or damaged" in refusal(tmp_path / "x.safetensors").message


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 842882469\n"


@pytest.mark.parametrize(
    ("data", "found", "hint"),
    [
        (b"", "is empty (0 bytes)", "interrupted"),
        (LFS, "is a Git LFS pointer", "git lfs pull"),
        (b"<!DOCTYPE html><html><body>Too many users</body></html>", "is a web page", "open the link in a browser"),
        (b"\n <HTML>\n<head>", "is a web page", "open the link in a browser"),
        (b"epoch 3, loss 0.1\n", "is a text file that begins 'epoch 3, loss 0.1'", "fetch the file again"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "is a PNG picture", "fetch the file again"),
        (b"\0\1\2\3\4\5\6\7\xff" * 9, "of no known kind (it begins 00 01 02", "fetch the file again"),
        (b"\x80", "cut off or damaged", "fetch the file again"),
        (b"PK\x03\x04", "cut off or damaged", "fetch the file again"),
    ],
)
def test_what_is_no_checkpoint_is_named(tmp_path, data, found, hint):
    (tmp_path / "model.pt").write_bytes(data)
    error = refusal(tmp_path / "model.pt")
    assert found in error.message
    assert hint in error.hint


def test_folders_pipes_and_nothing_are_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert "is a folder, expected a regular file" in refusal(tmp_path).message
    assert "is a named pipe" in refusal(tmp_path / "pipe").message
    assert "does not exist" in refusal(tmp_path / "model.pt").message


def test_archives_that_torch_did_not_write_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("holiday/a.jpg", b"x")
    assert "is an archive with 'holiday/a.jpg'" in refusal(tmp_path / "x.pt").message
    with zipfile.ZipFile(tmp_path / "y.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("y/data.pkl", bytes(10_000_000))
    assert "has packed entries" in refusal(tmp_path / "y.pt").message


def test_a_program_is_refused(tmp_path):
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "x.pt")
    assert "is a TorchScript program" in refusal(tmp_path / "x.pt").message


def test_other_contents_are_named(tmp_path):
    path = tmp_path / "x.pt"
    for content, found in (
        ([torch.zeros(1)], "holds one list, expected named tensors"),
        ({}, "holds no tensors"),
        ({"a": 3}, "'a' is of type int, expected a tensor"),
        ({3: torch.zeros(1)}, "'3' is of type Tensor, expected a tensor"),
        ({"a": torch.eye(2).to_sparse()}, "'a' is torch.sparse_coo on cpu, expected a dense tensor"),
        ({"a": torch.zeros(2, device="meta")}, "'a' is torch.strided on meta"),
        ({"a\x1b[2J": 3}, "'a?[2J' is of type int"),
    ):
        torch.save(content, path)
        assert found in refusal(path).message
