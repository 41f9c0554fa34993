"""The seams of gesturegen. Anything that fits one of these protocols can be plugged in.

A plugin is a class that takes one argument, an instance of its nested frozen dataclass `Config`, and is registered
under one of the entry-point groups of `registry.py`. All but importers are a `torch.nn.Module`. Axis letters are those
of `types.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from gesturegen_cli.types import Conditioning, ImportedModel

SourceState = Any
"""What a deviation model computes once per picture; opaque to everybody but that model."""


class AudioEncoder(Protocol):
    """Speech to features. The core aligns them to the frame rate and adds context around windows."""

    dim: int
    """Feature size c."""
    rate: float
    """Feature steps per second."""

    def __call__(self, wave: Tensor) -> Tensor:
        """16 kHz mono waves `b n` in [-1, 1] -> features `b l c`, with l = round(n / 16000 * rate) +- 1."""
        ...


class Denoiser(Protocol):
    """Noised motion to clean motion (x0 prediction), in the normalised person-free space."""

    def __call__(self, motion: Tensor, timestep: Tensor, cond: Conditioning) -> Tensor:
        """`motion` `b t d`, `timestep` `b` (integers of the training schedule) -> clean motion `b t d`."""
        ...


class ImageParts(Protocol):
    """Images with what they were mixed from: mask * source + (1 - mask) * synthetic. All float32.

    The source is the picture sampled at one or several grids, mixed by shares: sheets that move in front of each other.

    A deviation model may offer `animate_parts(source, motion)`, `animate` with this for a result. Then the source
    is sampled at its own resolution where the output is larger than the model.
    """

    image: Tensor
    """`b 3 h w` in [0, 1]: what `animate` gives."""
    mask: Tensor
    """`b 1 h w` in [0, 1]."""
    synthetic: Tensor
    """`b 3 h w` in [0, 1]."""
    grids: Tensor
    """`b k h w 2`, x and y in [-1, 1] over the source picture's outer edges."""
    shares: Tensor
    """`b k h w`, 1 in sum over k."""


class DeviationModel(Protocol):
    """A picture and a motion feature to an image; learned from pairs of frames."""

    motion_dim: int
    """Motion size d."""
    size: int
    """Side of the square pictures it works on, in pixels."""

    def encode(self, frames: Tensor) -> Tensor:
        """Driving frames `b 3 h w` in [0, 1] -> motion features `b d`."""
        ...

    def encode_source(self, source: Tensor) -> SourceState:
        """One picture `1 3 h w` -> all that is needed of it; called once per picture."""
        ...

    def animate(self, source: SourceState, motion: Tensor) -> Tensor:
        """Source state and motion features `b d` -> images `b 3 h w` in [0, 1]."""
        ...

    def neutralize(self, motion: Tensor, own: Tensor) -> Tensor:
        """Motion `t d` of a person whose typical motion is `own` `d` -> person-free motion `t d`."""
        ...

    def retarget(self, motion: Tensor, source: SourceState) -> Tensor:
        """Person-free motion `t d` -> motion `t d` of the person in the picture."""
        ...


class Importer(Protocol):
    """A published checkpoint of another project to parts of a bundle. It renames and reads, and runs nothing of it."""

    def __call__(self, files: Sequence[Path]) -> ImportedModel:
        """Read `files` as untrusted data.

        Raises InputError when they are not what this importer knows, ConfigError when it takes another number of them.
        """
        ...
