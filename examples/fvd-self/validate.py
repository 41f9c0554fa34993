"""Does FVD-self order faults by their strength? python validate.py WEIGHTS DATA [--real VIDEO ...] [--json OUT].

Clean clips of people that training never saw, against the same clips with one fault of growing strength, and against
clean clips of other people. `--random` takes a network that learned nothing, whitened in the same way, for comparison.
"""

from __future__ import annotations

import argparse
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from corruptions import HELD_OUT, KINDS, SIZE, SPAN, Source, faulty
from safetensors.torch import load_file
from train import load_source, whiten

from gesturegen_cli.data.manifest import read_dataset
from gesturegen_cli.media.video import iter_frames, probe_video
from gesturegen_cli.nn.video_network import SpaceTimeNetwork

STRENGTHS = (0.1, 0.25, 0.5, 0.75, 1.0)
STEP = 32
"""Frames from the beginning of one clip to that of the next."""
ROWS = tuple((kind, sign) for kind in (*KINDS, *HELD_OUT) for sign in ((1, -1) if kind == "speed" else (1,)))


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """Frechet distance of two Gaussians fitted to features `n k`, in double precision."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    s, t = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    values, vectors = np.linalg.eigh(s)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ t @ root).clip(0)).sum()
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(s) + np.trace(t) - 2 * cross)


def real_source(path: Path) -> Source:
    """The upper square of a real video; no labels, so faults of the hands are left out."""
    video = probe_video(path)
    width, height = (SIZE, round(SIZE * video.height / video.width))
    if video.width > video.height:
        width, height = round(SIZE * video.width / video.height), SIZE
    left = (width - SIZE) // 2
    frames = [frame[:SIZE, left : left + SIZE] for frame in iter_frames(path, fps=25, size=(width, height))]
    return Source(np.stack(frames), None, None)


def features(network: SpaceTimeNetwork, sources: list[Source], kind: str, strength: float) -> np.ndarray:
    """Features of the clips that begin `STEP` frames apart, of all sources, `n k`."""
    rng, found = np.random.default_rng((5, round(strength * 100) % 997, len(kind))), []
    for source in sources:
        starts = range(0, len(source.frames) - SPAN, STEP)
        if starts:
            clips = torch.stack([faulty(source, start, kind, strength, rng) for start in starts])
            with torch.no_grad():
                found.append(network(clips).numpy())
    return np.concatenate(found)


def measure(network: SpaceTimeNetwork, sources: list[Source], hands: bool) -> dict[str, list[float]]:
    """Rows of the table: distance from the clean clips by strength, for every fault."""
    clean = features(network, sources, "", 0.0)
    rows = {"clips": [float(len(clean))], "halves": halves(clean)}
    for kind, sign in ROWS:
        if hands or kind not in ("hands", "erase"):
            name = kind if sign > 0 else f"{kind} (slower)"
            rows[name] = [frechet(clean, features(network, sources, kind, sign * s)) for s in STRENGTHS]
    return rows


def halves(clean: np.ndarray, splits: int = 20) -> list[float]:
    """Mean and largest distance between two halves of the clean clips, drawn at random, twenty times."""
    rng, found = np.random.default_rng(3), []
    for _ in range(splits):
        order = rng.permutation(len(clean))
        found.append(frechet(clean[order[: len(clean) // 2]], clean[order[len(clean) // 2 :]]))
    return [float(np.mean(found)), float(np.max(found))]


def people(network: SpaceTimeNetwork, sources: list[Source], kind: str, strength: float) -> float:
    """Clean clips of every other person against clips with a fault of the people in between."""
    return frechet(features(network, sources[::2], "", 0.0), features(network, sources[1::2], kind, strength))


def table(rows: dict[str, list[float]]) -> str:
    """Markdown; a star marks a row that shrinks somewhere."""
    lines = ["| fault | " + " | ".join(f"{s:g}" for s in STRENGTHS) + " |", "|---" * (len(STRENGTHS) + 1) + "|"]
    for name, values in rows.items():
        if len(values) == len(STRENGTHS):
            star = "" if all(a <= b for a, b in pairwise(values)) else " *"
            held = " (held out)" if name in HELD_OUT else ""
            lines.append(f"| {name}{held}{star} | " + " | ".join(f"{value:.2f}" for value in values) + " |")
    mean, most = rows["halves"]
    lines.append(f"\n{rows['clips'][0]:.0f} clips; two random halves of the clean ones: {mean:.2f}, at most {most:.2f}")
    return "\n".join(lines)


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--splits", nargs="+", default=["val", "test"])
    parser.add_argument("--real", type=Path, nargs="*", default=[])
    parser.add_argument("--random", action="store_true")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(1)
    dataset, network = read_dataset(args.data), SpaceTimeNetwork()
    if args.random:
        whiten(network, [load_source(clip) for clip in dataset.split("train")], 0.1, 1)
    else:
        network.load_state_dict({name: tensor.float() for name, tensor in load_file(args.weights).items()})
    network.eval()
    sources = [load_source(clip) for split in args.splits for clip in dataset.split(split)]
    found = {"people": measure(network, sources, hands=True)}
    print(table(found["people"]), flush=True)
    usual = people(network, sources, "", 0.0)
    print(f"\nclean against clean of other people: {usual:.2f}; against faults of other people, in units of that:")
    for kind in (*KINDS, *HELD_OUT):
        ratios = [people(network, sources, kind, strength) / usual for strength in (0.25, 0.5, 1.0)]
        print(f"| {kind} | " + " | ".join(f"{ratio:.1f}" for ratio in ratios) + " |", flush=True)
    if args.real:
        found["real"] = measure(network, [real_source(path) for path in args.real], hands=False)
        print(table(found["real"]))
    if args.json:
        args.json.write_text(json.dumps(found))


if __name__ == "__main__":
    main()
