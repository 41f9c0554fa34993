"""Make a video from Python: load the model once, use it as often as you like.

python examples/01_generate.py [OUTPUT_FOLDER] [BUNDLE]
"""

import sys
from pathlib import Path

from gesturegen_cli import Pipeline
from gesturegen_cli.config.schema import Sampling

here = Path(__file__).parent
folder = Path(sys.argv[1] if len(sys.argv) > 1 else "out")
bundle = sys.argv[2] if len(sys.argv) > 2 else "base"
folder.mkdir(parents=True, exist_ok=True)

pipeline = Pipeline.from_pretrained(bundle, device="cpu")
source = pipeline.load_source(here / "speaker.png")  # once per picture

for name, energy in (("calm", 0.6), ("lively", 1.2)):
    # the same speech and seed: the gestures are the same, their size differs
    sampling = Sampling(steps=12, energy=energy)
    video = pipeline(here / "speech.wav", source, sampling=sampling, rng_seed=7)
    record = video.save(folder / f"{name}.mp4")  # frames are rendered while they are written
    print(f"{folder / name}.mp4: {record['frames']} frames, made in {sum(record['timings'].values()):.1f} s")
