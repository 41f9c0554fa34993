"""A pretrained speech model as a tool: loaded when it is first needed, frozen, and run over long speech in windows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from gesturegen_cli.config.schema import choice, ranged
from gesturegen_cli.errors import InputError
from gesturegen_wavlm.layouts import HOP, RECEPTIVE, Layout, build_skeleton
from gesturegen_wavlm.weights import read_weights

STEPS_PER_SECOND = 50


@dataclass(frozen=True)
class Settings:
    """What every encoder with a speech model lets its user set: which weights, and how long speech is cut."""

    weights: str = ""
    """Weights file or Hugging Face folder; if it is not there, its base name is looked up in GESTUREGEN_WEIGHTS."""
    sha256: str = ""
    """Of the weights file; filled in when it is read, and a file with another one is refused from then on."""
    normalize: str = choice("auto", "auto", "yes", "no")
    """Bring waves to zero mean and unit variance; `auto` (as the weights say) is filled in likewise."""
    chunk_seconds: float = ranged(30.0, 1, 600)
    """Longer speech goes through the model in chunks of this length."""
    context_seconds: float = ranged(1.0, 0, 60)
    """Speech around a chunk that goes through the model with it."""


S = TypeVar("S", bound=Settings)


class Backbone:
    """One speech model. Not a module: its weights are no part of the encoder that holds it, nor of its state dict.

    Copies share the weights, which nothing changes.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._sha256 = ""
        self._normalizes = False
        self._epsilon = 0.0
        self._model: Any = None

    def __deepcopy__(self, memo: dict[int, Any]) -> Backbone:
        twin = Backbone(self.layout)
        vars(twin).update(vars(self))
        return twin

    def load(self, settings: S, device: torch.device) -> S:
        """Have the weights on `device`, reading them from disk the first time. Raises as `read_weights`.

        Returns the settings with `sha256` and `normalize` as they were found.
        """
        with torch.inference_mode(False):  # tensors made in that mode could never take part in training
            if self._model is None:
                weights = read_weights(self.layout, settings.weights, settings.sha256)
                told = {"yes": True, "no": False}.get(settings.normalize, weights.normalize)
                self._sha256, self._normalizes, self._epsilon = weights.sha256, told, weights.epsilon
                self._model = self._filled(dict(weights.tensors), device)
            elif next(self._model.parameters()).device != device:
                # A new model rather than a moved one: copies of this backbone may go on using that.
                self._model = self._filled(self._model.state_dict(), device)
        return replace(settings, sha256=self._sha256, normalize="yes" if self._normalizes else "no")

    def _filled(self, tensors: dict[str, Tensor], device: torch.device) -> nn.Module:
        model = build_skeleton(self.layout)
        model.load_state_dict({name: value.to(device) for name, value in tensors.items()}, assign=True)
        return model.requires_grad_(False)

    def iter_states(
        self, wave: Tensor, settings: Settings, layers: tuple[int, ...], margin: int
    ) -> Iterator[list[Tensor]]:
        """Outputs `b l c` of `layers` (1 is the first) for a wave `b n`, window by window; the windows' l add up.

        `margin` zeros are put on both sides of a window. With 40, step j is centred at sample 320 j + 160 and there are
        round(n / 320) steps, at least 1; with 0, at 320 j + 200 and floor((n - 400) / 320) + 1.

        Speech longer than chunk + 2 contexts is cut into chunks of whole steps, and each is encoded with its context.
        With the default 30 s and 1 s these are the very windows into which gesturegen_cli.data.features cuts, so that
        its pieces and the whole recording give the same. The wave is normalised before it is cut.
        """
        wave = self._prepare(wave)
        outside = RECEPTIVE - HOP - 2 * margin
        steps = max(1, round(wave.shape[-1] / HOP) if margin else (wave.shape[-1] - outside) // HOP)
        wave = functional.pad(wave, (0, max(0, steps * HOP + outside - wave.shape[-1])))
        for begin, end, first, last in cut_windows(
            steps,
            max(1, round(settings.chunk_seconds * STEPS_PER_SECOND)),
            round(settings.context_seconds * STEPS_PER_SECOND),
        ):
            piece = functional.pad(wave[:, begin * HOP : end * HOP + outside], (margin, margin))
            yield [state[:, first - begin : last - begin] for state in self._run(piece, layers)]

    def _prepare(self, wave: Tensor) -> Tensor:
        """The wave as float32, of zero mean and unit variance per item where the model expects that."""
        require_finite(wave)
        wave = wave.float()
        if self._normalizes and wave.shape[-1]:
            wave = functional.layer_norm(wave, wave.shape[-1:], eps=self._epsilon)
        return wave

    @torch.no_grad()
    def _run(self, wave: Tensor, layers: tuple[int, ...]) -> list[Tensor]:
        """Outputs of `layers` for one window `b n`, always in float32.

        The last layer of a large model includes the layer norm that ends its transformer, as `extract_features` of the
        original and `last_hidden_state` of Hugging Face do.
        """
        with torch.autocast(wave.device.type, enabled=False):
            states: list[Tensor] = self._model.extract_features(wave, num_layers=max(layers))[0]
            if self.layout.large and len(states) == self.layout.layers:
                states[-1] = self._model.encoder.transformer.layer_norm(states[-1])
        return [states[layer - 1] for layer in layers]


def require_finite(wave: Tensor) -> None:
    """InputError when a sample of the wave is NaN or infinite."""
    if not bool(wave.isfinite().all()):
        raise InputError("speech holds samples that are not finite, expected [-1, 1]", "save the recording again")


def cut_windows(steps: int, chunk: int, context: int) -> Iterator[tuple[int, int, int, int]]:
    """Windows over `steps`: begin and end of what is looked at, first and last (exclusive) of what is kept.

    One window where it is no longer than a chunk with its context on both sides.
    """
    if steps <= chunk + 2 * context:
        yield 0, steps, 0, steps
        return
    for first in range(0, steps, chunk):
        last = min(steps, first + chunk)
        yield max(0, first - context), min(steps, last + context), first, last
