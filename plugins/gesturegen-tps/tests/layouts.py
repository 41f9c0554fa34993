"""Names and shapes of the published weights, as digests of their sorted `name shape` lines."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from torch import Tensor

TPSM = {
    "inpainting_network": (78, "b2b87e96c9ed8805", 24_737_283),
    "dense_motion_network": (59, "bcf5bb0e117595f1", 37_941_397),
    "kp_detector": (122, "e3c18f3d24e53e19", 11_227_812),
    "bg_predictor": (122, "a179aeb882121ff3", 11_188_998),
}
S2G = {
    "kp_detector": (122, "c99b16b09f9ae6f6", 11_279_112),
    "dense_motion_network": (59, "94449081d4d0fddf", 38_364_647),
    "inpainting_network": (78, "b2b87e96c9ed8805", 24_737_283),
    "e2e_generator": (132, "67c8731ca9a5f30f", 54_845_315),
}
"""Part -> (tensors, digest, parameters)."""
LMDM = (249, "a769b2e9ea82255c")


def described(tensors: Mapping[str, Tensor]) -> tuple[int, str]:
    """Number of tensors, and the digest of their names and shapes."""
    lines = sorted(f"{name} {list(tensor.shape)}" for name, tensor in tensors.items())
    return len(lines), hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
