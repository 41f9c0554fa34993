"""The one door to attention: xformers on CUDA where its kernels run, torch everywhere else."""

from __future__ import annotations

import functools
import logging
import os
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from gesturegen_cli.errors import ConfigError, EnvironmentFault

ENVIRONMENT = "GESTUREGEN_ATTENTION"
BACKENDS = ("auto", "xformers", "sdpa")


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q k' / sqrt(e)) v per head, no mask.

    q `b t k e`, k and v `b m k e` (k heads of size e, m positions attended to) -> `b t k e`.
    The environment variable GESTUREGEN_ATTENTION chooses the backend (auto, xformers, sdpa); a backend that is
    asked for and cannot run is an EnvironmentFault, never replaced in silence.
    """
    backend = choose_backend(os.environ.get(ENVIRONMENT, "auto"), q.device, q.dtype)
    _tell(backend, q.device.type)
    if backend == "xformers":
        return _xformers_function()(q, k, v)  # type: ignore[no-any-return] # xformers carries no types
    result = functional.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
    return result.transpose(1, 2)


def choose_backend(wanted: str, device: torch.device, dtype: torch.dtype) -> str:
    """`xformers` or `sdpa` for tensors of that device and type."""
    if wanted not in BACKENDS:
        raise ConfigError(f"{ENVIRONMENT} is {wanted!r}, expected one of {', '.join(BACKENDS)}", f"unset {ENVIRONMENT}")
    if wanted == "sdpa":
        return "sdpa"
    fault = _xformers_fault(device.type, dtype)
    if wanted == "xformers" and fault:
        raise EnvironmentFault(
            f"{ENVIRONMENT} asks for xformers, which cannot run here: {fault}",
            f"install gesturegen[gpu] on a machine with CUDA, or set {ENVIRONMENT}=auto",
        )
    return "sdpa" if fault else "xformers"


@functools.cache
def _tell(backend: str, device_type: str) -> None:
    """Log the choice, once per device."""
    names = {"sdpa": "scaled_dot_product_attention of torch", "xformers": "memory_efficient_attention of xformers"}
    logging.getLogger(__name__).info("attention on %s: %s", device_type, names[backend])


@functools.cache
def _xformers_fault(device_type: str, dtype: torch.dtype) -> str:
    """Why xformers cannot compute this, empty if it can. Runs its kernel, because some builds import without them."""
    if device_type != "cuda":
        return f"it needs CUDA tensors, these are on {device_type}"
    probe = torch.zeros(1, 8, 2, 16, device=device_type, dtype=dtype)
    try:
        _xformers_function()(probe, probe, probe)
    except (ImportError, NotImplementedError, RuntimeError, ValueError) as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason given'}"
    return ""


@functools.cache
def _xformers_function() -> Any:
    from xformers.ops import memory_efficient_attention

    return memory_efficient_attention
