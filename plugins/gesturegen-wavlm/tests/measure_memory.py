"""Time and peak memory of WavLM-Large on long speech, with random weights read from a file as real ones would be.

python tests/measure_memory.py write FOLDER          # 1.3 GB: FOLDER/model.pt
python tests/measure_memory.py run FOLDER/model.pt SECONDS [CHUNK_SECONDS]
python tests/measure_memory.py compare FOLDER/model.pt SECONDS CHUNK_SECONDS
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch

from conftest import noise, random_model, write_weights
from gesturegen_cli.data.features import encode_audio
from gesturegen_cli.types import AudioClip
from gesturegen_wavlm.encoders import WavLMLarge
from gesturegen_wavlm.layouts import WAVLM_LARGE


def show(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def peak() -> float:
    """Largest resident memory in GiB since the last call. Linux only."""
    lines = Path("/proc/self/status").read_text().splitlines()
    kib = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    Path("/proc/self/clear_refs").write_text("5")  # resets the mark
    return kib / 2**20


def encoder(path: str, chunk: float = 30.0, normalize: str = "yes") -> WavLMLarge:
    return WavLMLarge(WavLMLarge.Config(weights=path, chunk_seconds=chunk, normalize=normalize))


def speech(seconds: float) -> torch.Tensor:
    """Noise under a slow envelope, as loud and as uneven as speech."""
    wave = noise(1, int(seconds * 16000))
    return wave * (0.1 + 0.9 * torch.sin(torch.arange(wave.shape[1]) / 5000).clamp_min(0))


def run(path: str, seconds: float, chunk: float = 30.0) -> None:
    model, wave = encoder(path, chunk), speech(seconds)
    before, began = time.process_time(), time.monotonic()
    model.load()
    show(f"load {time.monotonic() - began:.1f} s wall, {time.process_time() - before:.1f} s CPU, peak {peak():.2f} GiB")
    before, began = time.process_time(), time.monotonic()
    features = model(wave)
    show(f"{seconds:g} s of speech in {time.monotonic() - began:.1f} s wall, {time.process_time() - before:.1f} s CPU")
    show(f"features {tuple(features.shape)}, peak {peak():.2f} GiB")


def compare(path: str, seconds: float, chunk: float) -> None:
    """Differences per step between the ways to cut, in units of the features' standard deviation."""
    wave = speech(seconds)
    frames = round(seconds * 50)
    for normalize in ("no", "yes"):
        direct = encoder(path, chunk, normalize)
        whole = encode_audio(direct, AudioClip(wave[0].numpy()), frames, 50.0, chunk_seconds=10_000)
        pieces = encode_audio(direct, AudioClip(wave[0].numpy()), frames, 50.0, chunk_seconds=chunk)
        uncut = encode_audio(
            encoder(path, 600.0, normalize), AudioClip(wave[0].numpy()), frames, 50.0, chunk_seconds=10_000
        )
        spread = whole.std()
        for name, other in (("core's pieces", pieces), ("one attention window", uncut)):
            worst = (whole - other).abs().amax(dim=1) / spread
            show(f"normalize={normalize}: one call against {name}: max {worst.max():.2e}, median {worst.median():.2e}")


if __name__ == "__main__":
    with torch.inference_mode():
        match sys.argv[1:]:
            case ["write", folder]:
                write_weights(Path(folder), random_model(WAVLM_LARGE), WAVLM_LARGE, normalize=True)
            case ["run", path, *numbers]:
                run(path, *map(float, numbers))
            case ["compare", path, seconds, chunk]:
                compare(path, float(seconds), float(chunk))
            case _:
                show(__doc__ or "")
