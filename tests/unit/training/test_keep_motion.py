import shutil
from pathlib import Path

import pytest
import torch

from gesturegen_cli.bundle import load_component, load_tensors, verify_bundle
from gesturegen_cli.config.load import load_config
from gesturegen_cli.errors import BundleError, ConfigError
from gesturegen_cli.pipeline import Pipeline
from gesturegen_cli.training.deviation_stage import pretrain_deviation
from gesturegen_cli.training.diffusion_stage import train_diffusion

from .dataset_maker import make_dataset


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("data")).root


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def full(tmp_path_factory, data, cache) -> Path:
    """A bundle of both stages."""
    folder = tmp_path_factory.mktemp("full")
    pretrain_deviation(data, folder / "1", settings(), cache=cache)
    train_diffusion(data, folder / "2", settings(), deviation=str(folder / "1/bundle"), cache=cache)
    return folder / "2/bundle"


def settings(*assignments: str, preset: str = "tiny"):
    return load_config(preset, None, assignments, {"device": "cpu"})


def encoded(bundle: Path) -> torch.Tensor:
    model = load_component(verify_bundle(bundle), "deviation").eval()
    frames = torch.rand(2, 3, model.size, model.size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return model.encode(frames)


def test_kept_motion_is_the_same_bit_for_bit_and_pictures_are_learned(full, data, cache, tmp_path, speech_wav):
    pretrain_deviation(data, tmp_path / "run", settings(), init=str(full), keep_motion=True, cache=cache)
    before, after = verify_bundle(full), verify_bundle(tmp_path / "run/bundle")
    assert torch.equal(encoded(before.path), encoded(after.path))
    assert after.spec.kind == "full"
    assert after.spec.window == before.spec.window
    for role in ("denoiser", "normalizer"):
        old, new = (load_tensors(bundle, role) for bundle in (before, after))
        assert all(torch.equal(old[name], new[name]) for name in old)
    old, new = (load_tensors(bundle, "deviation") for bundle in (before, after))
    changed = {name.split(".")[0] for name in old if not torch.equal(old[name], new[name])}
    assert changed == {"motion", "decoder"}
    facts = after.spec.training["deviation"]
    assert facts["inputs"]["init"] == before.digest
    assert facts["inputs"]["kept"] == "motion"
    assert after.spec.training["diffusion"] == before.spec.training["diffusion"]
    pipeline = Pipeline.from_pretrained(after.path, device="cpu")
    picture = tmp_path / "run/samples/00000004.png"
    assert next(pipeline(speech_wav, picture).frames).shape == (64, 64, 3)


def test_weights_that_float16_cannot_hold_are_not_rounded(full, data, cache, tmp_path):
    config = settings("pretrain.bundle_dtype=float16", "pretrain.steps=2")
    pretrain_deviation(data, tmp_path / "run", config, init=str(full), keep_motion=True, cache=cache)
    assert torch.equal(encoded(full), encoded(tmp_path / "run/bundle"))


def test_a_start_that_is_damaged_is_refused_before_anything_learns(full, data, cache, tmp_path):
    shutil.copytree(full, tmp_path / "bad")
    (tmp_path / "bad/denoiser.safetensors").write_bytes(b"nothing")
    with pytest.raises(BundleError):
        pretrain_deviation(
            data, tmp_path / "run", settings(), init=str(tmp_path / "bad"), keep_motion=True, cache=cache
        )
    assert not (tmp_path / "run").exists()


def test_a_run_is_not_continued_with_and_without(full, data, cache, tmp_path):
    pretrain_deviation(data, tmp_path / "run", settings(), init=str(full), keep_motion=True, cache=cache)
    with pytest.raises(ConfigError, match=r"inputs\.kept"):
        pretrain_deviation(data, tmp_path / "run", settings(), init=str(full), cache=cache)


def test_of_a_bundle_without_speech_a_bundle_without_speech_is_made(full, data, cache, tmp_path):
    start = full.parent.parent / "1/bundle"
    pretrain_deviation(data, tmp_path / "run", settings(), init=str(start), keep_motion=True, cache=cache)
    assert verify_bundle(tmp_path / "run/bundle").spec.kind == "deviation"
    assert torch.equal(encoded(start), encoded(tmp_path / "run/bundle"))


def test_rotation_keeps_its_motion_too(data, cache, tmp_path):
    smaller = settings("pretrain.steps=2", "pretrain.batch=2", "deviation_loss.still_steps=0", preset="rotation-tiny")
    pretrain_deviation(data, tmp_path / "a", smaller, cache=cache)
    start = tmp_path / "a/bundle"
    pretrain_deviation(data, tmp_path / "b", smaller, init=str(start), keep_motion=True, cache=cache)
    assert torch.equal(encoded(start), encoded(tmp_path / "b/bundle"))
    old, new = (load_tensors(verify_bundle(tmp_path / name / "bundle"), "deviation") for name in "ab")
    assert {name.split(".")[0] for name in old if not torch.equal(old[name], new[name])} == {"generator"}


def test_motion_cannot_be_kept_without_a_start_nor_by_a_model_that_does_not_say_what_it_hangs_on(
    full, data, cache, tmp_path, monkeypatch
):
    with pytest.raises(ConfigError, match="no motion to keep without a bundle"):
        pretrain_deviation(data, tmp_path / "run", settings(), keep_motion=True, cache=cache)
    monkeypatch.delattr("gesturegen_cli.models.flow_deviation.FlowDeviation.motion_parts")
    with pytest.raises(ConfigError, match="'flow' does not say which parts read motion"):
        pretrain_deviation(data, tmp_path / "run", settings(), init=str(full), keep_motion=True, cache=cache)
    assert not (tmp_path / "run").exists()
