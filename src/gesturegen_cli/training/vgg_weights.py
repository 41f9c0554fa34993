"""The weights file of VGG-19 that a user brings for the perceptual loss."""

from __future__ import annotations

from pathlib import Path

from gesturegen_cli.checkpoint_file import named_tensors, read_checkpoint
from gesturegen_cli.errors import InputError
from gesturegen_cli.nn.perceptual import Vgg19

HINT = "save torchvision's vgg19 state dict, or leave deviation_loss.vgg19 empty"


def load_vgg19(path: str) -> Vgg19 | None:
    """The frozen network with the weights of a torchvision file (.pth or .safetensors); None for no path.

    Raises InputError: no such file, not a file of tensors, tensors of another network. Code in it is never executed.
    """
    if not path:
        return None
    try:
        tensors = named_tensors(read_checkpoint(Path(path)), Path(path))
        network = Vgg19()
        network.fill(tensors)
    except InputError as error:
        raise InputError(f"VGG-19 weights: {error.message}", error.hint) from error
    except KeyError as error:
        raise InputError(f"VGG-19 weights: '{path}' lacks {error}", HINT) from error
    except ValueError as error:
        raise InputError(f"VGG-19 weights: '{path}': {error}", HINT) from error
    return network
