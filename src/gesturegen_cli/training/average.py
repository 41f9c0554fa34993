"""Moving average of a model's weights: steadier than the last step's, so it is what checks and bundles use."""

from __future__ import annotations

import copy

import torch
from diffusers.training_utils import EMAModel
from torch import Tensor, nn


class WeightAverage:
    """diffusers' EMA of the parameters, and the same average of the statistics of batch norms.

    EMAModel would pair averaged weights with the statistics of the last step's weights.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._parameters = EMAModel(list(module.parameters()), decay=decay)
        self._statistics = {k: v.detach().clone() for k, v in module.named_buffers() if v.is_floating_point()}
        self._names = [name for name, _ in module.named_parameters()]

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The averages by their names in the model; to be filled in place."""
        return {**dict(zip(self._names, self._parameters.shadow_params, strict=True)), **self._statistics}

    @property
    def updates(self) -> int:
        """Updates so far: the average forgets its start faster while there are few (diffusers' rule)."""
        return int(self._parameters.optimization_step)

    @updates.setter
    def updates(self, count: int) -> None:
        self._parameters.optimization_step = count

    def update(self, module: nn.Module) -> None:
        """Take in the module after an optimiser step."""
        self._parameters.step(list(module.parameters()))
        keep = self._parameters.cur_decay_value
        with torch.no_grad():
            for name, value in module.named_buffers():
                if name in self._statistics:
                    self._statistics[name].lerp_(value, 1 - keep)

    def restore_statistics(self, module: nn.Module) -> None:
        """Put the averaged batch statistics back: a pass that was not finite may have spoiled the module's own."""
        with torch.no_grad():
            for name, value in module.named_buffers():
                if name in self._statistics:
                    value.copy_(self._statistics[name])

    def module(self, module: nn.Module) -> nn.Module:
        """A copy of the module with the averages, in eval mode."""
        averaged = copy.deepcopy(module).eval().requires_grad_(False)
        own = {**dict(averaged.named_parameters()), **dict(averaged.named_buffers())}
        with torch.no_grad():
            for name, value in self.tensors.items():
                own[name].copy_(value)
        return averaged
