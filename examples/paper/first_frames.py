"""Write what `gesturegen generate` needs to redo the clips of one split: their speech, and their first frames.

python examples/paper/first_frames.py DATA OUT [SPLIT]

OUT/ID.wav and OUT/ID.png go together by name, as --pair name wants them. SPLIT is test, val or train.
"""

import shutil
import sys
from pathlib import Path

from PIL import Image

from gesturegen_cli.data.manifest import read_dataset
from gesturegen_cli.media.video import iter_frames

dataset, out = read_dataset(sys.argv[1]), Path(sys.argv[2])
split = sys.argv[3] if len(sys.argv) > 3 else "test"
clips = dataset.split(split)
if not clips:
    sys.exit(f"no clip of {sys.argv[1]} is in the split '{split}'; name another one")
out.mkdir(parents=True, exist_ok=True)
for clip in clips:
    first = next(iter_frames(clip.video, fps=clip.fps, seconds=1 / clip.fps))
    Image.fromarray(first).save(out / f"{clip.id}.png")
    shutil.copyfile(clip.audio, out / f"{clip.id}.wav")
print(f"{out}: {len(clips)} clips of the split '{split}'")
