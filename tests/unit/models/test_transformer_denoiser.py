"""What the denoiser listens to and what it must not see."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from gesturegen_cli.errors import ConfigError
from gesturegen_cli.models.transformer_denoiser import TransformerDenoiser
from gesturegen_cli.testing import check_denoiser
from gesturegen_cli.types import Conditioning

TINY = TransformerDenoiser.Config(
    motion_dim=5, audio_dim=6, frames=12, width=16, layers=2, heads=2, feedforward=32, audio_layers=1
)


@pytest.fixture(scope="module")
def denoiser() -> TransformerDenoiser:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return TransformerDenoiser(TINY).eval()


def _inputs(batch: int = 3, frames: int = 12) -> tuple[torch.Tensor, torch.Tensor, Conditioning]:
    g = torch.Generator().manual_seed(1)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=g)

    cond = Conditioning(
        normal(batch, frames, 6), normal(batch, 4, 5), torch.ones(batch, 4), normal(batch, 5), torch.ones(batch)
    )
    return normal(batch, frames, 5), torch.tensor([5, 500, 999])[:batch], cond


def test_keeps_every_promise_of_a_denoiser():
    check_denoiser(TransformerDenoiser(TINY), motion_dim=5, audio_dim=6, frames=12, seed_frames=4)


def test_default_size_stays_in_the_budget_of_the_embedded_bundle():
    assert sum(p.numel() for p in TransformerDenoiser(TransformerDenoiser.Config()).parameters()) <= 5_200_000


@pytest.mark.parametrize("frames", [1, 7, 12])
def test_gives_motion_for_any_window_up_to_its_length(denoiser, frames):
    motion, timestep, cond = _inputs(frames=frames)
    assert denoiser(motion, timestep, cond).shape == motion.shape


def test_longer_window_is_refused_with_both_lengths(denoiser):
    with pytest.raises(ConfigError, match=r"13 frames.* 12"):
        denoiser(*_inputs(frames=13))


def test_items_of_a_batch_do_not_see_each_other(denoiser):
    motion, timestep, cond = _inputs()
    alone = Conditioning(*(getattr(cond, f)[1:2] for f in ("audio", "seed", "seed_valid", "source", "audio_keep")))
    together = denoiser(motion, timestep, cond)[1:2]
    torch.testing.assert_close(denoiser(motion[1:2], timestep[1:2], alone), together, atol=1e-5, rtol=1e-5)


def test_without_audio_keep_the_audio_is_not_heard(denoiser):
    motion, timestep, cond = _inputs()
    deaf = replace(cond, audio_keep=torch.tensor([1.0, 0.0, 1.0]))
    a = denoiser(motion, timestep, deaf)
    b = denoiser(motion, timestep, replace(deaf, audio=cond.audio + 1))
    assert torch.equal(a[1], b[1])
    assert not torch.allclose(a[0], b[0])


def test_invalid_seed_frames_are_not_seen_and_valid_ones_are(denoiser):
    motion, timestep, cond = _inputs()
    for valid, equal in ((0.0, True), (1.0, False)):
        flagged = replace(cond, seed_valid=torch.full((3, 4), valid))
        a = denoiser(motion, timestep, flagged)
        b = denoiser(motion, timestep, replace(flagged, seed=cond.seed + 1))
        assert torch.allclose(a, b) is equal


@pytest.mark.parametrize("name", ["audio", "source"])
def test_condition_matters_everywhere(denoiser, name):
    motion, timestep, cond = _inputs()
    change = denoiser(motion, timestep, replace(cond, **{name: getattr(cond, name) + 1})) - denoiser(
        motion, timestep, cond
    )
    assert (change.abs().amax(dim=-1) > 1e-4).all()


def test_gradients_reach_every_parameter():
    model = TransformerDenoiser(TINY)
    motion, timestep, cond = _inputs()
    model(motion, timestep, replace(cond, audio_keep=torch.tensor([1.0, 0.0, 1.0]))).square().sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_width_that_does_not_split_into_heads_is_refused():
    with pytest.raises(ConfigError, match="width 20"):
        TransformerDenoiser(replace(TINY, width=20, heads=4))
