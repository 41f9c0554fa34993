"""The weights file of VGG-19 that a user brings for the perceptual loss."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file

from gesturegen_cli.errors import InputError
from gesturegen_cli.media.files import require_file
from gesturegen_cli.nn.perceptual import Vgg19


def load_vgg19(path: str) -> Vgg19 | None:
    """The frozen network with the weights of a torchvision file (.pth, or .safetensors); None for no path.

    Raises InputError: no such file, not a file of tensors, tensors of another network. Code in it is never executed.
    """
    if not path:
        return None
    require_file(path, "VGG-19 weights")
    network = Vgg19()
    hint = "save torchvision's vgg19 state dict, or leave deviation_loss.vgg19 empty"
    try:
        if Path(path).suffix == ".safetensors":
            tensors = load_file(path)
        else:
            tensors = torch.load(path, map_location="cpu", weights_only=True)
        network.fill(tensors)
    except KeyError as error:
        raise InputError(f"VGG-19 weights '{path}' lack {error}", hint) from error
    except MemoryError:
        raise
    except Exception as error:  # a damaged or hostile pickle can raise anything
        raise InputError(f"VGG-19 weights '{path}' cannot be read ({type(error).__name__})", hint) from error
    return network
