"""From motion to frames: the square that the model draws, enlarged, or laid back into the whole picture."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from gesturegen_cli.errors import ConfigError
from gesturegen_cli.media.framing import CropBox
from gesturegen_cli.nn.warp import pixel_grid, warp
from gesturegen_cli.protocols import DeviationModel, ImageParts, SourceState

MIN_SIZE, MAX_SIZE = 64, 2048
NATIVE = "native"

STILL, MOVED = 3 / 255, 10 / 255
"""Change of a pixel, against the model's image of the pose at rest, up to which the picture itself is shown and from
which the model's image is. Below it are rounding and what the background takes from small movements of the head."""
REACH = 0.02
"""How far around a changed pixel the model's picture is taken, in shares of the square's side."""
EDGE = 0.06
"""Width of the ramp along edges of the square that lie inside the picture, in shares of its side."""


@dataclass(frozen=True, eq=False)
class Source:
    """A reference picture made ready for one model; computed once, used for any number of speeches."""

    name: str
    sha256: str
    picture: Tensor
    """The square crop, `1 3 h w` in [0, 1], at the model's size."""
    crop: CropBox
    """Which square of the picture it is."""
    cropped_again: bool
    """Whether the joints found in the first crop led to another one."""
    state: SourceState
    motion: Tensor
    """The picture's own motion, `d`."""
    whole: NDArray[np.uint8]
    """The picture itself, `h w 3`."""
    warnings: tuple[str, ...] = ()


def check_size(size: int | str | None, model_size: int) -> int | None:
    """Side of the output in pixels from `size`: None or "model" is the model's; an even number, 64 to 2048.

    None for "native": the picture's own size. ConfigError for all else.
    """
    if size in (None, "model"):
        return model_size
    if size == NATIVE:
        return None
    text = str(size)
    side = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0
    if not MIN_SIZE <= side <= MAX_SIZE or side % 2:
        raise ConfigError(
            f"size = {size!r}, expected 'model', 'native' or an even number from {MIN_SIZE} to {MAX_SIZE}",
            f"'model' gives the bundle's own size ({model_size}), 'native' the whole picture",
        )
    return side


def frame_size(size: int | str | None, model_size: int, source: Source) -> tuple[int, int]:
    """Width and height of the frames for `size`, see check_size.

    Native frames are as large as the picture, both sides rounded down to even numbers; a picture whose longer side is
    above 2048 pixels is scaled down to that.
    """
    side = check_size(size, model_size)
    if side is not None:
        return side, side
    height, width = source.whole.shape[:2]
    scale = min(1.0, MAX_SIZE / max(width, height))
    return max(2, int(width * scale) // 2 * 2), max(2, int(height * scale) // 2 * 2)


def choose_precision(name: str, device: torch.device, deviation: DeviationModel) -> str:
    """What `sampling.render_precision` comes to: `fp32` or `bf16`.

    `auto` is bf16 on CPUs with AMX, for models that say `renders_in_bf16`: others may compute geometry in it.
    """
    if name not in ("auto", "fp32", "bf16"):
        raise ConfigError(f"precision = {name!r}, expected auto, fp32 or bf16", "leave it out to let gesturegen choose")
    if name != "auto":
        return name
    fast = device.type == "cpu" and torch.cpu._is_amx_tile_supported()
    return "bf16" if fast and getattr(deviation, "renders_in_bf16", False) else "fp32"


@contextmanager
def _drawing(device: torch.device, precision: str) -> Iterator[None]:
    """How pictures are drawn: without gradients, networks in the given precision."""
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        yield


def iter_frames(
    deviation: DeviationModel,
    source: Source,
    motion: Tensor,
    *,
    batch: int,
    size: tuple[int, int],
    native: bool,
    precision: str = "fp32",
) -> Iterator[NDArray[np.uint8]]:
    """Person-free motion `t d`, on the model's device -> frames `h w 3` of `size`, drawn `batch` at a time.

    With `native`, the square is laid into the whole picture: what moved is the model's, the rest stays the picture's.
    """
    with torch.inference_mode():
        motion = deviation.retarget(motion, source.state)
    with _drawing(motion.device, precision):
        canvas = _Canvas(deviation, source, size, precision) if native else None
    for start in range(0, len(motion), batch):
        rows = motion[start : start + batch]
        if canvas is not None:
            yield from canvas.lay(rows)
            continue
        # Not around the yield: a generator must not leave its caller in inference mode.
        with _drawing(motion.device, precision):
            frames = _enlarge(deviation.animate(source.state, rows), size[0])
        yield from frames


def _enlarge(images: Tensor, side: int) -> NDArray[np.uint8]:
    """Images `b 3 n n` in [0, 1] -> frames `b side side 3`."""
    images = images.float()
    if images.shape[-1] != side:
        images = F.interpolate(images, (side, side), mode="bicubic", antialias=True)
    frames: NDArray[np.uint8] = (images.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return frames


class _Canvas:
    """The whole picture, into which frames of its square are laid."""

    def __init__(self, deviation: DeviationModel, source: Source, size: tuple[int, int], precision: str) -> None:
        self.deviation, self.state, self.precision = deviation, source.state, precision
        self.pixels, self.box = _scaled(source.whole, source.crop, size)
        side, device = self.box.side, source.picture.device
        square = self.pixels[self.box.top : self.box.top + side, self.box.left : self.box.left + side]
        self.square = torch.from_numpy(square.copy()).to(device).permute(2, 0, 1)[None].float() / 255
        self.ramp = _edge_ramp(self.box, *size).to(device)
        self.grid = pixel_grid(side).to(device)
        self.still, _ = self._draw(source.motion[None])

    def lay(self, motion: Tensor) -> Iterator[NDArray[np.uint8]]:
        """Motion `b d` of the person in the picture -> whole frames `h w 3`."""
        with _drawing(motion.device, self.precision):
            images, parts = self._draw(motion)
            shares = changed_share(images, self.still)
        for index in range(len(images)):
            frame = self.pixels.copy()
            with torch.inference_mode():
                self._lay_one(frame, images, parts, shares, index)
            yield frame

    def _draw(self, motion: Tensor) -> tuple[Tensor, ImageParts | None]:
        if not hasattr(self.deviation, "animate_parts"):
            return self.deviation.animate(self.state, motion).float(), None
        parts: Any = self.deviation.animate_parts(self.state, motion)
        return parts.image, parts

    def _lay_one(
        self, frame: NDArray[np.uint8], images: Tensor, parts: ImageParts | None, shares: Tensor, index: int
    ) -> None:
        """Write what changed in one image into `frame`, computing no more than the rectangle around it."""
        one = slice(index, index + 1)
        rows, columns = self._changed(shares[index, 0])
        if rows.start == rows.stop:
            return
        grid = self.grid[rows, columns][None]
        if parts is None:
            drawn = _sample(images[one], grid)
        else:
            # the way of every pixel, not its goal, is enlarged: near edges bilinear sampling repeats the last value
            ways = (parts.grids[one] - pixel_grid(images.shape[-1]).to(grid)).permute(0, 1, 4, 2, 3).flatten(1, 2)
            sheets = parts.shares.shape[1]
            mask = parts.mask[one]
            laid = (1 - mask) * parts.synthetic[one]  # where the mask is 1, these colours mean nothing
            maps = _sample(torch.cat([mask, laid, parts.shares[one], ways], 1), grid)
            mask, laid, sheet_shares, ways = torch.split(maps, [1, 3, sheets, 2 * sheets], 1)
            seen = torch.zeros_like(laid)
            for sheet in range(sheets):
                way = ways[:, 2 * sheet : 2 * sheet + 2].permute(0, 2, 3, 1)
                seen += sheet_shares[:, [sheet]] * warp(self.square, grid + way)
            drawn = torch.addcmul(laid, mask, seen)
        share = _sample(shares[one], grid) * self.ramp[:, :, rows, columns]
        mixed = torch.lerp(self.square[:, :, rows, columns], drawn.clamp(0, 1), share)
        top, left = self.box.top, self.box.left
        place = frame[top + rows.start : top + rows.stop, left + columns.start : left + columns.stop]
        place[:] = (mixed[0] * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()

    def _changed(self, share: Tensor) -> tuple[slice, slice]:
        """Rows and columns of the square in which a share `n n` is not 0."""
        ranges = []
        for axis in (1, 0):
            found = torch.nonzero(share.amax(axis) > 0)[:, 0]
            if not len(found):
                return slice(0, 0), slice(0, 0)
            scale = self.box.side / len(share)  # one cell more on both sides: bilinear sampling reaches that far
            first, last = int((int(found[0]) - 1) * scale), int((int(found[-1]) + 2) * scale) + 1
            ranges.append(slice(max(0, first), min(self.box.side, last)))
        return ranges[0], ranges[1]


def changed_share(images: Tensor, still: Tensor) -> Tensor:
    """How much of each place is taken from images `b 3 n n` and not from the picture, `b 1 n n` in [0, 1].

    `still` `1 3 n n` is the model's image of the pose at rest: what the model does not reproduce exactly is no change.
    """
    change = ((images - still).abs().amax(1, keepdim=True) - STILL) / (MOVED - STILL)
    far = max(1, round(REACH * images.shape[-1]))
    share = change.clamp(0, 1)
    lines = ((far, 0), (0, far))  # along one axis, then the other: less work than a square
    for down, across in lines:
        share = F.max_pool2d(share, (2 * down + 1, 2 * across + 1), 1, (down, across))
    for down, across in lines:
        share = F.avg_pool2d(share, (2 * down + 1, 2 * across + 1), 1, (down, across), count_include_pad=False)
    return share


def _sample(maps: Tensor, grid: Tensor) -> Tensor:
    """Maps `1 c n n`, bilinear at `grid` `1 i j 2` -> `1 c i j`."""
    return F.grid_sample(maps.float(), grid, padding_mode="border", align_corners=False)


def _edge_ramp(box: CropBox, width: int, height: int) -> Tensor:
    """Weights `1 1 side side` that fall to 0 towards those edges of the square that lie inside the picture."""
    reach = max(1.0, EDGE * box.side)
    rise = ((torch.arange(box.side) + 0.5) / reach).clamp(0, 1)
    fall, flat = rise.flip(0), torch.ones(box.side)
    across = (rise if box.left > 0 else flat) * (fall if box.left + box.side < width else flat)
    down = (rise if box.top > 0 else flat) * (fall if box.top + box.side < height else flat)
    return (down[:, None] * across[None, :])[None, None]


def _scaled(whole: NDArray[np.uint8], crop: CropBox, size: tuple[int, int]) -> tuple[NDArray[np.uint8], CropBox]:
    """The whole picture at `size` (width, height), and the square in it."""
    (height, width), (wide, high) = whole.shape[:2], size
    if width - wide <= 1 and height - high <= 1:
        scale, pixels = 1.0, whole[:high, :wide]
    else:
        scale = wide / width
        pixels = np.array(Image.fromarray(whole).resize(size, Image.Resampling.LANCZOS))
    left, top = round(crop.left * scale), round(crop.top * scale)
    side = min(round(crop.side * scale), wide - left, high - top)
    return np.ascontiguousarray(pixels), CropBox(left, top, side)
