"""The examples run as they stand, each in a process of its own; with a tiny bundle, which they take as an argument."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gesturegen_cli.config.load import load_config
from gesturegen_cli.media.video import probe_video

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(
    ("script", "videos"),
    [("01_generate.py", ("calm", "lively")), ("03_edit_motion.py", ("smooth", "larger"))],
)
def test_an_example_runs_and_makes_its_videos(script, videos, tiny_bundle, tmp_path):
    command = [sys.executable, str(EXAMPLES / script), str(tmp_path), str(tiny_bundle)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    for name in videos:
        assert probe_video(tmp_path / f"{name}.mp4").seconds == pytest.approx(8.6, abs=0.05)
        assert f"{name}.mp4: " in done.stdout


def test_examples_are_short_and_the_demo_inputs_small():
    for script in EXAMPLES.glob("*.py"):
        assert len(script.read_text().splitlines()) < 60, script.name
    assert (EXAMPLES / "speech.wav").stat().st_size < 400_000
    assert (EXAMPLES / "speaker.png").stat().st_size < 400_000


def test_settings_of_the_paper_example_load():
    config = load_config("small", EXAMPLES / "paper" / "own-speaker.yaml", (), {})
    assert (config.deviation.name, config.preprocess.min_seconds) == ("rotation", 4)
