"""The normaliser against plain means and deviations."""

from __future__ import annotations

import pytest
import torch

from gesturegen_cli.data.normalizer import MIN_STD, Normalizer, fit_normalizer
from gesturegen_cli.errors import BundleError, InputError


def _motions() -> list[torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    return [torch.randn(t, 3, generator=g) * torch.tensor([1.0, 5.0, 0.0]) + 100 for t in (4, 1, 0, 50)]


def test_one_pass_equals_mean_and_deviation_of_everything():
    fitted, everything = fit_normalizer(_motions()), torch.cat(_motions()).double()
    torch.testing.assert_close(fitted.mean.double(), everything.mean(dim=0), atol=1e-5, rtol=1e-6)
    torch.testing.assert_close(fitted.std[:2].double(), everything.std(dim=0, correction=0)[:2], atol=1e-5, rtol=1e-5)
    assert fitted.std[2] == pytest.approx(MIN_STD)


def test_there_and_back():
    fitted, motion = fit_normalizer(_motions()), torch.cat(_motions())
    normal = fitted.normalize(motion)
    assert normal[:, :2].mean().abs() < 1e-4
    torch.testing.assert_close(fitted.denormalize(normal), motion)


def test_survives_a_bundle_and_refuses_another_size():
    fitted = fit_normalizer(_motions())
    assert torch.equal(Normalizer.from_tensors(fitted.tensors(), 3).mean, fitted.mean)
    with pytest.raises(BundleError, match="4 numbers"):
        Normalizer.from_tensors(fitted.tensors(), 4)
    with pytest.raises(BundleError, match="not positive"):
        Normalizer.from_tensors({"mean": torch.zeros(3), "std": torch.zeros(3)}, 3)


def test_no_motion_is_an_input_error():
    with pytest.raises(InputError, match="no motion"):
        fit_normalizer([])
