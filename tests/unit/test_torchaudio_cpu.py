"""The finder that lets torchaudio import beside a CPU torch, tried on a stand-in package in a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_STAND_IN = """
{failure}
_IS_TORCHAUDIO_EXT_AVAILABLE = True
_IS_ALIGN_AVAILABLE = True
fail_if_no_align = lambda function: function
"""


def _run(folder: Path, failure: str, code: str) -> str:
    package = folder / "torchaudio"
    (package / "_extension").mkdir(parents=True)
    (package / "__init__.py").write_text("from . import _extension\n")
    (package / "_extension" / "__init__.py").write_text(_STAND_IN.format(failure=failure))
    script = f"import sys; sys.path.insert(0, {str(folder)!r})\n" + code
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


INSTALL = "from gesturegen_cli.torchaudio_cpu import install; install()\n"
FLAGS = "import torchaudio._extension as e; print(e._IS_TORCHAUDIO_EXT_AVAILABLE, e._IS_ALIGN_AVAILABLE)\n"


def test_libraries_that_cannot_be_loaded_count_as_absent(tmp_path):
    assert _run(tmp_path, "raise OSError('libc10_cuda.so')", INSTALL + FLAGS) == "False False"


def test_alignment_then_says_why_it_is_unavailable(tmp_path):
    call = """
import torchaudio._extension as e
@e.fail_if_no_align
def forced_align(): ...
try: forced_align(1, key=2)
except RuntimeError as error: print(error, e._load_lib("x"), e._check_cuda_version())
"""
    found = _run(tmp_path, "raise OSError('libc10_cuda.so')", INSTALL + call)
    assert found == "torchaudio's forced_align needs its compiled libraries: libc10_cuda.so False None"


def test_libraries_that_load_are_left_alone(tmp_path):
    assert _run(tmp_path, "", INSTALL + FLAGS) == "True True"


def test_other_errors_are_not_hidden(tmp_path):
    assert "RuntimeError: CUDA versions differ" in _run(
        tmp_path, "raise RuntimeError('CUDA versions differ')", INSTALL + FLAGS
    )


def test_installing_twice_registers_one_finder(tmp_path):
    code = INSTALL + INSTALL + "print(sum('_ExtensionFinder' in type(f).__name__ for f in sys.meta_path))"
    assert _run(tmp_path, "", code) == "1"


def test_the_package_installs_it_and_torchaudio_imports():
    code = "import gesturegen_cli, torchaudio; print(torchaudio.transforms.Resample(48000, 16000).orig_freq)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.strip() == "48000", done.stderr
