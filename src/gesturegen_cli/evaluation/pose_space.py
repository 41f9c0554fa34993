"""Feature spaces for windows of poses: a trained autoencoder, or principal components of the reference.

Windows are `n t d`, float32: t frames of poses, each flattened to d numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from gesturegen_cli.errors import InputError

FEATURES = 32
"""Features of a window."""
SHORTEST_WINDOW = 12
"""Frames; in fewer, the convolutions of the autoencoder leave nothing."""
BATCH = 128
LEARNING_RATE = 1e-3
BETAS = (0.5, 0.999)
MOST_FITTED = 1024
"""Windows that principal components are found on; of more, evenly spaced ones, as time grows with their cube."""
_HELD_OUT = 10
"""One in so many windows, the last ones, tells how well the autoencoder does on poses that it has not seen."""
_CONSTANT = 1e-6
"""Standard deviation of a number, in shoulder widths, that never changes: dividing by it would only add noise."""
_SAME = 1e-6
"""Root mean square of the standardised differences between windows that are rounding and no motion."""
_AT_ONCE = 512

OnStep = Callable[[int, int], None]
"""Called with the steps done and all steps."""


class PoseSpace(Protocol):
    """Where windows of poses become features."""

    def features(self, windows: Tensor) -> Tensor:
        """Windows `n t d` -> features `n k`, float64."""
        ...


def cut_windows(poses: Tensor, window: int, stride: int) -> Tensor:
    """Windows `n window d` of one clip's poses `t k 2` or `t d`, one every `stride` frames; none of a shorter clip."""
    flat = poses.reshape(len(poses), -1).float()
    starts = range(0, len(flat) - window + 1, stride)
    if not starts:
        return flat.new_zeros(0, window, flat.shape[1])
    return torch.stack([flat[start : start + window] for start in starts])


@dataclass(frozen=True, eq=False)
class PrincipalSpace:
    """Coordinates along the principal components of the reference's windows; all in float64."""

    mean: Tensor
    """Mean of each number over the reference, `d`."""
    scale: Tensor
    """Standard deviation of each number over the reference, `d`."""
    centre: Tensor
    """Mean standardised window, `w` with w = t x d."""
    axes: Tensor
    """Principal directions of the reference's windows, `w k`, orthonormal."""

    def features(self, windows: Tensor) -> Tensor:
        """Windows `n t d` -> features `n k`, float64."""
        rows = ((windows.double() - self.mean) / self.scale).flatten(1)
        return (rows - self.centre) @ self.axes


def fit_principal_space(windows: Tensor, dims: int = FEATURES) -> PrincipalSpace | None:
    """The space of the `dims` strongest components (fewer where the reference varies in fewer) of windows `n t d`.

    None where all windows are the same: no direction tells them apart, and every motion would be at distance 0. Raises
    InputError below two windows.
    """
    if len(windows) < 2:
        raise InputError(f"{len(windows)} reference windows, expected at least 2", "give more or longer videos")
    if len(windows) > MOST_FITTED:
        windows = windows[torch.linspace(0, len(windows) - 1, MOST_FITTED).round().long()]
    mean, scale = _statistics(windows)
    rows = ((windows.double() - mean) / scale).flatten(1)
    centre = rows.mean(dim=0)
    rows = rows - centre
    if float(rows.square().mean()) <= _SAME**2:
        return None
    # There are fewer windows than numbers in one, so the products of windows give the components at less cost.
    values, vectors = torch.linalg.eigh(rows @ rows.T)
    values, vectors = values.flip(0), vectors.flip(1)
    kept = min(dims, int((values > 1e-10 * values[0]).sum()))
    axes = rows.T @ vectors[:, :kept] / values[:kept].sqrt()
    return PrincipalSpace(mean, scale, centre, axes)


class PoseNetwork(nn.Module):
    """Autoencoder of windows `n t d` of standardised poses. The decoder is the encoder's mirror image.

    The encoder is that of the Frechet gesture distance (Yoon et al. 2020, for windows of 34 frames).
    """

    def __init__(self, dims: int, window: int) -> None:
        super().__init__()
        steps = encoded_steps(window)
        self.window = window
        self.encoder = nn.Sequential(
            *_layer(nn.Conv1d(dims, 32, 3), 32),
            *_layer(nn.Conv1d(32, 64, 3), 64),
            *_layer(nn.Conv1d(64, 64, 4, stride=2), 64),
            nn.Conv1d(64, 32, 3),
            nn.Flatten(),
            *_layer(nn.Linear(32 * steps, 256), 256),
            *_layer(nn.Linear(256, 128), 128),
            nn.Linear(128, FEATURES),
            nn.Linear(FEATURES, FEATURES),
        )
        self.decoder = nn.Sequential(
            *_layer(nn.Linear(FEATURES, 128), 128),
            *_layer(nn.Linear(128, 256), 256),
            *_layer(nn.Linear(256, 32 * steps), 32 * steps),
            nn.Unflatten(1, (32, steps)),
            *_layer(nn.ConvTranspose1d(32, 64, 3), 64),
            *_layer(nn.ConvTranspose1d(64, 64, 4, stride=2, output_padding=window % 2), 64),
            *_layer(nn.ConvTranspose1d(64, 32, 3), 32),
            nn.ConvTranspose1d(32, dims, 3),
        )

    def encode(self, windows: Tensor) -> Tensor:
        """Standardised windows `n t d` -> features `n 32`."""
        features: Tensor = self.encoder(windows.mT)
        return features

    def forward(self, windows: Tensor) -> Tensor:
        """Standardised windows `n t d` -> the same, as far as 32 numbers can tell them."""
        restored: Tensor = self.decoder(self.encode(windows)).mT
        return restored


@dataclass(frozen=True, eq=False)
class PoseAutoencoder:
    """A trained network, and what it was trained for."""

    network: PoseNetwork
    mean: Tensor
    """Mean of each number, `d`."""
    scale: Tensor
    """Standard deviation of each number, `d`."""
    joints: tuple[str, ...]
    window: int
    """Frames of a window."""
    fps: float
    training: Mapping[str, float]
    """How it was trained and how well it does: `steps`, `windows`, `rng_seed`, and `error`, the mean absolute error on
    windows held out, in standard deviations."""
    digest: str = ""
    """Of the file it came from: its sha256."""
    estimator: str = ""
    """Digest of the bundle that found the joints it was trained on; empty where nobody wrote it down."""

    def features(self, windows: Tensor) -> Tensor:
        """Windows `n t d` -> features `n 32`, float64. Raises InputError for windows of another shape."""
        rows = [self.network.encode(part).double() for part in self._standardised(windows)]
        return torch.cat(rows) if rows else torch.zeros(0, FEATURES, dtype=torch.float64)

    def reconstruct(self, windows: Tensor) -> Tensor:
        """Windows `n t d` -> the same, as far as the features tell them."""
        rows = [self.network(part) * self.scale + self.mean for part in self._standardised(windows)]
        return torch.cat(rows) if rows else windows

    def _standardised(self, windows: Tensor) -> Sequence[Tensor]:
        expected = (self.window, len(self.mean))
        if tuple(windows.shape[1:]) != expected:
            found = "x".join(map(str, windows.shape[1:]))
            wanted = f"{expected[0]}x{expected[1]}, as the pose space was trained on"
            raise InputError(f"windows of {found} numbers, expected {wanted}", "use its window and joints")
        with torch.no_grad():
            parts = (windows[start : start + _AT_ONCE] for start in range(0, len(windows), _AT_ONCE))
            return [(part.float() - self.mean) / self.scale for part in parts]


def fit_pose_autoencoder(
    windows: Tensor,
    *,
    joints: Sequence[str],
    window: int,
    fps: float,
    steps: int,
    rng_seed: int = 0,
    on_step: OnStep | None = None,
    device: torch.device | str = "cpu",
) -> PoseAutoencoder:
    """Train an autoencoder on windows `n window d`, d = 2 x joints, in the order of their clips.

    Loss: L1 of poses and of differences between frames. Adam with betas 0.5 and 0.999, its rate falling along a cosine
    from 1e-3. The last tenth of the windows is held out.

    Raises InputError below two windows for training, and for windows of another shape.
    """
    expected = (window, 2 * len(joints))
    if windows.ndim != 3 or tuple(windows.shape[1:]) != expected or window < SHORTEST_WINDOW:
        found = "x".join(map(str, windows.shape[1:]))
        raise InputError(
            f"windows of {found} numbers, expected {window}x{expected[1]} of at least {SHORTEST_WINDOW} frames",
            "cut the windows from poses of these joints",
        )
    held = len(windows) // _HELD_OUT
    train = windows[: len(windows) - held]
    if len(train) < 2:
        raise InputError(f"{len(train)} windows to train on, expected at least 2", "give more or longer videos")
    mean, scale = (part.float() for part in _statistics(train))
    network = build_network(expected[1], window, rng_seed).to(device)
    _train(network, ((train - mean) / scale).to(device), steps, rng_seed, on_step)
    network = network.cpu().eval().requires_grad_(False)
    training = {"steps": float(steps), "windows": float(len(train)), "rng_seed": float(rng_seed)}
    space = PoseAutoencoder(network, mean, scale, tuple(joints), window, fps, training)
    judged = windows[len(train) :] if held else train
    error = float(((space.reconstruct(judged) - judged) / scale).abs().mean())
    return PoseAutoencoder(network, mean, scale, tuple(joints), window, fps, {**training, "error": error})


def build_network(dims: int, window: int, rng_seed: int = 0) -> PoseNetwork:
    """A network with first weights drawn from `rng_seed`; torch's global state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(rng_seed)
        return PoseNetwork(dims, window)


def encoded_steps(window: int) -> int:
    """Steps that the encoder's convolutions leave of `window` frames: 12 of 34, 27 of 64, 35 of 80."""
    return (window - 8) // 2 + 1 - 2


def _layer(module: nn.Module, width: int) -> tuple[nn.Module, nn.Module, nn.Module]:
    return module, nn.BatchNorm1d(width), nn.LeakyReLU(0.2)


def _train(network: PoseNetwork, windows: Tensor, steps: int, rng_seed: int, on_step: OnStep | None) -> None:
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE, betas=BETAS)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
    generator = torch.Generator().manual_seed(rng_seed)
    network.train()
    for step in range(1, steps + 1):
        drawn = torch.randint(len(windows), (BATCH,), generator=generator).to(windows.device)
        batch = windows[drawn]
        wrong = network(batch) - batch
        loss = wrong.abs().mean() + wrong.diff(dim=1).abs().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        if on_step is not None:
            on_step(step, steps)


def _statistics(windows: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation `d` of each number of windows `n t d`, float64; 1 for a number that never changes."""
    mean = windows.mean(dim=(0, 1), dtype=torch.float64)
    spread = (windows - mean.float()).square().mean(dim=(0, 1), dtype=torch.float64).sqrt()
    return mean, torch.where(spread > _CONSTANT, spread, torch.ones_like(spread))
