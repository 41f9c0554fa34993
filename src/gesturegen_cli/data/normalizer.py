"""Person-free motion to normalised motion and back: each number with mean 0 and standard deviation 1."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from gesturegen_cli.errors import BundleError, InputError

MIN_STD = 1e-3
"""Numbers that hardly move are divided by this at least, so that their noise does not become motion."""


@dataclass(frozen=True)
class Normalizer:
    """Mean and standard deviation `d` of a training set's person-free motion."""

    mean: Tensor
    std: Tensor

    def normalize(self, motion: Tensor) -> Tensor:
        """Motion `... d` -> normalised motion `... d`, on the device and in the type of the motion."""
        return (motion - self.mean.to(motion)) / self.std.to(motion)

    def denormalize(self, motion: Tensor) -> Tensor:
        """Normalised motion `... d` -> motion `... d`."""
        return motion * self.std.to(motion) + self.mean.to(motion)

    def tensors(self) -> dict[str, Tensor]:
        """What a bundle stores under the role `normalizer`."""
        return {"mean": self.mean, "std": self.std}

    @staticmethod
    def from_tensors(tensors: Mapping[str, Tensor], motion_dim: int) -> Normalizer:
        """The normaliser of a bundle; BundleError unless both hold `motion_dim` numbers, all deviations positive."""
        found = {name: tuple(value.shape) for name, value in tensors.items()}
        if found != {"mean": (motion_dim,), "std": (motion_dim,)}:
            raise BundleError(f"normalizer holds {found}, expected mean and std of {motion_dim} numbers", "")
        if not bool((tensors["std"] > 0).all()):
            raise BundleError("normalizer has a standard deviation that is not positive", "copy the bundle again")
        return Normalizer(tensors["mean"], tensors["std"])


def fit_normalizer(motions: Iterable[Tensor]) -> Normalizer:
    """Mean and standard deviation over all frames of motions `t d`, in one pass, in float64 (Chan et al. 1979)."""
    count, mean, squares = 0, torch.zeros(()), torch.zeros(())
    for motion in motions:
        frames = motion.detach().cpu().double()
        if not len(frames):
            continue
        total = count + len(frames)
        own = frames.mean(dim=0)
        delta = own - mean
        squares = squares + (frames - own).square().sum(dim=0) + delta.square() * (count * len(frames) / total)
        mean = mean + delta * (len(frames) / total)
        count = total
    if not count:
        raise InputError("there is no motion to learn a normaliser from", "check the dataset with gesturegen inspect")
    return Normalizer(mean.float(), (squares / count).sqrt().clamp_min(MIN_STD).float())
