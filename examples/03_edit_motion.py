"""Motion is a file: keep it, change it, render it again, also on another picture.

python examples/03_edit_motion.py [OUTPUT_FOLDER] [BUNDLE]
"""

import sys
from dataclasses import replace
from pathlib import Path

import torch

from gesturegen_cli import Pipeline
from gesturegen_cli.data.motion_file import load_motion, save_motion
from gesturegen_cli.media.audio import load_audio
from gesturegen_cli.media.video import write_video

here = Path(__file__).parent
folder = Path(sys.argv[1] if len(sys.argv) > 1 else "out")
bundle = sys.argv[2] if len(sys.argv) > 2 else "base"
folder.mkdir(parents=True, exist_ok=True)

pipeline = Pipeline.from_pretrained(bundle, device="cpu")
source = pipeline.load_source(here / "speaker.png")
speech = load_audio(here / "speech.wav")

save_motion(folder / "talk.safetensors", pipeline.sample_motion(speech, source, rng_seed=3))
kept = load_motion(folder / "talk.safetensors", expected_dim=pipeline.deviation.motion_dim)


def smooth(motion: torch.Tensor, frames: int) -> torch.Tensor:
    """Mean over `frames` neighbours in time, for each number of `t d`; the ends are held."""
    reach = frames // 2
    held = torch.cat([motion[:1].expand(reach, -1), motion, motion[-1:].expand(reach, -1)])
    return held.unfold(0, 2 * reach + 1, 1).mean(dim=-1)


typical = kept.motion.mean(dim=0)
edits = {
    "smooth": smooth(kept.motion, 9),
    "larger": typical + 1.5 * (kept.motion - typical),
}
for name, motion in edits.items():
    frames = pipeline.render(replace(kept, motion=motion), source)
    path, side = folder / f"{name}.mp4", pipeline.deviation.size
    write_video(path, frames, fps=kept.fps, size=(side, side), frame_count=len(motion), audio=speech)
    print(f"{path}: {len(motion)} frames")
