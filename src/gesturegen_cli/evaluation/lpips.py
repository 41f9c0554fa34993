"""LPIPS v0.1 with AlexNet: how different two pictures look (Zhang et al. 2018, "The Unreasonable Effectiveness of Deep
Features as a Perceptual Metric"), with weights that the user brings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from gesturegen_cli.checkpoint_file import named_tensors, read_checkpoint
from gesturegen_cli.data.video_record import digest
from gesturegen_cli.errors import InputError
from gesturegen_cli.media.files import shown

CONVOLUTIONS = (
    *((0, 3, 64, 11, 4, 2), (3, 64, 192, 5, 1, 2)),
    *((6, 192, 384, 3, 1, 1), (8, 384, 256, 3, 1, 1), (10, 256, 256, 3, 1, 1)),
)
"""Number in torchvision's `features`, channels in and out, kernel, stride and padding."""
POOLED = (3, 6)
"""Before these convolutions there is a max pooling of 3 with stride 2."""
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""LPIPS's own normalisation of pictures in [-1, 1]."""
EPSILON = 1e-10
SMALLEST = 31
"""Side in pixels that leaves one value after the last layer."""
HINT = (
    "bring torchvision's alexnet state dict and LPIPS v0.1's alex weights, or one file with both: "
    "the state dict of LPIPS(net='alex')"
)


class LpipsNetwork(nn.Module):
    """The five layers of AlexNet and a weight per channel, frozen."""

    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Conv2d(channels, out, kernel, stride, padding)
            for _, channels, out, kernel, stride, padding in CONVOLUTIONS
        )
        self.weights = nn.ParameterList(torch.zeros(sizes[2]) for sizes in CONVOLUTIONS)
        self.register_buffer("shift", torch.tensor(SHIFT)[:, None, None])
        self.register_buffer("scale", torch.tensor(SCALE)[:, None, None])
        self.requires_grad_(False).eval()

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """Pictures `b 3 h w` in [0, 1] -> five features `b c h w`, of unit length at every place."""
        x, found = (2 * pictures - 1 - self.shift) / self.scale, []
        for layer, (number, *_) in zip(self.layers, CONVOLUTIONS, strict=True):
            if number in POOLED:
                x = nn.functional.max_pool2d(x, 3, 2)
            x = torch.relu(layer(x))
            found.append(x / (x.square().sum(1, keepdim=True).sqrt() + EPSILON))
        return found


@dataclass(frozen=True)
class Lpips:
    """The network with its weights."""

    module: LpipsNetwork
    digest: str
    """sha256 of the weights file, of both with a comma between; distances are comparable where it agrees."""


def load_lpips(alex: Path, linear: Path | None = None, device: torch.device | str = "cpu") -> Lpips:
    """Read the weights from torchvision's AlexNet and LPIPS's file of linear weights, or from one file with all.

    Names: `features.N.weight` or `net.sliceK.N.weight`, and `linK.model.1.weight` of shape `1 c 1 1`. Nothing in the
    files is executed. Raises InputError: not a file of tensors, tensors missing, of another shape or not finite.
    """
    paths = [alex] if linear is None else [alex, linear]
    tensors: dict[str, Tensor] = {}
    for path in paths:
        try:
            tensors.update(named_tensors(read_checkpoint(path), path))
        except InputError as error:
            raise InputError(f"LPIPS weights: {error.message}", error.hint) from error
    files = " and ".join(repr(shown(path)) for path in paths)
    network = LpipsNetwork()
    network.load_state_dict({**network.state_dict(), **_chosen(tensors, network, files)})
    return Lpips(network.to(device), ",".join(digest(path) for path in paths))


def lpips(network: Lpips, made: Tensor, real: Tensor) -> Tensor:
    """Distance `b` of pictures `b 3 h w` in [0, 1], float32 on the CPU; 0 for equal ones, symmetric.

    Squared difference of unit features, weighted by channel, mean over places, sum over layers. Raises ValueError for
    pictures of different shapes or smaller than 31 pixels.
    """
    if made.shape != real.shape or made.ndim != 4 or made.shape[1] != 3 or min(made.shape[2:]) < SMALLEST:
        found = f"{tuple(made.shape)} and {tuple(real.shape)}"
        raise ValueError(f"pictures are {found}, expected twice b 3 h w with h and w of {SMALLEST} or more")
    module = network.module
    total = torch.zeros(len(made))
    with torch.no_grad():
        pairs = zip(*(module(pictures.to(module.shift)) for pictures in (made, real)), module.weights, strict=True)
        for one, other, weight in pairs:
            total = total + ((one - other).square() * weight[:, None, None]).sum(1).mean((1, 2)).float().cpu()
    return total


def _chosen(tensors: Mapping[str, Tensor], network: LpipsNetwork, files: str) -> dict[str, Tensor]:
    """The tensors that the network needs, under its own names; InputError lists those missing and misfit."""
    chosen, missing, wrong = {}, [], []
    for index, (number, *_) in enumerate(CONVOLUTIONS):
        named = {
            f"layers.{index}.weight": (f"features.{number}.weight", f"net.slice{index + 1}.{number}.weight"),
            f"layers.{index}.bias": (f"features.{number}.bias", f"net.slice{index + 1}.{number}.bias"),
            f"weights.{index}": (f"lin{index}.model.1.weight",),
        }
        for own, names in named.items():
            name = next((name for name in names if name in tensors), None)
            if name is None:
                missing.append(names[0])
                continue
            wanted, tensor = tuple(network.state_dict()[own].shape), tensors[name]
            full = (1, *wanted, 1, 1) if own.startswith("weights") else wanted
            if tuple(tensor.shape) != full:
                wrong.append(f"{name} is {tuple(tensor.shape)}, expected {full}")
            elif not torch.isfinite(tensor).all():
                wrong.append(f"{name} holds values that are not finite")
            else:
                chosen[own] = tensor.float().reshape(wanted)
    if missing:
        raise InputError(f"LPIPS weights: {files} lack {', '.join(missing)}", HINT)
    if wrong:
        raise InputError(f"LPIPS weights: {files}: {'; '.join(wrong)}", HINT)
    return chosen
