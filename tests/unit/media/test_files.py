"""Outputs appear under their name when they are complete, or not at all."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest

from gesturegen_cli.errors import ConfigError, EnvironmentFault
from gesturegen_cli.media.files import output_fault, replacing


def test_success_replaces_the_old_file(tmp_path):
    target = tmp_path / "o.txt"
    target.write_text("old")
    with replacing(target, ".txt") as partial:
        assert partial.parent == tmp_path
        assert str(os.getpid()) in partial.name
        partial.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert os.listdir(tmp_path) == ["o.txt"]


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit, FileNotFoundError])
def test_any_exception_leaves_the_old_file_and_comes_through(tmp_path, kind):
    target = tmp_path / "o.txt"
    target.write_text("old")

    def fail():
        with replacing(target) as partial:
            partial.write_text("half")
            raise kind("mine")

    with pytest.raises(kind, match="mine"):
        fail()
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["o.txt"]


def test_partials_of_dead_processes_are_removed_and_living_ones_kept(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (tmp_path / f".o.mp4.{gone.pid}.part.mp4").write_text("dead")
    (tmp_path / f".o.mp4.{os.getppid()}.part.mp4").write_text("living")
    (tmp_path / f".other.mp4.{gone.pid}.part.mp4").write_text("another target")
    with replacing(tmp_path / "o.mp4", ".mp4") as partial:
        partial.write_text("new")
    assert sorted(os.listdir(tmp_path)) == sorted(
        ["o.mp4", f".o.mp4.{os.getppid()}.part.mp4", f".other.mp4.{gone.pid}.part.mp4"]
    )


def test_a_planted_link_is_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / f".o.{os.getpid()}.part").symlink_to(victim)
    with replacing(tmp_path / "o") as partial:
        partial.write_text("new")
    assert victim.read_text() == "precious"
    assert (tmp_path / "o").read_text() == "new"


def test_a_folder_as_output_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="not a regular file"), replacing(tmp_path):
        pass


def test_a_missing_folder_is_named_with_a_hint(tmp_path):
    with pytest.raises(EnvironmentFault) as caught, replacing(tmp_path / "no" / "o.mp4"):
        pass
    assert "'no'" in caught.value.hint


def test_a_file_in_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "f").touch()
    with pytest.raises(EnvironmentFault) as caught, replacing(tmp_path / "f" / "o.mp4"):
        pass
    assert "is a file" in caught.value.hint


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is read-only for root")
def test_a_read_only_folder_is_an_environment_fault(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(EnvironmentFault, match="Permission"), replacing(tmp_path / "o"):
        pass


def test_a_full_disk_at_the_last_step_leaves_nothing(tmp_path, monkeypatch):
    def full(_handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(EnvironmentFault, match="No space left") as caught, replacing(tmp_path / "o") as partial:
        partial.write_text("new")
    assert "free some space" in caught.value.hint
    assert os.listdir(tmp_path) == []


def test_a_name_of_the_longest_kind_works(tmp_path):
    target = tmp_path / ("ö" * 125 + ".mp4")
    with replacing(target, ".mp4") as partial:
        partial.write_text("new")
    assert target.read_text() == "new"


def test_faults_without_a_known_reason_still_give_a_hint(tmp_path):
    fault = output_fault(tmp_path / "o.mp4", "Strange error")
    assert fault.message == "cannot write 'o.mp4': Strange error"
    assert fault.hint
