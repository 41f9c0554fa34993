"""Draw a contact sheet: pictures animated to one speech, a row each, with face and hands enlarged.

    python sheet.py base SPEECH OUT.png PICTURE...

Columns are the picture and moments evenly spaced over the speech. Below each row, of the moment above: the face and
both hands, as large as 64 x 64 pixels of the model's picture are seen best.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
import typer
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from gesturegen_cli.models.flow_crops import FLIPS, place_crops
from gesturegen_cli.pipeline import Pipeline
from gesturegen_cli.rendering import Source

CELL = 288
MARGIN = 4


def main(
    bundle: Annotated[str, typer.Argument(help="Bundle folder or name.")],
    speech: Annotated[Path, typer.Argument(help="Speech file.")],
    out: Annotated[Path, typer.Argument(help="Sheet to write (png or jpg).")],
    pictures: Annotated[list[Path], typer.Argument(help="Reference pictures.")],
    moments: Annotated[int, typer.Option(min=1, help="Frames of each video.")] = 6,
    seed: Annotated[int, typer.Option(help="Seed of the motion.")] = 0,
) -> None:
    """Write the sheet."""
    pipeline = Pipeline.from_pretrained(bundle, device="cpu")
    rows = []
    for path in pictures:
        source = pipeline.load_source(path)
        motion = pipeline.sample_motion(speech, source, rng_seed=seed)
        chosen = np.linspace(0, len(motion.motion) - 1, moments + 2).round().astype(int)[1:-1]
        with torch.inference_mode():
            whole = pipeline.deviation.retarget(motion.motion.to(pipeline.device), source.state)[chosen]
            frames = pipeline.deviation.animate(source.state, whole).clamp(0, 1)
        rows += _rows(pipeline, source, frames)
    sheet = np.concatenate(rows, 0)
    Image.fromarray(sheet).save(out, quality=88)
    typer.echo(f"{out}: {sheet.shape[1]} x {sheet.shape[0]}")


def _rows(pipeline: Pipeline, source: Source, frames: Tensor) -> list[NDArray[np.uint8]]:
    """A row of whole pictures, and one of the crops of face, left and right hand below each."""
    shown = torch.cat([source.picture, frames])
    with torch.inference_mode():
        joints = pipeline.deviation.locate_person(shown)  # type: ignore[attr-defined] # optional
        crops = place_crops(joints).sample(shown)  # b 3 3 n n
    width = CELL // len(FLIPS)
    # the crop of the right hand is mirrored
    parts = [crops[:, part].flip(-1) if flip < 0 else crops[:, part] for part, flip in enumerate(FLIPS)]
    small = torch.cat([F.interpolate(part, (width, width), mode="bicubic") for part in parts], 3)
    large = F.interpolate(shown, (CELL, CELL), mode="bicubic", antialias=True)
    return [_strip(large), _strip(small)]


def _strip(pictures: Tensor) -> NDArray[np.uint8]:
    """Pictures `b 3 h w` side by side, `h b*w 3`."""
    padded = F.pad(pictures, (MARGIN, MARGIN, MARGIN // 2, MARGIN // 2), value=1.0)
    strip = torch.cat(list(padded), 2).clamp(0, 1).mul(255).round().to(torch.uint8)
    return np.ascontiguousarray(strip.permute(1, 2, 0).numpy())


if __name__ == "__main__":
    typer.run(main)
