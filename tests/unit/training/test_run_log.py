import json
import subprocess
import sys
from pathlib import Path

import pytest

from gesturegen_cli.errors import ConfigError, EnvironmentFault
from gesturegen_cli.training.run_log import changed_keys, open_run, truncate_metrics

RECORD = {
    "stage": "deviation",
    "config": {"rng_seed": 0, "pretrain": {"steps": 10, "batch": 4, "betas": (0.9, 0.98)}},
    "inputs": {"data": "abc"},
    "command": ["gesturegen"],
}


def changed(**pretrain) -> dict:
    return {**RECORD, "config": {**RECORD["config"], "pretrain": {**RECORD["config"]["pretrain"], **pretrain}}}


def test_the_same_run_opens_again_and_steps_may_be_raised(tmp_path):
    for record in (RECORD, RECORD, changed(steps=20)):
        with open_run(tmp_path / "r", record) as run:
            assert run.main
    assert json.loads((tmp_path / "r" / "run.json").read_text())["config"]["pretrain"]["steps"] == 20


def test_other_settings_are_refused_by_their_dotted_names(tmp_path):
    with open_run(tmp_path / "r", RECORD):
        pass
    with (
        pytest.raises(ConfigError, match=r"config\.pretrain\.batch \(4, now 8\)"),
        open_run(tmp_path / "r", changed(batch=8)),
    ):
        pass
    with (
        pytest.raises(ConfigError, match=r"inputs\.data"),
        open_run(tmp_path / "r", {**RECORD, "inputs": {"data": "x"}}),
    ):
        pass
    assert json.loads((tmp_path / "r" / "run.json").read_text())["config"]["pretrain"]["batch"] == 4


def test_the_command_line_and_loader_processes_are_no_settings():
    assert changed_keys(RECORD, {**changed(workers=3), "command": ["other"]}) == []


def test_a_run_held_by_another_process_is_refused(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from gesturegen_cli.training.run_log import open_run\n"
        "with open_run(Path(sys.argv[1]), {'stage': 'x'}): print('held', flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "r")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout.readline() == "held\n"
        with (
            pytest.raises(EnvironmentFault, match="another process is training"),
            open_run(tmp_path / "r", {"stage": "x"}),
        ):
            pass
    finally:
        child.communicate("")
    with open_run(tmp_path / "r", {"stage": "x"}) as run:
        assert run.path == tmp_path / "r"


def test_a_folder_with_other_things_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="holds no run"), open_run(tmp_path, RECORD):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_lines_after_a_step_are_forgotten_and_torn_lines_too(tmp_path: Path):
    with open_run(tmp_path / "r", RECORD) as run:
        for step in (1, 2, 3):
            run.log(step, {"loss": 1 / step, "odd": float("nan")})
        with (run.path / "metrics.jsonl").open("a") as file:
            file.write('{"step": 2, "lo')
        truncate_metrics(run, 2)
        lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
    assert lines[0] == {"step": 1, "loss": 1.0, "odd": None}
