import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from .dataset_maker import make_dataset


def command(*arguments: object, **settings: object) -> list[str]:
    flags = [part for key, value in settings.items() for part in ("--set", f"{key.replace('__', '.')}={value}")]
    return [sys.executable, "-m", "gesturegen_cli", *map(str, arguments), "--preset", "tiny", "--device", "cpu", *flags]


def test_both_stages_from_the_command_line(tmp_path):
    data = make_dataset(tmp_path / "data", train=1, val=0, seconds=2).root
    cache = ["--cache", tmp_path / "cache", "--json"]
    one = subprocess.run(
        command("pretrain-deviation", data, tmp_path / "one", "--steps", 2, *cache), capture_output=True, text=True
    )
    assert one.returncode == 0, one.stderr
    assert json.loads(one.stdout.splitlines()[-1])["event"] == "result"
    bundle = tmp_path / "one" / "bundle"
    two = subprocess.run(
        command("train", data, tmp_path / "two", "--deviation", bundle, "--steps", 2, *cache),
        capture_output=True,
        text=True,
    )
    assert two.returncode == 0, two.stderr
    assert (tmp_path / "two" / "bundle" / "denoiser.safetensors").is_file()
    none = subprocess.run(
        command("train", tmp_path, tmp_path / "x", "--deviation", bundle), capture_output=True, text=True
    )
    assert none.returncode == 3
    assert "hint: " in none.stderr


def test_sigterm_to_the_whole_process_group_saves_and_the_same_command_continues(tmp_path):
    data = make_dataset(tmp_path / "data", train=1, val=0, seconds=2).root
    run = tmp_path / "run"
    arguments = ("pretrain-deviation", data, run, "--cache", tmp_path / "cache")
    settings = {"pretrain__workers": 1, "pretrain__save_every": 10_000}
    child = subprocess.Popen(
        command(*arguments, "--steps", 5000, **settings), stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    wait_for(run / "metrics.jsonl", child)
    os.killpg(child.pid, signal.SIGTERM)
    errors = child.communicate(timeout=400)[1]
    assert child.returncode == 143, errors
    assert "run the same command again to continue" in errors
    (saved,) = (run / "checkpoints").iterdir()
    done = int(saved.name)
    assert 0 < done < 5000
    again = subprocess.run(command(*arguments, "--steps", done + 1, **settings), capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert (run / "checkpoints" / f"{done + 1:08d}").is_dir()


def wait_for(path: Path, child: subprocess.Popen) -> None:
    until = time.monotonic() + 400
    while not (path.is_file() and path.stat().st_size):
        assert child.poll() is None, child.communicate()[1]
        assert time.monotonic() < until
        time.sleep(0.05)
