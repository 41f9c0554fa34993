"""Audio encoders that listen with WavLM, HuBERT or wav2vec 2.0."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from gesturegen_cli.errors import ConfigError
from gesturegen_wavlm.backbone import STEPS_PER_SECOND, Backbone, Settings
from gesturegen_wavlm.layouts import HUBERT_BASE, WAV2VEC2_BASE, WAVLM_BASE, WAVLM_LARGE, Layout

CENTRING = 40
"""Zeros on both sides: the 400 samples that a step sees then lie around the middle of its 320."""


class SpeechEncoder(nn.Module):
    """Hidden states of a pretrained speech model, 50 per second.

    The model itself is frozen, is read at the first call (or by `load`) and is no part of the state dict: bundles keep
    its file name and sha256. Only the weights of a layer mix are.
    """

    layout: ClassVar[Layout]
    cuts_long_speech = True
    """Whole recordings are wanted: normalisation is of the whole, and windows are cut here."""

    @dataclass(frozen=True)
    class Config(Settings):
        """Which weights, which of their layers, and how long speech is cut."""

        layer: int = -1
        """Layer whose output is taken: 1 is the first, -1 the last."""
        layers: tuple[int, ...] = ()
        """Layers whose outputs are averaged; in place of `layer`."""
        mix: bool = False
        """Learn a weighted mean of all layers; in place of `layer`. The weights start equal."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.dim, self.rate = self.layout.width, float(STEPS_PER_SECOND)
        self.backbone = Backbone(self.layout)
        self._chosen = _choose_layers(config, self.layout)
        self.mix = nn.Parameter(torch.zeros(self.layout.layers)) if config.mix else None
        # The core asks a module's parameters and buffers where to send waves, and there may be no others.
        self.register_buffer("place", torch.zeros(1), persistent=False)

    def load(self, device: torch.device | str = "cpu") -> None:
        """Read the weights if that was not done yet, and record in `config` what was read.

        Raises ConfigError: no weights named. InputError: they are missing, damaged or of another model.
        """
        self.config = self.backbone.load(self.config, torch.device(device))

    def forward(self, wave: Tensor) -> Tensor:
        """16 kHz waves `b n` in [-1, 1] -> features `b l c`, l = max(1, round(n / 320)), on the device of the wave.

        Step j is centred at (j + 0.5) / 50 seconds. Computed in float32, given in the type of the wave. Raises as
        `load`, and InputError for waves that are not finite.
        """
        self.load(wave.device)
        windows = self.backbone.iter_states(wave, self.config, self._chosen, CENTRING)
        return torch.cat([self._combine(states) for states in windows], dim=1).to(wave.dtype)

    def _combine(self, states: list[Tensor]) -> Tensor:
        """Outputs of the chosen layers `b l c` -> features `b l c`."""
        if self.mix is not None:
            return torch.einsum("n,nblc->blc", self.mix.float().softmax(dim=0), torch.stack(states))
        return states[0] if len(states) == 1 else torch.stack(states).mean(dim=0)


def _choose_layers(config: SpeechEncoder.Config, layout: Layout) -> tuple[int, ...]:
    """Layers to take, counted from 1. ConfigError for layers that are not there and for two ways of choosing."""
    ways = [bool(config.layers), config.mix, config.layer != -1]
    if sum(ways) > 1:
        raise ConfigError(
            f"layer = {config.layer}, layers = {list(config.layers)} and mix = {str(config.mix).lower()} contradict "
            "each other, expected one of them",
            "leave the other two out",
        )
    if config.mix:
        return tuple(range(1, layout.layers + 1))
    wanted = config.layers or (config.layer,)
    for layer in wanted:
        if layer == 0 or abs(layer) > layout.layers:
            raise ConfigError(
                f"layer {layer} of '{layout.name}', expected 1 to {layout.layers}, or -1 for the last",
                "change audio_encoder.params.layer or layers",
            )
    return tuple(layer if layer > 0 else layout.layers + 1 + layer for layer in wanted)


class WavLMBase(SpeechEncoder):
    """WavLM Base or Base+ (Chen et al. 2022): 12 layers, c = 768."""

    layout = WAVLM_BASE


class WavLMLarge(SpeechEncoder):
    """WavLM Large (Chen et al. 2022): 24 layers, c = 1024."""

    layout = WAVLM_LARGE


class HubertBase(SpeechEncoder):
    """HuBERT Base (Hsu et al. 2021): 12 layers, c = 768."""

    layout = HUBERT_BASE


class Wav2Vec2Base(SpeechEncoder):
    """wav2vec 2.0 Base (Baevski et al. 2020): 12 layers, c = 768."""

    layout = WAV2VEC2_BASE
