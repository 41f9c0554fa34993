"""Reference pictures: any usual file -> upright 8-bit RGB, checked before anything large is decoded."""

from __future__ import annotations

import os
import warnings as python_warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from gesturegen_cli.errors import InputError
from gesturegen_cli.media.files import describe_content, printable, require_file, shown

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
MIN_SIDE = 64
"""Pixels of the shorter side below which no face is left to animate."""
BACKGROUND = (235, 235, 235)
"""Colour (r, g, b) put behind transparent pictures."""


@dataclass(frozen=True)
class Picture:
    """A reference picture: `pixels` `h w 3`, uint8 RGB, upright. Nothing of the file's metadata is kept."""

    pixels: NDArray[np.uint8]
    name: str
    warnings: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]


def load_image(
    path: str | os.PathLike[str],
    *,
    background: tuple[int, int, int] = BACKGROUND,
    max_pixels: int = 64_000_000,
) -> Picture:
    """Read a picture: turned upright by its EXIF note, transparency laid over `background`, first of several frames.

    What the file is decides, not its extension. Reads PNG, JPEG, WEBP, BMP, TIFF and GIF; grey, 16-bit, palette and
    CMYK ones too.

    Raises InputError: no such file, not a picture, damaged or cut off, more than `max_pixels`, shorter side below
    64 pixels.
    """
    file, head = require_file(path, "picture")
    name = shown(file)
    try:
        with python_warnings.catch_warnings():
            # Pillow warns about size and odd metadata on stderr; the size is checked below, metadata is dropped.
            python_warnings.simplefilter("ignore")
            with Image.open(file, formats=FORMATS) as image:
                _check_size(image.size, name, max_pixels)
                animated = image.format in {"GIF", "PNG", "WEBP"} and getattr(image, "n_frames", 1) > 1
                image.seek(0)
                image.load()
                pixels = _to_rgb(_upright(image), background)
    except (InputError, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise InputError(
            f"picture {name!r} is too large to be opened: {printable(str(error))}", "scale it down first"
        ) from error
    except Exception as error:  # Pillow's readers raise nearly every built-in kind on damaged files
        raise _unreadable(file, head, error) from error
    notes = [f"picture {name!r} is animated: its first frame is used"] if animated else []
    if not np.ptp(pixels.reshape(-1, 3), axis=0).any():
        notes.append(f"picture {name!r} is blank: all its pixels have one colour")
    return Picture(pixels, name, tuple(notes))


def _check_size(size: tuple[int, int], name: str, max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise InputError(
            f"picture {name!r} has {width} x {height} pixels, at most {max_pixels / 1e6:g} million are taken",
            "scale it down; 1024 pixels on the shorter side are plenty",
        )
    if min(width, height) < MIN_SIDE:
        raise InputError(
            f"picture {name!r} has {width} x {height} pixels, expected at least {MIN_SIDE} on the shorter side",
            "use a larger picture; 256 or more on the shorter side look best",
        )


def _upright(image: Image.Image) -> Image.Image:
    """`image` turned as its EXIF orientation says; damaged EXIF counts as none, as it does not concern the pixels."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # any kind of error may come out of a foreign EXIF block
        return image


def _to_rgb(image: Image.Image, background: tuple[int, int, int]) -> NDArray[np.uint8]:
    """8-bit RGB `h w 3` of an image in any of Pillow's modes."""
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8))
    elif image.mode in {"I", "F"}:
        image = Image.fromarray(_to_byte_range(np.asarray(image).astype(np.float64)))
    if image.mode in {"RGBA", "RGBa", "LA", "La", "PA"} or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (*background, 255)), image)
    return np.array(image.convert("RGB"))


def _to_byte_range(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Numbers of an unstated range as 0-255: from the smallest of 1, 255, 65535 and their own peak that holds them."""
    if not np.isfinite(values).all():
        raise ValueError("it has pixels that are NaN or infinite")
    peak = float(values.max())
    top = next((usual for usual in (1.0, 255.0, 65535.0) if peak <= usual), peak)
    return np.round(np.clip(values / top, 0.0, 1.0) * 255.0).astype(np.uint8)


def _unreadable(file: Path, head: bytes, error: Exception) -> InputError:
    """The error for a file that is no picture, or a damaged one; the two need different advice."""
    name = shown(file)
    content = describe_content(head)
    formats = ", ".join(FORMATS)
    if content is None and not isinstance(error, UnidentifiedImageError):
        content = "a picture"
    if content is not None and any(known in content for known in (*FORMATS, "a picture")):
        reason = printable(str(error)).replace(str(file), name)[:160]
        return InputError(
            f"picture {name!r} is damaged or cut off: {reason}", "save it again; half a picture cannot be animated"
        )
    found = f"is {content}" if content else "is not a picture that can be read"
    hint = "the speech comes first, then the picture" if content is None else "convert it to PNG or JPEG first"
    return InputError(f"picture {name!r} {found}, expected {formats}", hint)
