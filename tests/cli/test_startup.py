import os
import subprocess
import sys

import pytest

HEAVY = ("torch", "torchaudio", "diffusers", "accelerate", "numpy", "PIL", "yaml", "safetensors", "imageio_ffmpeg")
LIMIT = 0.2
"""Seconds of processor time for `--help`; wall time would measure the machine's other work."""


def _loaded_by(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("statement", ["import gesturegen_cli", "import gesturegen_cli.cli.app"])
def test_importing_loads_nothing_heavy(statement):
    assert not _loaded_by(statement) & set(HEAVY)


def test_help_loads_nothing_heavy():
    code = "import sys\nsys.argv = ['gesturegen', '--help']\nfrom gesturegen_cli.cli.app import app\n"
    code += "try:\n    app()\nexcept SystemExit as end:\n    assert end.code == 0\nprint(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "generate" in done.stdout
    assert not set(done.stderr.split()) & set(HEAVY)


def test_help_is_quick():
    def seconds() -> float:
        before = os.times()
        subprocess.run([sys.executable, "-m", "gesturegen_cli", "--help"], capture_output=True, check=True)
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    # Twice the bar of `gesturegen bench`, and the best of five: a busy machine also costs processor time.
    assert min(seconds() for _ in range(5)) <= 2 * LIMIT
