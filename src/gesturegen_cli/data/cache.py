"""Where decoded frames and computed features are kept between runs. Everything in it can be deleted at any time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import platformdirs
from numpy.typing import NDArray

from gesturegen_cli.errors import EnvironmentFault
from gesturegen_cli.media.files import replacing


def cache_folder(chosen: Path | None = None) -> Path:
    """The folder given by the user, or `gesturegen` in the user's cache folder; made if it is not there."""
    folder = chosen or platformdirs.user_cache_path("gesturegen", appauthor=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentFault(
            f"cannot make the cache folder {folder} ({error.strerror})", "choose one with --cache DIR"
        ) from error
    return folder


def cached_array(path: Path, make: Callable[[], NDArray[np.generic]]) -> Path:
    """`path`, a `.npy` file; when it is not there it is made first, and appears complete or not at all."""
    if not path.is_file():
        array = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial, partial.open("wb") as file:
            np.save(file, np.ascontiguousarray(array), allow_pickle=False)
    return path


def open_array(path: Path) -> NDArray[np.generic]:
    """A cached array, read page by page when it is touched."""
    array: NDArray[np.generic] = np.load(path, mmap_mode="r", allow_pickle=False)
    return array
