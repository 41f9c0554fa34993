import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from gesturegen_cli.bundle import load_component, load_tensors, verify_bundle, write_bundle
from gesturegen_cli.config.load import load_config
from gesturegen_cli.errors import ConfigError, InputError
from gesturegen_cli.training.deviation_stage import pretrain_deviation
from gesturegen_cli.training.diffusion_stage import train_diffusion

from .dataset_maker import make_dataset


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("plain")).root


@pytest.fixture(scope="module")
def labelled(tmp_path_factory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("labelled"), labels=True).root


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def stage1(tmp_path_factory, data, cache) -> Path:
    run = tmp_path_factory.mktemp("stage1") / "run"
    pretrain_deviation(data, run, tiny(), cache=cache)
    return run


def tiny(*assignments: str):
    return load_config("tiny", None, assignments, {"device": "cpu"})


def logged(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_stage_1_makes_a_bundle_samples_and_a_log_without_labels(stage1):
    bundle = verify_bundle(stage1 / "bundle")
    assert bundle.spec.kind == "deviation"
    assert bundle.spec.size == 64
    facts = bundle.spec.training["deviation"]
    assert (facts["clips"], facts["steps"], facts["batch"], facts["data"]) == (2, 4, 4, "drawn")
    assert "Training" in (stage1 / "bundle" / "README.md").read_text()
    assert {"image", "gradient", "warped", "synthetic", "photometric", "equivariance"} <= set(logged(stage1)[0])
    assert "joint_px" not in logged(stage1)[0]
    assert [p.name for p in (stage1 / "samples").iterdir()] == ["00000004.png"]
    assert {p.suffix for p in stage1.rglob("*") if p.is_file() and "tensorboard" not in str(p)} <= {
        ".safetensors", ".json", ".jsonl", ".png", ".yaml", ".md", "",
    }  # fmt: skip


def test_labels_add_their_losses_and_errors_in_pixels(labelled, cache, tmp_path):
    pretrain_deviation(labelled, tmp_path / "run", tiny("pretrain.steps=2"), cache=cache)
    assert {"joints", "heatmap", "layers", "composed", "flow", "visibility", "blend"} <= set(
        logged(tmp_path / "run")[0]
    )
    assert 0 < logged(tmp_path / "run")[0]["joint_px"] < 64


def test_stage_1_continued_equals_stage_1_at_once_bit_for_bit(labelled, cache, tmp_path):
    constant = "pretrain.lr_schedule=constant"
    pretrain_deviation(labelled, tmp_path / "whole", tiny(constant, "pretrain.steps=6"), cache=cache)
    for steps in (3, 6):
        pretrain_deviation(labelled, tmp_path / "split", tiny(constant, f"pretrain.steps={steps}"), cache=cache)
    for name in ("checkpoints/00000006/model", "checkpoints/00000006/optimizer", "bundle/deviation"):
        whole, split = (load_file(tmp_path / run / f"{name}.safetensors") for run in ("whole", "split"))
        assert whole.keys() == split.keys()
        assert all(torch.equal(whole[key], split[key]) for key in whole), name


def test_a_finished_run_is_left_as_it_is(stage1, data, cache):
    before = (stage1 / "bundle" / "gesturegen.yaml").read_bytes()
    assert pretrain_deviation(data, stage1, tiny(), cache=cache).steps == 4
    assert (stage1 / "bundle" / "gesturegen.yaml").read_bytes() == before


def test_other_settings_in_a_run_folder_are_refused(stage1, data, cache):
    with pytest.raises(ConfigError, match=r"config\.pretrain\.batch \(4, now 2\)"):
        pretrain_deviation(data, stage1, tiny("pretrain.batch=2"), cache=cache)


def test_init_starts_from_the_weights_of_a_bundle(stage1, data, cache, tmp_path):
    config = tiny("pretrain.steps=1", "pretrain.learning_rate=0", "pretrain.weight_decay=0")
    pretrain_deviation(data, tmp_path / "run", config, init=str(stage1 / "bundle"), cache=cache)
    start, end = (load_tensors(verify_bundle(run / "bundle"), "deviation") for run in (stage1, tmp_path / "run"))
    weights = [name for name in start if "running" not in name and "num_batches" not in name]
    assert all(torch.equal(start[name], end[name]) for name in weights)
    assert logged(tmp_path / "run")[0]["anchor"] >= 0


def test_a_folder_that_is_no_dataset_is_refused(tmp_path, cache):
    with pytest.raises(InputError, match="dataset"):
        pretrain_deviation(tmp_path, tmp_path / "run", tiny(), cache=cache)
    assert not (tmp_path / "run").exists()


def test_pictures_of_another_size_are_refused(data, cache, tmp_path):
    with pytest.raises(InputError, match="128 x 128 pixels, the dataset has 64 x 64"):
        pretrain_deviation(data, tmp_path / "run", tiny("deviation.params.size=128"), cache=cache)


def test_a_dataset_without_training_clips_is_refused(cache, tmp_path):
    make_dataset(tmp_path / "data", train=0, val=1, seconds=1)
    with pytest.raises(InputError, match="no training clips"):
        pretrain_deviation(tmp_path / "data", tmp_path / "run", tiny(), cache=cache)


def test_a_broken_video_is_named_by_its_clip(cache, tmp_path):
    dataset = make_dataset(tmp_path / "data", train=1, val=0, seconds=1)
    clip = replace(dataset.clips[0], frames=100, seconds=4.0)  # the manifest says more than the file holds
    from gesturegen_cli.data.manifest import write_dataset

    write_dataset(dataset.root, [clip], fps=25.0, size=64, source="drawn")
    with pytest.raises(InputError, match="clip clip-0"):
        pretrain_deviation(dataset.root, tmp_path / "run", tiny(), cache=tmp_path / "cache")


def test_stage_2_makes_a_full_bundle_around_the_same_deviation_model(stage1, data, cache, tmp_path):
    summary = train_diffusion(data, tmp_path / "run", tiny(), deviation=str(stage1 / "bundle"), cache=cache)
    bundle = verify_bundle(tmp_path / "run" / "bundle")
    assert bundle.spec.kind == "full"
    assert bundle.spec.window.frames == 16
    assert set(bundle.spec.training) == {"deviation", "diffusion"}
    assert set(bundle.components) == {"deviation", "audio_encoder", "denoiser", "normalizer"}
    given, copied = (load_tensors(b, "deviation") for b in (verify_bundle(stage1 / "bundle"), bundle))
    assert all(torch.equal(given[name], copied[name]) for name in given)
    assert load_component(bundle, "denoiser").config.motion_dim == load_component(bundle, "deviation").motion_dim
    assert summary.metrics["check_diffusion"] > 0
    assert {"position", "velocity", "acceleration"} <= set(logged(tmp_path / "run")[0])
    assert (tmp_path / "run" / "samples" / "00000004.png").is_file()


def test_stage_2_continued_equals_stage_2_at_once_bit_for_bit(stage1, data, cache, tmp_path):
    given = str(stage1 / "bundle")
    constant = "train.lr_schedule=constant"
    train_diffusion(data, tmp_path / "whole", tiny(constant, "train.steps=6"), deviation=given, cache=cache)
    for steps in (3, 6):
        train_diffusion(data, tmp_path / "split", tiny(constant, f"train.steps={steps}"), deviation=given, cache=cache)
    whole, split = (load_file(tmp_path / r / "bundle" / "denoiser.safetensors") for r in ("whole", "split"))
    assert all(torch.equal(whole[key], split[key]) for key in whole)


def test_stage_2_starts_from_a_full_bundle_with_its_normaliser(stage1, data, cache, tmp_path):
    given = str(stage1 / "bundle")
    train_diffusion(data, tmp_path / "a", tiny("train.steps=1"), deviation=given, cache=cache)
    first = verify_bundle(tmp_path / "a" / "bundle")
    tensors = {role: load_tensors(first, role) for role in first.components if first.components[role].file}
    tensors["normalizer"]["mean"] += 1
    changed = write_bundle(tmp_path / "b", first.spec, first.components, tensors, "")
    config = tiny("train.steps=1", "train.learning_rate=0", "train.weight_decay=0")
    train_diffusion(data, tmp_path / "c", config, deviation=given, init=str(changed.path), cache=cache)
    last = verify_bundle(tmp_path / "c" / "bundle")
    for role in ("normalizer", "denoiser"):
        assert all(torch.equal(v, tensors[role][k]) for k, v in load_tensors(last, role).items()), role


def test_stage_2_from_a_bundle_with_another_deviation_model_measures_motion_anew(stage1, data, cache, tmp_path):
    given = str(stage1 / "bundle")
    config = tiny("train.steps=1", "train.learning_rate=0", "train.weight_decay=0")
    train_diffusion(data, tmp_path / "a", config, deviation=given, cache=cache)
    first = verify_bundle(tmp_path / "a" / "bundle")
    tensors = {role: load_tensors(first, role) for role in first.components if first.components[role].file}
    expected = {name: value.clone() for name, value in tensors["normalizer"].items()}
    tensors["normalizer"]["mean"] += 1
    max(tensors["deviation"].values(), key=torch.numel).add_(1)
    other = write_bundle(tmp_path / "b", first.spec, first.components, tensors, "")
    train_diffusion(data, tmp_path / "c", config, deviation=given, init=str(other.path), cache=cache)
    last = load_tensors(verify_bundle(tmp_path / "c" / "bundle"), "normalizer")
    assert all(torch.equal(last[name], expected[name]) for name in expected)


def test_clips_shorter_than_a_window_are_counted_or_refused(stage1, cache, tmp_path):
    given = str(stage1 / "bundle")
    root = make_dataset(tmp_path / "data", train=1, val=0, seconds=1).root
    with pytest.raises(InputError, match="as long as a window of 80 frames"):
        train_diffusion(root, tmp_path / "run", tiny("window.frames=80"), deviation=given, cache=cache)
    shutil.rmtree(tmp_path / "run")
    heard: list[str] = []
    train_diffusion(
        root, tmp_path / "run", tiny("train.steps=1"), deviation=given, cache=cache, on_warning=heard.append
    )
    assert heard == []


def test_windows_that_overlap_wholly_are_refused_before_anything_is_read(tmp_path):
    config = tiny("window.frames=16", "sampling.overlap=16")
    with pytest.raises(ConfigError, match=r"sampling.overlap = 16, the model's windows have 16 frames"):
        train_diffusion(tmp_path / "no data", tmp_path / "run", config, deviation="no bundle")
    assert not (tmp_path / "run").exists()


def test_the_number_of_threads_holds_for_making_the_data_ready_too(data, cache, tmp_path):
    seen, before = [], torch.get_num_threads()
    try:
        for stage, folder in ((pretrain_deviation, "one"), (train_diffusion, "two")):
            torch.set_num_threads(before + 2)
            given = {"deviation": str(tmp_path / "one" / "bundle")} if stage is train_diffusion else {}
            stage(
                data,
                tmp_path / folder,
                tiny(*(f"{name}.{key}=1" for name in ("pretrain", "train") for key in ("threads", "steps"))),
                cache=tmp_path / "cache",
                on_clip=lambda *_: seen.append(torch.get_num_threads()),
                **given,
            )
    finally:
        torch.set_num_threads(before)
    assert seen
    assert set(seen) == {1}
