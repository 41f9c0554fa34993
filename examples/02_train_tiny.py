"""All five commands on clips drawn here, in about a minute. The model is far too small to be good: it shows the way.

python examples/02_train_tiny.py [WORK_FOLDER]
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from gesturegen_cli.media.audio import load_audio, save_wav
from gesturegen_cli.media.video import write_video
from gesturegen_cli.types import SAMPLE_RATE, AudioClip

FPS, SECONDS, SIZE = 25, 6, 64
here = Path(__file__).parent
work = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp(prefix="gesturegen-tiny-"))


def draw(lift: float, shirt: tuple[int, int, int]) -> np.ndarray:
    """A figure whose hands rise with `lift` (0 to 1)."""
    image = Image.new("RGB", (SIZE, SIZE), (205, 215, 225))
    pen = ImageDraw.Draw(image)
    pen.ellipse((26, 6, 38, 20), fill=(214, 170, 140))
    pen.rectangle((22, 20, 42, 63), fill=shirt)
    for side in (-1, 1):
        hand = (32 + side * 15, 52 - 30 * lift)
        pen.line([(32 + side * 9, 24), (32 + side * 18, 40), hand], fill=shirt, width=4)
        pen.ellipse((hand[0] - 3, hand[1] - 3, hand[0] + 3, hand[1] + 3), fill=(214, 170, 140))
    return np.asarray(image)


def gesturegen(*words: object) -> None:
    """Run a command of gesturegen, and stop when it fails."""
    print("gesturegen", *words)
    subprocess.run([sys.executable, "-m", "gesturegen_cli", *map(str, words)], check=True)


speech = load_audio(here / "speech.wav").samples[: SECONDS * SAMPLE_RATE]
(work / "videos").mkdir(parents=True, exist_ok=True)
loudness = np.abs(speech).reshape(SECONDS * FPS, -1).mean(axis=1)  # per frame
lift = np.convolve(loudness / loudness.max(), np.ones(9) / 9, mode="same")
for number, shirt in enumerate([(60, 80, 130), (130, 70, 60), (60, 120, 80)]):
    frames = [draw(value, shirt) for value in lift]  # the hands follow the voice
    video = work / "videos" / f"speaker{number}.mp4"
    write_video(video, frames, fps=FPS, size=(SIZE, SIZE), frame_count=len(frames), audio=AudioClip(speech))
Image.fromarray(draw(0.3, (90, 60, 120))).save(work / "picture.png")
save_wav(work / "new_speech.wav", speech[::-1].copy())  # never heard before

data, stage1, stage2, made = (work / name for name in ("data", "stage1", "stage2", "made.mp4"))
tiny = ("--preset", "tiny", "--steps", 40)
gesturegen("preprocess", work / "videos", data, "--preset", "tiny")
gesturegen("pretrain-deviation", data, stage1, *tiny)
gesturegen("train", data, stage2, "--deviation", stage1 / "bundle", *tiny)
gesturegen("generate", work / "new_speech.wav", work / "picture.png", "-o", made, "-m", stage2 / "bundle")
gesturegen("evaluate", made, "--reference", data, "-o", work / "report")
