"""Optimisers by name."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from gesturegen_cli.config.schema import Training
from gesturegen_cli.errors import ConfigError, EnvironmentFault


def build_optimizer(parameters: Iterable[nn.Parameter], config: Training) -> torch.optim.Optimizer:
    """The optimiser `config.optimizer` over all parameters, with its learning rate, decay rates and weight decay.

    Weight decay is decoupled from the gradient: AdamW shrinks weights before a step, Adan after it, by
    1 / (1 + learning rate * weight decay), as published (Xie et al. 2022, algorithm 1).
    ConfigError: a decay rate outside [0, 1). EnvironmentFault: adan without its package.
    """
    key = "adan_betas" if config.optimizer == "adan" else "betas"
    betas = getattr(config, key)
    if not all(0 <= beta < 1 for beta in betas):
        raise ConfigError(f"{key} = {list(betas)}, expected numbers from 0 to below 1", "the defaults are a good start")
    if config.optimizer == "adamw":
        return torch.optim.AdamW(parameters, config.learning_rate, betas, weight_decay=config.weight_decay)
    return _adan(parameters, config)


def _adan(parameters: Iterable[nn.Parameter], config: Training) -> torch.optim.Optimizer:
    try:
        from pytorch_optimizer import Adan
    except ImportError as error:
        message = f"optimizer 'adan' needs the package pytorch-optimizer ({error})"
        raise EnvironmentFault(message, "pip install 'gesturegen[adan]', or use optimizer adamw") from error
    # The package says decoupled for AdamW's kind of decay; without that word it does Adan's own (see above).
    optimizer: torch.optim.Optimizer = Adan(
        parameters, config.learning_rate, config.adan_betas, weight_decay=config.weight_decay, weight_decouple=False
    )
    return optimizer
