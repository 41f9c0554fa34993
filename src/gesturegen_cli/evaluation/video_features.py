"""Networks that describe clips of sixteen frames, for Frechet distances of video (FVD).

`load_fvd_self` is ours and always there; `load_i3d` is the field's, with a file that the user brings. Numbers of one
say nothing about numbers of the other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from gesturegen_cli.errors import EnvironmentFault, InputError
from gesturegen_cli.evaluation.torchscript import load_torchscript
from gesturegen_cli.nn.video_network import FRAMES, SIZE, SpaceTimeNetwork

WEIGHTS = Path(__file__).parent / "weights" / "fvd_self.safetensors"
I3D_HINT = "bring the TorchScript I3D of the StyleGAN-V line (rescale, resize, return_features), or leave FVD out"


@dataclass(frozen=True)
class VideoNetwork:
    """A network with its weights: clips `n 16 3 h h` in [0, 1], of any side h -> features `n k`, float32 on the CPU."""

    name: str
    digest: str
    """sha256 of the weights file; distances are comparable where it agrees."""
    resizing: str
    """How it brings clips to its own size, in words."""
    run: Callable[[Tensor], Tensor]
    """The network itself: checked clips on its device -> features of any type, there."""
    device: torch.device
    frames: int = FRAMES

    def __call__(self, clips: Tensor) -> Tensor:
        """Features `n k` of `n 16 3 h h`; each clip by itself, whatever is beside it. All n are held at once.

        Raises ValueError for clips of another shape or of whole numbers, InputError for features that are not finite.
        """
        if clips.ndim != 5 or clips.shape[1:3] != (self.frames, 3) or clips.shape[3] != clips.shape[4]:
            raise ValueError(f"clips are {tuple(clips.shape)}, expected n {self.frames} 3 h h")
        if not clips.is_floating_point():
            raise ValueError(f"clips are {clips.dtype}, expected numbers in [0, 1]")
        with torch.inference_mode():
            found = self.run(clips.to(self.device, torch.float32)).float().cpu()
        if not torch.isfinite(found).all():
            raise InputError(f"{self.name} gives features that are not finite", "are its weights damaged?")
        return found.clone()  # out of inference mode's hands


def load_fvd_self(device: torch.device | str = "cpu") -> VideoNetwork:
    """Our own network (64 features), trained to notice faults of gesture video on digital speakers only.

    It looks at 64 x 64 pixels, so faults finer than that escape it. `examples/fvd-self` trains and validates it. Raises
    EnvironmentFault when the package is incomplete.
    """
    from safetensors.torch import load

    device = torch.device(device)
    try:
        data = WEIGHTS.read_bytes()
    except OSError as error:
        raise EnvironmentFault(
            f"the weights of FVD-self are missing from the package ({error.strerror})", "install it again"
        ) from error
    network = SpaceTimeNetwork()
    network.load_state_dict({name: tensor.float() for name, tensor in load(data).items()})
    network = network.to(device).eval().requires_grad_(False)
    network = network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload] # typed for 2-D only
    resizing = f"to {SIZE} x {SIZE}, bicubic with antialiasing"
    return VideoNetwork("FVD-self", hashlib.sha256(data).hexdigest(), resizing, network, device)


def load_i3d(path: Path, device: torch.device | str = "cpu") -> VideoNetwork:
    """The I3D network of a TorchScript file, as the StyleGAN-V line of work calls it for FVD (400 features).

    Called with pixel values `n 3 16 h h` in 0 .. 255 and `rescale`, `resize`, `return_features` true: it scales values
    and size (bilinear, to 224 x 224) by itself. The file's code is searched before anything of it runs: see
    `load_torchscript` for what is refused and what is left to trust. Then it is tried once on a grey clip.

    Raises InputError: no TorchScript file, code that a network does not need, another way to be called, other results.
    """
    device = torch.device(device)
    program = load_torchscript(path, "I3D", device)

    def run(clips: Tensor) -> Tensor:
        # Without the optimiser, which rewrites the program after two runs: the same clip shall give the same features.
        with torch.jit.optimized_execution(False):  # type: ignore[attr-defined] # public, not in its __all__
            found = program.module(clips.transpose(1, 2) * 255, rescale=True, resize=True, return_features=True)
        if not isinstance(found, Tensor) or found.ndim != 2 or len(found) != len(clips):
            shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise InputError(f"I3D gives {shape} for {len(clips)} clips, expected features {len(clips)} k", I3D_HINT)
        return found

    network = VideoNetwork("I3D", program.digest, "by the file's own program", run, device)
    try:
        network(torch.full((1, FRAMES, 3, 64, 64), 0.5))
    except RuntimeError as error:
        reason = str(error).strip().split("\n")[-1][:160]
        raise InputError(f"I3D cannot be called as expected ({reason})", I3D_HINT) from error
    return network
