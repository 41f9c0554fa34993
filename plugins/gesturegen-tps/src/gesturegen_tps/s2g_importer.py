"""`s2g`: the models that the authors of S2G-MDDiffusion published (He et al. 2024), one or both of its two files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from gesturegen_cli import registry
from gesturegen_cli.checkpoint_file import read_checkpoint
from gesturegen_cli.errors import ConfigError, EnvironmentFault, InputError
from gesturegen_cli.media.files import shown
from gesturegen_cli.types import ImportedComponent, ImportedModel
from gesturegen_tps.checkpoint_parts import extent, joined, take_parts
from gesturegen_tps.keypoints import POINTS
from gesturegen_tps.released_order import skips_first
from gesturegen_tps.tpsm_importer import MOTION_PARTS, motion_params

REFINEMENT = "e2e_generator"
IGNORED = ("gan_discriminator", "optimizer", "optimizer_e2e", "optimizer_gan", "epoch")
AVERAGED, LAST = "ema_state_dict", "model_state_dict"
OTHERS = ("optimizer_state_dict", "normalizer")
ENCODERS: dict[int, tuple[str, dict[str, Any]]] = {
    1059: ("s2g-1059", {"weights": "WavLM-Large.pt"}),
    35: ("s2g-35", {}),
}
"""Audio features of the denoiser -> encoder that makes them."""
DIFFUSION = {"train_timesteps": 1000, "beta_schedule": "squaredcos_cap_v2"}
SAMPLING = {
    "scheduler": "ddim",
    "steps": 50,
    "eta": 1.0,
    "guidance": 2.0,
    "clip": 1.0,
    "candidates": 5,
}
"""As released."""
OVERLAP = 8
"""Windows share one frame in so many, 10 of 80; in the release they abut. The README says why."""


class S2gImporter:
    """`motion_decoupling.pth.tar` as the deviation model `tps`; with `motion_diffusion.pt` a full bundle.

    The denoiser becomes `lmdm`, its ears the encoder `s2g-1059` or `s2g-35` of the package gesturegen-wavlm.
    """

    @dataclass(frozen=True)
    class Config:
        """Settings of the importer."""

        model: dict[str, Any] = field(default_factory=dict)
        """More of the `Config` of `tps`, such as `transfer`, or sizes that are not the published ones."""
        denoiser: dict[str, Any] = field(default_factory=dict)
        """More of the `Config` of `lmdm`: sizes that are not the published ones."""
        audio_encoder: dict[str, Any] = field(default_factory=dict)
        """More of the `Config` of the audio encoder, such as `weights`, the file of WavLM-Large."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def __call__(self, files: Sequence[Path]) -> ImportedModel:
        """Read STAGE3, or STAGE3 and STAGE2. InputError when they are not such files or do not belong together."""
        if not 1 <= len(files) <= 2:
            found = f"{len(files)} checkpoints, the kind 's2g' takes 1 or 2"
            raise ConfigError(found, "name motion_decoupling.pth.tar, then motion_diffusion.pt if you have it")
        deviation = self._deviation(files[0])
        components = {"deviation": deviation}
        settings: dict[str, Any] = {"fps": 25.0}
        if len(files) == 2:
            denoiser = self._denoiser(files[1], deviation.params["transforms"] * POINTS * 2)
            components |= {"audio_encoder": self._audio_encoder(denoiser.params["audio_dim"]), "denoiser": denoiser}
            window = {"frames": denoiser.params["frames"], "seed_frames": 1, "stride": 10}
            settings |= {
                "window": window,
                "diffusion": DIFFUSION,
                "sampling": {**SAMPLING, "overlap": window["frames"] // OVERLAP},
            }
        return ImportedModel(
            components,
            {name: f"{role}: {name}" for role, part in components.items() for name in part.tensors},
            origin="weights of the authors of S2G-MDDiffusion (He et al. 2024)",
            licence="MIT, by the repository that offers them; they learned from PATS, which is CC BY-NC 2.0",
            settings=settings,
        )

    def _deviation(self, file: Path) -> ImportedComponent:
        top = read_checkpoint(file)
        if AVERAGED in top or LAST in top:
            raise InputError(
                f"checkpoint {shown(file)!r} is of stage 2, expected stage 3", "name that of stage 3 first"
            )
        if REFINEMENT not in top and all(part in top for part in MOTION_PARTS):
            found = f"checkpoint {shown(file)!r} has no {REFINEMENT}: it is of stage 1, expected stage 3"
            raise InputError(found, "motion_decoupling.pth.tar is that of stage 3; stage 1 alone is of the kind tpsm")
        parts = take_parts(top, file, (*MOTION_PARTS, REFINEMENT), (), IGNORED)
        order = skips_first(parts[REFINEMENT])
        params = {**motion_params(parts, file), "refine": True, "refine_skips_first": order, **self.config.model}
        return ImportedComponent("tps", params, joined(parts))

    def _denoiser(self, file: Path, motion_dim: int) -> ImportedComponent:
        tensors = read_denoiser(file)
        columns = extent(tensors, "input_projection.weight", 1, file)
        if columns != 2 * motion_dim:
            found = (
                f"checkpoint {shown(file)!r} is of motion of {columns / 2:g} numbers, that of stage 3 has {motion_dim}"
            )
            raise InputError(found, "take both files of one release")
        params = {
            "motion_dim": motion_dim,
            "audio_dim": extent(tensors, "cond_projection.weight", 1, file),
            "frames": extent(tensors, "null_cond_embed", 1, file),
        }
        if params["audio_dim"] not in ENCODERS:
            found = f"checkpoint {shown(file)!r} hears {params['audio_dim']} audio features"
            raise InputError(f"{found}, expected {' or '.join(map(str, ENCODERS))}", "is it of another project?")
        return ImportedComponent("lmdm", {**params, **self.config.denoiser}, tensors)

    def _audio_encoder(self, audio_dim: int) -> ImportedComponent:
        name, params = ENCODERS[audio_dim]
        if name not in {plugin.name for plugin in registry.list_plugins("audio_encoders")}:
            found = f"the model hears with the audio encoder {name!r} of gesturegen-wavlm, which is not installed"
            raise EnvironmentFault(found, "pip install gesturegen-wavlm, then import again")
        return ImportedComponent(name, {**params, **self.config.audio_encoder}, {})


def read_denoiser(file: Path) -> dict[str, Tensor]:
    """Averaged weights of `motion_diffusion.pt`, or the last ones where it has no averaged ones."""
    top = read_checkpoint(file)
    key = LAST if LAST in top and AVERAGED not in top else AVERAGED
    parts = take_parts(top, file, (key,), (), (LAST, *OTHERS))
    if top.get("normalizer") is not None:
        raise InputError(f"checkpoint {shown(file)!r} has a normalizer, expected none", "it is not as published")
    return parts[key]
