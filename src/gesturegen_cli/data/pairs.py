"""Stage 1 batches: two frames of one clip. A batch depends on the data, the seed, the step and the rank only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gesturegen_cli.data.augment import Geometry, draw_geometry, move_frames, recolour, spoil
from gesturegen_cli.data.cache import open_array
from gesturegen_cli.data.frames import BOXES, FACE, HANDS, FrameStore, read_labels
from gesturegen_cli.errors import InputError

Labels = dict[str, NDArray[np.generic]]


@dataclass(frozen=True)
class FramePairs:
    """Random pairs of frames of these clips."""

    stores: tuple[FrameStore, ...]
    batch_size: int
    rng_seed: int
    augment: bool = True

    def __post_init__(self) -> None:
        if not any(store.count > 1 for store in self.stores):
            raise InputError("no clip has two frames to make a pair of", "preprocess longer videos")

    def batch(self, step: int, rank: int = 0) -> dict[str, Tensor]:
        """One batch; h = w is the size of the clips, g = h / 4.

        Always: `source`, `driving` `b 3 h w` in [0, 1], and `source_input`, `driving_input`: the same with noise, for
        the extractor. With labelled clips (a batch has either kind): `source_joints`, `driving_joints` `b 25 2`,
        `source_parts`, `driving_parts` `b g g`, `grid` `b g g 2` (where each place of the driving frame lies in the
        source), `visible` `b 1 g g`, `desk` `b` (the height below which nothing of the speaker is seen), `mirrored`
        `b` (in mirrored pairs left and right have still to be exchanged in joints and parts). Where all labels have
        them, `boxes` `b 3 4`: x0, y0, x1, y1 of the driving frame's hands and mouth, and `source_face`, `driving_face`
        `b 8`, `source_hands`, `driving_hands` `b 2 8`: what they do (also to be exchanged).
        """
        rng = np.random.default_rng([self.rng_seed, step, rank])
        noise = torch.Generator().manual_seed(int(rng.integers(1 << 62)))
        counts = np.array([store.count if store.count > 1 else 0 for store in self.stores])
        labelled = np.array([store.labels is not None for store in self.stores])
        kind = rng.random() < counts[labelled].sum() / counts.sum()
        ends = np.cumsum(np.where(labelled == kind, counts, 0))
        drawn = [int(np.searchsorted(ends, rng.integers(ends[-1]), side="right")) for _ in range(self.batch_size)]
        pairs = [self._pair(self.stores[index], rng, noise) for index in drawn]
        common = [name for name in pairs[0] if all(name in pair for pair in pairs)]
        return {name: torch.stack([pair[name] for pair in pairs]) for name in common}

    def _pair(self, store: FrameStore, rng: np.random.Generator, noise: torch.Generator) -> dict[str, Tensor]:
        frames = open_array(store.path)
        driving = int(rng.integers(store.count))
        labels = None if store.labels is None else read_labels(store.labels, driving)
        if labels is None:
            option, source = 0, _other_frame(store.count, driving, rng)
        else:
            option = int(rng.integers(len(labels["source_frames"])))
            source = int(labels["source_frames"][option])
        geometry = draw_geometry(rng, labels is not None) if self.augment else Geometry()
        clean = move_frames(np.stack([frames[source], frames[driving]]), geometry, noise)
        if self.augment:
            clean = recolour(clean, rng)
        inputs = [spoil(picture, rng, noise) for picture in clean] if self.augment else list(clean)
        pair = {"source": clean[0], "driving": clean[1], "source_input": inputs[0], "driving_input": inputs[1]}
        if labels is not None and store.labels is not None:
            side = clean.shape[-1] // 4
            pair |= move_labels(read_labels(store.labels, source), labels, option, geometry, side)
        return pair


def _other_frame(count: int, driving: int, rng: np.random.Generator) -> int:
    """Another frame; in 80 % of the draws not a neighbour, so that there is motion to learn from (docs/method.md)."""
    distance = np.abs(np.arange(count) - driving)
    far = np.flatnonzero(distance > 1)
    near = np.flatnonzero(distance > 0)
    return int(rng.choice(far if len(far) and rng.random() < 0.8 else near))


def move_labels(source: Labels, driving: Labels, option: int, geometry: Geometry, side: int) -> dict[str, Tensor]:
    """Labels of one pair as `FramePairs.batch` describes them, at `side` x `side`; `option` says which flow."""
    place = _places(geometry, side)
    centres = (np.arange(side) * 2 + 1) / side - 1
    covered = np.broadcast_to((centres > geometry.desk)[:, None], (side, side))
    outside = place.outside | covered
    flip = np.array([-1.0 if geometry.mirrored else 1.0, 1.0], np.float32)
    here = np.stack(np.meshgrid(centres, centres, indexing="xy"), -1).astype(np.float32)
    flow = place.sample(driving["flow"][option].transpose(2, 0, 1)).transpose(1, 2, 0).astype(np.float32)
    flow = flow * flip * geometry.scale
    grid = here + np.where(outside[..., None], 0, flow)
    parts = {
        "source": np.where(outside, 0, place.sample(source["parts"])),
        "driving": np.where(outside, 0, place.sample(driving["parts"])),
    }
    lost = (np.abs(grid).max(-1) > 1) | (grid[..., 1] > geometry.desk)
    visible = np.where(outside, 1.0, place.sample(driving["visible"][option]).astype(bool))
    visible = np.where((parts["driving"] > 0) & lost, 0.0, visible)
    moved = {"grid": torch.from_numpy(grid.astype(np.float32)), "desk": torch.tensor(geometry.desk)}
    moved["visible"] = torch.from_numpy(visible.astype(np.float32))[None]
    moved["mirrored"] = torch.tensor(geometry.mirrored)
    if BOXES in driving:
        moved[BOXES] = torch.from_numpy(_move_boxes(driving[BOXES].astype(np.float32), geometry))
    for role, labels in (("source", source), ("driving", driving)):
        joints = labels["joints"].astype(np.float32) * flip * geometry.scale + np.array(geometry.shift, np.float32)
        moved[f"{role}_joints"] = torch.from_numpy(joints.astype(np.float32))
        moved[f"{role}_parts"] = torch.from_numpy(parts[role].astype(np.int64))
        for name in (FACE, HANDS):
            if name in labels:
                moved[f"{role}_{name}"] = torch.from_numpy(labels[name].astype(np.float32))
    return moved


def _move_boxes(boxes: NDArray[np.float32], geometry: Geometry) -> NDArray[np.float32]:
    """Boxes `k 4` (x0, y0, x1, y1) where the geometry puts them, cut off at the desk."""
    corners = boxes.reshape(-1, 2, 2)
    if geometry.mirrored:
        corners = np.stack([-corners[:, ::-1, 0], corners[..., 1]], -1)
    moved = corners * geometry.scale + np.array(geometry.shift)
    moved[..., 1] = np.minimum(moved[..., 1], geometry.desk)
    result: NDArray[np.float32] = moved.reshape(-1, 4).astype(np.float32)
    return result


@dataclass(frozen=True)
class _Places:
    """For every cell of the moved label map, its row and column in [0, 1) of the original one."""

    rows: NDArray[np.float64]
    columns: NDArray[np.float64]
    outside: NDArray[np.bool_]

    def sample(self, labels: NDArray[np.generic]) -> NDArray[np.generic]:
        """Nearest value of `... n n` at every cell: labels have no values in between."""
        side = labels.shape[-1]
        rows = np.clip((self.rows * side).astype(int), 0, side - 1)
        columns = np.clip((self.columns * side).astype(int), 0, side - 1)
        return labels[..., rows[:, None], columns[None, :]]


def _places(geometry: Geometry, side: int) -> _Places:
    centres = (np.arange(side) * 2 + 1) / side - 1
    columns = (centres - geometry.shift[0]) / geometry.scale * (-1 if geometry.mirrored else 1)
    rows = (centres - geometry.shift[1]) / geometry.scale
    outside = (np.abs(rows) > 1)[:, None] | (np.abs(columns) > 1)[None, :]
    return _Places((rows + 1) / 2, (columns + 1) / 2, outside)
