"""Embeddings against their formulas."""

from __future__ import annotations

import math

import torch

from gesturegen_cli.nn.embeddings import rotate, timestep_embedding


def test_timestep_embedding_holds_sines_then_cosines_of_geometric_frequencies():
    embedded = timestep_embedding(torch.tensor([0, 7]), 8)
    frequencies = [10_000 ** (-i / 3) for i in range(4)]
    expected = [math.sin(7 * f) for f in frequencies] + [math.cos(7 * f) for f in frequencies]
    torch.testing.assert_close(embedded[1], torch.tensor(expected))
    torch.testing.assert_close(embedded[0], torch.tensor([0.0] * 4 + [1.0] * 4))


def test_rotation_is_that_of_complex_numbers():
    x = torch.randn(1, 6, 2, 8, generator=torch.Generator().manual_seed(0))
    positions = torch.arange(6)
    turned = torch.view_as_complex(x.reshape(1, 6, 2, 4, 2).double())
    frequency = 10_000 ** (-torch.arange(0, 8, 2).double() / 8)
    phase = torch.exp(1j * positions.double()[:, None] * frequency)[None, :, None, :]
    expected = torch.view_as_real(turned * phase).flatten(-2)
    torch.testing.assert_close(rotate(x, positions).double(), expected, atol=1e-6, rtol=1e-5)


def test_products_of_rotated_vectors_depend_on_distance_only():
    q, k = torch.randn(2, 1, 1, 1, 16, generator=torch.Generator().manual_seed(1))
    at = [(rotate(q, torch.tensor([i])) * rotate(k, torch.tensor([i - 5]))).sum() for i in (5, 20, 80)]
    torch.testing.assert_close(torch.stack(at), at[0].expand(3), atol=1e-4, rtol=1e-4)
