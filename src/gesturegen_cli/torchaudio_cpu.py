"""Let torchaudio import beside a CPU build of torch.

The torchaudio wheel is linked against CUDA. Beside a CPU-only torch its shared libraries cannot be loaded, and
`torchaudio._extension` lets that OSError escape, so `import torchaudio` fails although everything written in Python
(mel spectrograms, resampling, models) would work. A torchaudio built from source without extensions has the same
code with two flags set to False, and runs; `install` makes Python see that variant when, and only when, the
libraries refuse to load. Nothing is changed on disk, nothing is imported early, and where the libraries do load
nothing is different.

What stays unavailable without the libraries: forced alignment and the compiled `lfilter`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType
from typing import Any, NoReturn

_MODULE = "torchaudio._extension"


def install() -> None:
    """Register the finder that makes `torchaudio._extension` survive unloadable libraries. Repeating is harmless."""
    if not any(isinstance(finder, _ExtensionFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _ExtensionFinder())


class _ExtensionFinder:
    """Answers for one module only and leaves every other import to the finders after it."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _MODULE:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _ExtensionLoader(spec.loader.name, spec.loader.path)
        return spec


class _ExtensionLoader(SourceFileLoader):
    """Runs the real module; if its libraries cannot be loaded, fills in what a build without them defines."""

    def exec_module(self, module: ModuleType) -> None:
        try:
            super().exec_module(module)
        except OSError as error:
            vars(module).update(_without_libraries(str(error)))


def _without_libraries(reason: str) -> dict[str, Any]:
    """The public names of `torchaudio._extension` in a build without extensions."""

    def fail_if_no_align(function: Callable[..., Any]) -> Callable[..., NoReturn]:
        def unavailable(*_args: object, **_kwargs: object) -> NoReturn:
            raise RuntimeError(f"torchaudio's {function.__name__} needs its compiled libraries: {reason}")

        return unavailable

    return {
        "_IS_TORCHAUDIO_EXT_AVAILABLE": False,
        "_IS_ALIGN_AVAILABLE": False,
        "_check_cuda_version": lambda: None,
        "_load_lib": lambda _name: False,
        "fail_if_no_align": fail_if_no_align,
    }
