"""gesturegen: video of a speaking person, gestures included, made from speech and one picture.

    from gesturegen_cli import Pipeline
    Pipeline.from_pretrained("base")("speech.wav", "ref.png").save("out.mp4")

Names are loaded when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from gesturegen_cli.torchaudio_cpu import install as _install_torchaudio_remedy

__version__ = "0.1.0"

_PUBLIC = {
    "Pipeline": "gesturegen_cli.pipeline",
    "GestureVideo": "gesturegen_cli.pipeline",
    "GesturegenError": "gesturegen_cli.errors",
    "load_config": "gesturegen_cli.config.load",
}

__all__ = ["Pipeline", "GestureVideo", "GesturegenError", "load_config", "__version__"]

_install_torchaudio_remedy()


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
