"""Perceptual loss: distance of VGG-19 features (Johnson et al. 2016), with weights that the user brings."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTHS = (64, 64, 0, 128, 128, 0, 256, 256, 256, 256, 0, 512, 512, 512, 512, 0, 512)
"""Convolutions of VGG-19 as far as they are needed; 0 is a max pooling."""
SLICES = (2, 7, 12, 21, 30)
"""The layers before these indices of torchvision's `features` give the five features compared."""
SCALES = (1, 2, 4, 8)
"""Pictures are compared at their size and at the sizes divided by these."""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet, in which the weights were trained."""


class Vgg19(nn.Module):
    """The convolutions of VGG-19, named as in torchvision (`features.N.weight`), frozen."""

    def __init__(self, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for width in widths:
            if width:
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
            else:
                layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.requires_grad_(False).eval()

    def fill(self, tensors: Mapping[str, Tensor]) -> None:
        """Load the needed ones of a full VGG-19's tensors. KeyError names one that is missing, ValueError a misfit."""
        own = self.state_dict()
        missing = [name for name in own if name not in tensors]
        if missing:
            raise KeyError(missing[0])
        wrong = next((name for name, tensor in own.items() if tensors[name].shape != tensor.shape), None)
        if wrong is not None:
            raise ValueError(f"{wrong} is {tuple(tensors[wrong].shape)}, expected {tuple(own[wrong].shape)}")
        self.load_state_dict({name: tensors[name].float() for name in own})

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """Pictures `b 3 h w` in [0, 1] -> features after five of the layers, those that the size allows."""
        mean, std = (pictures.new_tensor(values)[:, None, None] for values in (MEAN, STD))
        x, found = (pictures - mean) / std, []
        for index, layer in enumerate(self.features):
            if isinstance(layer, nn.MaxPool2d) and min(x.shape[2:]) < 2:
                break
            x = layer(x)
            if index + 1 in SLICES:
                found.append(x)
        return found


def perceptual_loss(network: Vgg19, images: Tensor, target: Tensor) -> Tensor:
    """L1 of features of images `b 3 h w`, mean over the five layers, sum over four scales (FOMM's arrangement)."""
    loss = images.new_zeros(())
    for scale in SCALES:
        small, wanted = (F.avg_pool2d(x, scale) if scale > 1 else x for x in (images, target))
        with torch.no_grad():
            features = network(wanted)
        pairs = zip(network(small), features, strict=True)
        loss = loss + torch.stack([(found - there).abs().float().mean() for found, there in pairs]).mean()
    return loss
