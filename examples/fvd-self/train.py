"""Train the network of FVD-self on digital speakers: python train.py DATA RUN [--minutes 35].

The network sees clips with up to two faults and says which and how strong, where the joints are, how fast they move and
how the picture looks at 4 x 4 pixels. RUN gets `state.pt` as it goes, and `fvd_self.safetensors` at the end. The same
command again continues.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from corruptions import KINDS, PICTURE, SIZE, SPAN, TIME, Source, corrupt, cut, faulty, place, shake, times
from safetensors.numpy import load_file
from torch import Tensor, nn

from gesturegen_cli.data.manifest import Clip, read_dataset
from gesturegen_cli.media.video import iter_frames
from gesturegen_cli.nn.video_network import FEATURES, SpaceTimeNetwork
from gesturegen_cli.tensor_file import write_tensors

BATCH = 16
RATE = 2e-3
JOINTS = 25
_TIMES = np.array([3 if kind in (*TIME, "hands") else 2 for kind in KINDS])
OFTEN = _TIMES / _TIMES.sum()
"""How often each fault is drawn: those that are hard to see more often."""


def load_source(clip: Clip) -> Source:
    """Decode a clip; labels, given for every fifth frame, are interpolated between."""
    frames = np.stack(list(iter_frames(clip.video, fps=25, size=SIZE)))
    labels = load_file(clip.labels)
    moments = np.arange(len(frames))

    def every(values: np.ndarray) -> np.ndarray:
        flat = values.reshape(len(values), -1)
        tracks = [np.interp(moments, labels["frames"], track) for track in flat.T]
        return np.stack(tracks, 1).reshape(len(frames), *values.shape[1:]).astype(np.float32)

    return Source(frames, every(labels["joints"]), every(labels["boxes"][:, :2]))


class Coach(nn.Module):
    """The network with its heads. Strengths are read off linearly, so that features order them."""

    def __init__(self) -> None:
        super().__init__()
        self.network = SpaceTimeNetwork().to(memory_format=torch.channels_last_3d)
        self.faults = nn.Linear(FEATURES, 2 * len(KINDS))
        self.content = nn.Sequential(nn.Linear(FEATURES, 192), nn.ReLU(), nn.Linear(192, 3 * JOINTS + 48))

    def loss(self, clips: Tensor, strengths: Tensor, content: Tensor) -> dict[str, Tensor]:
        """Clips `b 16 3 64 64`, strengths `b k`, content `b 123` -> the parts of the loss."""
        with torch.autocast("cpu", torch.bfloat16):
            features = self.network.raw(clips)
        features = features.float()
        there, strong = self.faults(features).chunk(2, 1)
        error = (self.content(features) - content).square()
        return {
            "which": 0.5 * F.binary_cross_entropy_with_logits(there, (strengths != 0).float()),
            "strength": 4 * F.smooth_l1_loss(strong, strengths, beta=0.2),
            "content": 0.5 * error.mean(),
            # Keeps the features in one range, so that the whitening at the end has little to do.
            "size": 0.01 * features.square().mean(),
        }


def draw(source: Source, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """A clip of a labelled source with nought to two faults, the strengths of all kinds, and what it shows."""
    count = rng.choice(3, p=(0.25, 0.5, 0.25))
    chosen = list(rng.choice(KINDS, count, replace=False, p=OFTEN))
    if sum(kind in TIME for kind in chosen) > 1:
        chosen.pop()
    strengths = {kind: float(rng.uniform(0.15, 1) ** 1.5) for kind in chosen}
    if "speed" in strengths and rng.random() < 0.5:
        strengths["speed"] *= -1
    timing = next((kind for kind in chosen if kind in TIME), "")
    at = times(timing, strengths.get(timing, 0.0), rng)
    found = cut(source, int(rng.integers(0, len(source.frames) - SPAN)), at)
    mirror, zoom = bool(rng.random() < 0.5), float(rng.uniform(0.75, 1)) if rng.random() < 0.6 else 1.0
    centre = torch.from_numpy(rng.uniform(zoom - 1, 1 - zoom, 2).astype(np.float32))
    offsets = shake(strengths.get("jitter", 0.0), rng) * zoom
    clip = recolour(found.clip, rng)
    if "hands" in strengths:
        clip = corrupt(clip, "hands", strengths["hands"], found.boxes, rng)
    if mirror or zoom < 1 or "jitter" in strengths:
        clip = place(clip, zoom, centre + offsets, mirror)
    for kind in PICTURE:
        if kind in strengths and kind not in ("hands", "jitter"):
            clip = corrupt(clip, kind, strengths[kind], None, rng)
    side = torch.tensor([-zoom if mirror else zoom, zoom])
    joints = (found.joints - centre - offsets[:, None]) / side
    speed = (joints[1:] - joints[:-1]).norm(dim=2).mean(0) * 10
    small = F.adaptive_avg_pool2d(clip.mean(0), 4)
    content = torch.cat([joints.mean(0).flatten() * 2, speed, small.flatten() * 4 - 2])
    return clip.clamp(0, 1), torch.tensor([strengths.get(kind, 0.0) for kind in KINDS]), content.clamp(-4, 4)


def recolour(clip: Tensor, rng: np.random.Generator) -> Tensor:
    """Other colours, brightness and sensor noise, the same in all frames: no fault, and real video has all of them."""
    clip = clip[:, rng.permutation(3).tolist()] if rng.random() < 0.15 else clip
    clip = clip ** float(rng.uniform(0.7, 1.4))
    gain = torch.from_numpy(rng.uniform(0.85, 1.15, (1, 3, 1, 1)).astype(np.float32))
    noise = torch.from_numpy(rng.standard_normal(clip.shape, np.float32))
    return (clip * gain + float(rng.uniform(0, 0.012)) * noise).clamp(0, 1)


def whiten(network: SpaceTimeNetwork, sources: list[Source], ridge: float, seed: int) -> None:
    """Set `centre` and `whiten` on clips of the training people, clean ones and ones with each fault.

    As in Fisher's discriminant: directions v with v' C v = 1 and v' B w = 0 for two of them, where C is the covariance
    of clean clips (plus `ridge` of its mean eigenvalue) and B the mean outer product of the faults' displacements. A
    direction with v' B v = l is weighted by (0.1 + l) / (1 + l).
    """
    network.eval()

    def moments(kind: str, strength: float, chosen: list[Source]) -> tuple[Tensor, Tensor]:
        rng, found = np.random.default_rng(seed), []
        with torch.no_grad():
            for source in chosen:
                starts = rng.integers(0, len(source.frames) - SPAN, 6)
                clips = torch.stack([faulty(source, int(start), kind, strength, rng) for start in starts])
                found.append(network.raw(clips).double())
        features = torch.cat(found)
        return features.mean(0), features.T.cov()

    centre, clean = moments("", 0.0, sources)
    some = sources[::4]
    base = moments("", 0.0, some)[0]
    cases = [(kind, s) for kind in KINDS for s in ((0.3, 0.7, -0.7) if kind == "speed" else (0.3, 0.7))]
    moved = torch.stack([moments(kind, strength, some)[0] - base for kind, strength in cases])
    values, vectors = torch.linalg.eigh(clean)
    unit = vectors * (values + ridge * values.mean()).rsqrt()
    gains, turn = torch.linalg.eigh((moved @ unit).T @ (moved @ unit) / len(cases))
    network.centre.copy_(centre)
    network.whiten.copy_(unit @ turn * ((0.1 + gains) / (1 + gains)))


def save(network: SpaceTimeNetwork, path: Path) -> None:
    """Write the weights: convolutions in half precision, batch norms and whitening, which can be tiny, in full."""
    tensors = {
        name: tensor.detach().contiguous().to(torch.float16 if tensor.ndim > 1 and name != "whiten" else torch.float32)
        for name, tensor in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    print(path, write_tensors(path, tensors, {"kind": "gesturegen-fvd-self", "licence": "CC0-1.0"}))


def main() -> None:
    """Parse, train until the minutes are over, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--minutes", type=float, default=35, help="end sooner than after --steps")
    parser.add_argument("--steps", type=int, default=3600)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--ridge", type=float, default=0.1)
    args = parser.parse_args()
    args.run.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    sources = [load_source(clip) for clip in read_dataset(args.data).split("train")]
    train(Coach(), sources, args)


def train(coach: Coach, sources: list[Source], args: argparse.Namespace) -> None:
    """Step until the steps or the minutes are used up, then write."""
    optimizer, step, spent = torch.optim.AdamW(coach.parameters(), RATE, weight_decay=0.02), 0, 0.0
    state = args.run / "state.pt"
    if state.exists():
        saved = torch.load(state, weights_only=True)
        coach.load_state_dict(saved["coach"])
        optimizer.load_state_dict(saved["optimizer"])
        step, spent = saved["step"], saved["minutes"]
    sums: Counter[str] = Counter()
    began = time.monotonic() - 60 * spent
    while (done := max(step / args.steps, spent / args.minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1, (step + 1) / 200) * (0.01 + 0.99 * (1 + math.cos(math.pi * done)) / 2)
        # Each step has its own generator: a run that was stopped goes on with the clips it would have seen.
        rng = np.random.default_rng((args.seed, step))
        drawn = [draw(sources[rng.integers(len(sources))], rng) for _ in range(BATCH)]
        clips, strengths, content = (torch.stack(parts) for parts in zip(*drawn, strict=True))
        parts = coach.loss(clips, strengths, content)
        optimizer.zero_grad(set_to_none=True)
        sum(parts.values()).backward()
        nn.utils.clip_grad_norm_(coach.parameters(), 2.0)
        optimizer.step()
        step, spent = step + 1, (time.monotonic() - began) / 60
        sums.update({name: float(value.detach()) for name, value in parts.items()})
        if step % 100 == 0:
            means = {name: round(value / 100, 4) for name, value in sums.items()}
            print(json.dumps({"step": step, "minutes": round(spent, 1), **means}), flush=True)
            sums.clear()
            kept = {"coach": coach.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save({**kept, "step": step, "minutes": spent}, state)
    whiten(coach.network, sources, args.ridge, args.seed)
    save(coach.network, args.run / "fvd_self.safetensors")


if __name__ == "__main__":
    main()
