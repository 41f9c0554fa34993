"""Tiny `flow` models and batches of pairs for the tests of its parts."""

import torch

from gesturegen_cli.models.flow_deviation import FlowDeviation


def build(config: FlowDeviation.Config, disturb: float = 0.05) -> FlowDeviation:
    """A model whose zeroed layers, and with them everything before, do something."""
    torch.manual_seed(0)
    model = FlowDeviation(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(disturb * torch.randn_like(parameter))
    return model


def pairs(labelled: bool) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    batch = {name: torch.rand(2, 3, 64, 64, generator=generator) for name in ("source", "driving")}
    batch |= {f"{name}_input": batch[name] for name in ("source", "driving")}
    if labelled:
        for role in ("source", "driving"):
            batch[f"{role}_joints"] = torch.rand(2, 25, 2, generator=generator) * 1.6 - 0.8
            batch[f"{role}_parts"] = torch.randint(0, 13, (2, 16, 16), generator=generator)
        batch["grid"] = torch.rand(2, 16, 16, 2, generator=generator) * 2 - 1
        batch["visible"] = (torch.rand(2, 1, 16, 16, generator=generator) > 0.3).float()
        batch["desk"], batch["mirrored"] = torch.tensor([2.0, 0.5]), torch.tensor([False, True])
    return batch
