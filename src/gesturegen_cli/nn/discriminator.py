"""A patch discriminator, and the losses of the game between it and a generator (docs/method.md)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils.parametrizations import spectral_norm

LEAK = 0.2


class PatchDiscriminator(nn.Module):
    """Convolutions with spectral norm, each halving the picture; judges overlapping patches instead of the whole."""

    def __init__(self, channels: int = 64, blocks: int = 4) -> None:
        super().__init__()
        widths = [3, *(channels * 2**index for index in range(blocks))]
        self.blocks = nn.ModuleList(
            spectral_norm(nn.Conv2d(before, after, 4, 2, 1)) for before, after in pairwise(widths)
        )
        self.head = spectral_norm(nn.Conv2d(widths[-1], 1, 1))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images `b 3 h w` -> the features of every block, then the scores of patches (above 0: real)."""
        x, found = images, []
        for block in self.blocks:
            x = F.leaky_relu(block(x), LEAK)
            found.append(x)
        return [*found, self.head(x)]


def discriminator_loss(discriminator: nn.Module, real: Tensor, made: Tensor) -> Tensor:
    """Hinge loss of the discriminator on images `b 3 h w`; no gradient reaches the images."""
    scores = discriminator(torch.cat([real, made]).detach())[-1].float()
    of_real, of_made = scores.chunk(2)
    return F.relu(1 - of_real).mean() + F.relu(1 + of_made).mean()


def generator_losses(discriminator: nn.Module, real: Tensor, made: Tensor) -> tuple[Tensor, Tensor]:
    """Adversarial (hinge) and feature-matching loss of `made` `b 3 h w`; no gradient reaches the discriminator."""
    *features, scores = _judge_frozen(discriminator, made)
    with torch.no_grad():
        wanted = _judge_frozen(discriminator, real)[:-1]
    return -scores.float().mean(), _distance(features, wanted)


def _judge_frozen(discriminator: nn.Module, images: Tensor) -> list[Tensor]:
    """The discriminator's features and scores without gradients for it, and without advancing its power iterations."""
    frozen = {name: tensor.detach() for name, tensor in discriminator.named_parameters()}
    frozen |= {name: tensor.clone() for name, tensor in discriminator.named_buffers()}
    found: list[Tensor] = functional_call(discriminator, frozen, (images,))
    return found


def _distance(features: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
    pairs = zip(features, wanted, strict=True)
    return torch.stack([(found.float() - target.float()).abs().mean() for found, target in pairs]).mean()
