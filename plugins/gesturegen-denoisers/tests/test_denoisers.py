"""What both denoisers promise, for any number of frames and seed frames."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gesturegen_cli import registry
from gesturegen_cli.errors import ConfigError, EnvironmentFault
from gesturegen_cli.nn.transformer import EncoderLayer
from gesturegen_cli.testing import check_denoiser
from gesturegen_cli.types import Conditioning
from gesturegen_denoisers.dit import DiTBlock, DiTDenoiser
from gesturegen_denoisers.unet1d import UNet1DDenoiser

D, C = 5, 6
UNET = UNet1DDenoiser.Config(
    motion_dim=D, audio_dim=C, channels=(8, 16, 24), kernel=3, width=16, heads=2, feedforward=16, audio_layers=1
)
DIT = DiTDenoiser.Config(motion_dim=D, audio_dim=C, width=16, layers=2, heads=2, feedforward=32, audio_layers=1)
SMALL = {"unet1d": (UNet1DDenoiser, UNET), "dit": (DiTDenoiser, DIT)}
NAMES = sorted(SMALL)


def _build(name: str, **changes):
    """A small denoiser in eval mode, all weights random: what starts at zero hides what comes before it."""
    cls, config = SMALL[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = cls(replace(config, **changes)).eval()
        for parameter in model.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
    return model


MODELS = {name: _build(name) for name in NAMES}


def _inputs(frames: int = 12, seeds: int = 4, batch: int = 3):
    draw = torch.Generator().manual_seed(1)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=draw)

    audio, motion = normal(batch, frames, C), normal(batch, frames, D)
    cond = Conditioning(audio, normal(batch, seeds, D), torch.ones(batch, seeds), normal(batch, D), torch.ones(batch))
    return motion, torch.tensor([5, 500, 999])[:batch], cond


def _item(cond: Conditioning, item: int) -> Conditioning:
    return Conditioning(*(value[item : item + 1] for value in vars(cond).values()))


@pytest.mark.parametrize("changes", [{}, {"audio_layers": 0, "heads": 1}, {"audio_layers": 3, "dropout": 0.0}])
@pytest.mark.parametrize("name", NAMES)
def test_keeps_every_promise_of_a_denoiser(name, changes):
    cls, config = SMALL[name]
    check_denoiser(cls(replace(config, **changes)), motion_dim=D, audio_dim=C, frames=13, seed_frames=3)


@pytest.mark.parametrize(
    "changes", [{"channels": (8,)}, {"channels": (8,) * 4, "blocks": 2}, {"attention_layers": 0, "kernel": 1}]
)
def test_unet_of_any_depth_keeps_every_promise(changes):
    model = UNet1DDenoiser(replace(UNET, **changes))
    check_denoiser(model, motion_dim=D, audio_dim=C, frames=13, seed_frames=3)


@pytest.mark.parametrize("name", NAMES)
def test_default_size_keeps_every_promise(name):
    cls = SMALL[name][0]
    check_denoiser(cls(cls.Config()), motion_dim=98, audio_dim=68)


@pytest.mark.parametrize("name", NAMES)
def test_default_size_is_comparable_with_the_built_in(name):
    def parameters(of: str) -> int:
        cls = registry.load_plugin("denoisers", of)
        with torch.device("meta"):
            return sum(p.numel() for p in cls(cls.Config()).parameters())

    assert 0.5 < parameters(name) / parameters("transformer") < 2


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=25, deadline=None)
@given(frames=st.integers(1, 40), seeds=st.integers(0, 9))
def test_any_window_gives_as_many_frames_and_items_do_not_see_each_other(name, frames, seeds):
    model = MODELS[name]
    motion, timestep, cond = _inputs(frames, seeds)
    with torch.no_grad():
        clean = model(motion, timestep, cond)
        alone = model(motion[1:2], timestep[1:2], _item(cond, 1))
    assert clean.shape == motion.shape
    assert clean.isfinite().all()
    torch.testing.assert_close(alone, clean[1:2], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_window_shorter_than_the_deepest_downsampling(frames):
    model = _build("unet1d", channels=(8,) * 6)
    motion, timestep, cond = _inputs(frames, seeds=1)
    assert model(motion, timestep, cond).shape == motion.shape


@pytest.mark.parametrize("name", NAMES)
def test_timesteps_of_any_integer_type_and_layout(name):
    motion, _, cond = _inputs()
    wanted = MODELS[name](motion, torch.tensor([70, 70, 70]), cond)
    for timestep in (torch.tensor(70).expand(3), torch.full((3,), 70, dtype=torch.int32)):
        assert torch.equal(MODELS[name](motion, timestep, cond), wanted)
    assert not torch.allclose(MODELS[name](motion, torch.tensor([71, 700, 0]), cond), wanted, atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_only_valid_seed_frames_are_seen_not_even_nan_of_others(name):
    motion, timestep, cond = _inputs()
    partly = replace(cond, seed_valid=torch.tensor([[0.0, 0.0, 1.0, 1.0]] * 3))
    plain = MODELS[name](motion, timestep, partly)
    for hidden in (7.0, float("nan"), float("inf")):
        seed = cond.seed.clone()
        seed[:, :2] = hidden
        assert torch.equal(MODELS[name](motion, timestep, replace(partly, seed=seed)), plain)
    for seen in (2, 3):
        seed = cond.seed.clone()
        seed[:, seen] += 1
        assert not torch.allclose(MODELS[name](motion, timestep, replace(partly, seed=seed)), plain, atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("part", ["audio", "source", "seed"])
def test_condition_matters_in_every_frame(name, part):
    motion, timestep, cond = _inputs()
    moved = replace(cond, **{part: getattr(cond, part) + 1})
    change = MODELS[name](motion, timestep, moved) - MODELS[name](motion, timestep, cond)
    assert (change.abs().amax(dim=-1) > 1e-4).all()


@pytest.mark.parametrize("name", NAMES)
def test_audio_acts_where_it_is_heard(name):
    """Not only on average: with as little as possible that mixes frames, it changes its own frame most."""
    local = {"kernel": 1, "attention_layers": 0, "channels": (8,)} if name == "unet1d" else {}
    model = _build(name, audio_layers=0, **local)
    motion, timestep, cond = _inputs(frames=9)
    audio = cond.audio.clone()
    audio[:, 6] += 3
    change = (model(motion, timestep, replace(cond, audio=audio)) - model(motion, timestep, cond)).norm(dim=-1)
    assert change.mean(dim=0).argmax() == 6


def test_unet_without_attention_moves_along_with_its_input():
    """Convolutions know no place: what comes 4 frames later goes in and out 4 frames later, away from the ends."""
    model = _build("unet1d", attention_layers=0)
    motion, timestep, cond = _inputs(frames=112, seeds=0)
    deaf = replace(cond, audio_keep=torch.zeros(3))
    late = torch.cat([torch.zeros(3, 4, D), motion], dim=1)[:, :112]
    early, shifted = model(motion, timestep, deaf), model(late, timestep, deaf)
    torch.testing.assert_close(shifted[:, 54:64], early[:, 50:60], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(shifted[:, 50:60], early[:, 50:60], atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_attention_reaches_from_end_to_end(name):
    motion, timestep, cond = _inputs(frames=200)
    moved = motion.clone()
    moved[:, -1] += 3
    change = MODELS[name](moved, timestep, cond) - MODELS[name](motion, timestep, cond)
    assert (change[:, 0].abs() > 0).any()


def test_untrained_dit_block_changes_nothing_and_untrained_dit_predicts_the_mean():
    block = DiTBlock(16, 2, 32, 0.0)
    x, condition = torch.randn(2, 7, 16), torch.randn(2, 16)
    assert torch.equal(block(x, condition, torch.arange(7)), x)
    motion, timestep, cond = _inputs()
    assert not DiTDenoiser(DIT)(motion, timestep, cond).any()


def test_dit_block_with_open_gates_is_a_plain_transformer_layer():
    block, plain = DiTBlock(16, 2, 32, 0.0).double(), EncoderLayer(16, 2, 32, 0.0).double()
    plain.self_attention.load_state_dict(block.attention.state_dict())
    plain.feed_forward.load_state_dict(block.feed_forward.state_dict())
    block.modulation.project.bias.data.unflatten(0, (6, 16))[[2, 5]] = 1.0  # the two gates
    x = torch.randn(2, 7, 16, dtype=torch.float64)
    torch.testing.assert_close(block(x, torch.randn(2, 16).double(), torch.arange(7)), plain(x, torch.arange(7)))


@pytest.mark.parametrize("name", NAMES)
def test_attention_goes_through_the_one_door(name, monkeypatch):
    monkeypatch.setenv("GESTUREGEN_ATTENTION", "xformers")
    with pytest.raises(EnvironmentFault, match="xformers"):
        _build(name, audio_layers=0)(*_inputs())


@pytest.mark.parametrize("name", NAMES)
def test_entry_point_builds_with_the_sizes_of_the_run(name):
    plugin = registry.find_plugin("denoisers", name)
    assert plugin.provider.replace("_", "-") == "gesturegen-denoisers"
    model = registry.build("denoisers", name, {"width": 32}, motion_dim=7, audio_dim=9)
    assert isinstance(model, SMALL[name][0])
    assert (model.config.motion_dim, model.config.audio_dim, model.config.width) == (7, 9, 32)


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("unet1d", {"channels": []}, r"channels \[\] are 0 levels, expected 1 to 8"),
        ("unet1d", {"channels": [8] * 9}, r"9 levels, expected 1 to 8"),
        ("unet1d", {"channels": [64, 0, 64]}, r"hold 0, expected 8 to 4096"),
        ("unet1d", {"channels": [64, -8]}, r"hold -8, expected 8 to 4096"),
        ("unet1d", {"channels": 64}, r"unet1d.params.channels = 64, expected a list"),
        ("unet1d", {"channels": [64, "wide"]}, r"channels\[1\] = 'wide', expected a whole number"),
        ("unet1d", {"channels": [64, 70]}, r"the last of channels 70 does not divide into 4 heads"),
        ("unet1d", {"kernel": 4}, r"kernel 4 is even, expected an odd number"),
        ("unet1d", {"kernel": 0}, r"unet1d.params.kernel = 0, expected at least 1"),
        ("unet1d", {"width": 20}, r"width 20 does not divide into 4 heads of even size"),
        ("unet1d", {"blocks": 0}, r"blocks = 0, expected at least 1"),
        ("dit", {"width": 20}, r"width 20 does not divide into 4 heads of even size"),
        ("dit", {"heads": 0}, r"heads = 0, expected at least 1"),
        ("dit", {"dropout": 1.0}, r"dropout = 1.0, expected at most 0.9"),
        ("dit", {"layers": "many"}, r"layers = 'many', expected a whole number"),
        ("dit", {"depth": 3}, r"unknown key 'dit.params.depth'"),
    ],
)
def test_bad_settings_are_refused_with_value_and_expectation(name, params, message):
    with pytest.raises(ConfigError, match=message) as caught:
        registry.build("denoisers", name, params)
    assert caught.value.hint
