"""The moving and still pictures of an exhibit: all its videos side by side in one, and the hands enlarged."""

from __future__ import annotations

import io
import math
import tempfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from gesturegen_cli.errors import InputError
from gesturegen_cli.evaluation.items import Item
from gesturegen_cli.evaluation.results import Curves, Exhibit
from gesturegen_cli.evaluation.view import View, choose_crop
from gesturegen_cli.media.files import printable
from gesturegen_cli.media.framing import CropBox, crop_and_resize
from gesturegen_cli.media.video import iter_frames, probe_video, write_video

MAX_SECONDS = 8.0
MAX_BYTES = 1_500_000
"""Length and size of a composed video at most; a larger one is made again with smaller pictures, then shorter."""
MOMENTS = 6
"""Moments at which the hands are shown."""
HAND_SIDE = 112
"""Pixels of a hand's picture."""

_ATTEMPTS = ((1.0, MAX_SECONDS), (0.75, MAX_SECONDS), (0.75, 5.0), (0.5, 4.0), (0.5, 2.0), (0.25, 1.0))
"""Share of the size asked for, and seconds."""
_DETAIL = 512
"""Side of the pictures that hands are cut from, where the video has as many pixels."""
_IN_A_ROW = 4
_BAR, _GAP = 26, 6
_BACK, _INK, _PLATE = (22, 25, 29), (236, 239, 243), (104, 111, 120)
_QUALITY = 82

Frame = NDArray[np.uint8]


@dataclass(frozen=True)
class Pictures:
    """What the page shows of one exhibit."""

    video: bytes | None
    """MP4 with all columns; None when no column could be read or none of the attempts became small enough."""
    poster: bytes
    """JPEG from its first half, where most columns still play."""
    size: tuple[int, int]
    seconds: float
    moments: tuple[float, ...]
    """Seconds at which the hands are shown."""
    hands: Mapping[str, tuple[bytes, ...]]
    """Column -> a JPEG per moment: the right hand of the speaker at the left, the left hand at the right."""
    problems: tuple[str, ...]
    """Why a column or the video is missing."""


@dataclass(frozen=True)
class _Column:
    name: str
    path: Path
    crop: CropBox | None = None
    """None when the video cannot be read."""
    seconds: float = 0.0
    has_audio: bool = False
    problem: str = ""


def compose_exhibit(exhibit: Exhibit, *, fps: float, size: int, crop: str = "speaker") -> Pictures:
    """Read the videos of `exhibit` at `fps` and set them beside each other, `size` pixels per column.

    Each column is the square that was measured (`crop`, see view.choose_crop) with its name above, at most four in a
    row; a column that ends early stays on its last picture, dimmed. The sound is that of the first column that has one.
    The video carries the mark of AI-generated ones. A column that cannot be read is a plate, and `problems` says why.
    """
    columns = _open_columns(exhibit, View(fps, size, torch.device("cpu"), crop))
    problems = [column.problem for column in columns if column.problem]
    readable = [column for column in columns if column.crop is not None]
    if not readable:
        return Pictures(None, b"", (0, 0), 0.0, (), {}, (*problems, "there is no video to show"))
    longest = max(column.seconds for column in readable)
    video, poster, shape, seconds = _compose(columns, longest, fps, size)
    if video is None:
        problems.append(f"the video is left out: it stays above {MAX_BYTES / 1e6:g} MB")
    moments = _moments(exhibit, max(1, round(min(longest, MAX_SECONDS) * fps)))
    hands = {
        column.name: hand_pictures(column.path, column.crop, exhibit.curves[column.name], moments, fps=fps)
        for column in readable
        if moments and column.crop is not None and column.name in exhibit.curves
    }
    if exhibit.curves and not moments:
        problems.append("no hand is seen in what was measured of the reference")
    times = tuple(moment / fps for moment in moments)
    return Pictures(video, poster, shape, seconds, times, hands, tuple(problems))


def _moments(exhibit: Exhibit, count: int) -> list[int]:
    """Of the first `count` frames those at which hands are shown: measured, and the reference shows a hand."""
    frames = np.arange(min(count, max((len(curves.hands) for curves in exhibit.curves.values()), default=count)))
    if "reference" in exhibit.curves:
        hands = exhibit.curves["reference"].hands[: len(frames)]
        frames = np.flatnonzero(np.isfinite(hands).all(axis=-1).any(axis=-1))
    return sorted({int(frames[int((k + 0.5) * len(frames) / MOMENTS)]) for k in range(MOMENTS)}) if len(frames) else []


def hand_pictures(
    path: Path, crop: CropBox, curves: Curves, moments: Sequence[int], *, fps: float
) -> tuple[bytes, ...]:
    """A JPEG per moment (frame number at `fps`) with both hands of a speaker, enlarged; a plate where one is not seen.

    Boxes come from `curves.hands`, which are relative to the square `crop` of the video.
    """
    side = max(64, min(crop.side, _DETAIL))
    wanted, found = set(moments), {}
    with _decoding(iter_frames(path, fps=fps, size=side, crop=crop)) as frames:
        for index, frame in enumerate(islice(frames, max(wanted) + 1)):
            if index in wanted:
                found[index] = frame
    return tuple(_hand_pair(found.get(moment), _boxes(curves, moment)) for moment in moments)


def jpeg(frame: Frame) -> bytes:
    """`h w 3` as a JPEG."""
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(frame)).save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()


@contextmanager
def _decoding(frames: Iterator[Frame]) -> Iterator[Iterator[Frame]]:
    """End the decoder with the block, not when it is found to be garbage."""
    try:
        yield frames
    finally:
        if isinstance(frames, Generator):
            frames.close()


def _open_columns(exhibit: Exhibit, view: View) -> list[_Column]:
    """All columns; those of systems show the square of the reference where that has their width and height."""
    columns: list[_Column] = []
    partner: Item | None = None
    for name, path in exhibit.videos.items():
        columns.append(_open_column(name, Item(exhibit.id, path), view, partner))
        if name == "reference" and columns[-1].crop is not None:
            partner = Item(exhibit.id, path)
    return columns


def _open_column(name: str, item: Item, view: View, partner: Item | None) -> _Column:
    path = item.video
    try:
        info = probe_video(path)
        next(iter_frames(path, fps=view.fps, seconds=1 / view.fps))  # a good header says nothing about the pictures
        crop = choose_crop(item, view, partner) or CropBox(0, 0, info.width)
    except InputError as error:
        return _Column(name, path, problem=printable(f"{name}: {error.message}"))
    return _Column(name, path, crop, info.seconds, info.has_audio)


def _compose(
    columns: Sequence[_Column], longest: float, fps: float, size: int
) -> tuple[bytes | None, bytes, tuple[int, int], float]:
    """The video (None when it stays too large), a picture from it, its size and its seconds."""
    sound = next((column.path for column in columns if column.has_audio), None)
    poster: list[bytes] = []
    shape, seconds = (0, 0), 0.0
    with tempfile.TemporaryDirectory(prefix="gesturegen-") as folder:
        for share, most in _ATTEMPTS:
            side = max(32, 2 * round(size * share / 2))
            count = max(1, round(min(longest, most) * fps))
            shape, seconds = _grid_size(len(columns), side), count / fps
            target = Path(folder, "exhibit.mp4")
            poster.clear()
            frames = _tap(_grid_frames(columns, side, count, fps), count // 4, poster)
            write_video(target, frames, fps=fps, size=shape, frame_count=count, audio_path=sound)
            if target.stat().st_size <= MAX_BYTES:
                return target.read_bytes(), poster[0], shape, seconds
    return None, poster[0], shape, seconds


def _tap(frames: Iterator[Frame], wanted: int, into: list[bytes]) -> Iterator[Frame]:
    """Pass all frames on; frame `wanted` also goes `into` the list, as a JPEG."""
    for index, frame in enumerate(frames):
        if index == wanted:
            into.append(jpeg(frame))
        yield frame


def _places(count: int, side: int) -> list[tuple[int, int]]:
    """Left and top of each column's picture: rows of nearly the same length."""
    rows = math.ceil(count / _IN_A_ROW)
    width = math.ceil(count / rows)
    return [(k % width * (side + _GAP), k // width * (side + _BAR + _GAP) + _BAR) for k in range(count)]


def _grid_size(count: int, side: int) -> tuple[int, int]:
    places = _places(count, side)
    return max(left for left, _ in places) + side, max(top for _, top in places) + side


def _grid_frames(columns: Sequence[_Column], side: int, count: int, fps: float) -> Iterator[Frame]:
    """`count` frames with the squares of all columns under their names."""
    places = _places(len(columns), side)
    width, height = _grid_size(len(columns), side)
    canvas = np.array(_labels(columns, places, (width, height), side))
    with ExitStack() as stack:
        playing = []
        for column, (left, top) in zip(columns, places, strict=True):
            if column.crop is not None:
                frames = iter_frames(column.path, fps=fps, size=side, crop=column.crop, seconds=count / fps)
                playing.append((stack.enter_context(_decoding(frames)), canvas[top : top + side, left : left + side]))
        for _ in range(count):
            still_playing = []
            for frames, part in playing:
                frame = next(frames, None)
                if frame is None:
                    part //= 2
                else:
                    part[:] = frame
                    still_playing.append((frames, part))
            playing = still_playing
            yield canvas


def _labels(
    columns: Sequence[_Column], places: Sequence[tuple[int, int]], shape: tuple[int, int], side: int
) -> Image.Image:
    """The picture behind the columns: their names, and plates for those that cannot be read."""
    image = Image.new("RGB", shape, _BACK)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(14)
    for column, (left, top) in zip(columns, places, strict=True):
        name = printable(column.name)
        while len(name) > 1 and draw.textlength(name, font) > side - 8:
            name = name.rstrip("…")[:-1] + "…"
        draw.text((left + side / 2, top - _BAR / 2), name, _INK, font, anchor="mm")
        if column.crop is None:
            draw.rectangle((left, top, left + side - 1, top + side - 1), _PLATE)
            draw.text((left + side / 2, top + side / 2), "cannot be read", _INK, font, anchor="mm")
    return image


def _boxes(curves: Curves, moment: int) -> list[tuple[float, float, float] | None]:
    """Centre and half side of the right and the left hand, as they stand in the picture; None where not seen."""
    if moment >= len(curves.hands):
        return [None, None]
    boxes: list[tuple[float, float, float] | None] = []
    for x, y, half in curves.hands[moment, ::-1].astype(np.float64):
        seen = math.isfinite(x + y + half) and 0 < half <= 1 and max(abs(x), abs(y)) <= 1
        boxes.append((x, y, half) if seen else None)
    return boxes


def _hand_pair(frame: Frame | None, boxes: Sequence[tuple[float, float, float] | None]) -> bytes:
    pair = np.full((HAND_SIDE, 2 * HAND_SIDE + 2, 3), _BACK, np.uint8)
    for place, box in zip((0, HAND_SIDE + 2), boxes, strict=True):
        part = pair[:, place : place + HAND_SIDE]
        if frame is None or box is None:
            plate = Image.new("RGB", (HAND_SIDE, HAND_SIDE), _PLATE)
            middle, font = (HAND_SIDE / 2, HAND_SIDE / 2), ImageFont.load_default(14)
            ImageDraw.Draw(plate).text(middle, "no frame" if frame is None else "not seen", _INK, font, anchor="mm")
            part[:] = np.asarray(plate)
            continue
        x, y, half = box
        side = max(4, round(half * len(frame)))
        left, top = (round((centre + 1) / 2 * len(frame) - side / 2) for centre in (x, y))
        part[:] = crop_and_resize(frame, CropBox(left, top, side), HAND_SIDE)
    return jpeg(pair)
