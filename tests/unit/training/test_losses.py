"""The losses of stage 1 for models without losses of their own (docs/method.md)."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from gesturegen_cli.bundle import load_component, load_tensors, open_bundle, verify_bundle, write_bundle
from gesturegen_cli.config.load import load_config
from gesturegen_cli.config.schema import DeviationLoss
from gesturegen_cli.errors import ConfigError, InputError
from gesturegen_cli.nn import perceptual
from gesturegen_cli.nn.perceptual import Vgg19
from gesturegen_cli.training import vgg_weights
from gesturegen_cli.training.deviation_stage import pretrain_deviation
from gesturegen_cli.training.diffusion_stage import train_diffusion
from gesturegen_cli.training.losses import (
    Objective,
    animate_pairs,
    box_losses,
    held_still,
    jitter,
    moving_loss,
    trainee,
)
from gesturegen_cli.training.vgg_weights import load_vgg19

from .dataset_maker import make_dataset

SMALL = (
    "deviation.params.extractor_channels=[8,8,16,16]",
    "deviation.params.extractor_blocks=[1,1,1]",
    "deviation.params.source_channels=[8,8,16,16]",
    "deviation.params.source_blocks=1",
    "deviation.params.neutral_channels=[16,24]",
    "deviation.params.field_channels=[8,8,16,32]",
    "deviation.params.field_blocks=1",
    "deviation.params.decoder_blocks=1",
)
SHORT = ("steps=4", "batch=4", "workers=0", "warmup=1", "log_every=1", "save_every=2", "sample_every=4")


class Tinted(nn.Module):
    """The simplest deviation model: motion is the mean colour, which it adds to the source."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(0.5))

    def encode(self, frames):
        return frames.mean((2, 3)) * self.gain

    def encode_source(self, source):
        assert len(source) == 1
        return source

    def animate(self, source, motion):
        return (source + motion[:, :, None, None]).clamp(0, 1)


def rotation(*assignments: str):
    stages = [f"{stage}.{setting}" for stage in ("pretrain", "train") for setting in SHORT]
    sizes = ("window.frames=16", "sampling.steps=2", "denoiser.params.width=16", "denoiser.params.layers=1")
    return load_config(
        "rotation-tiny",
        None,
        (*SMALL, *stages, *sizes, "deviation_loss.still_steps=0", *assignments),
        {"device": "cpu"},
    )


def logged(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def pairs(count=2, size=32):
    draw = torch.Generator().manual_seed(1)
    return {
        name: torch.rand(count, 3, size, size, generator=draw)
        for name in ("source", "driving", "driving_input", "source_input")
    }


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("labelled"), labels=True).root


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


def test_boxes_count_equally_whatever_their_area():
    image, target = torch.zeros(2, 3, 8, 8), torch.zeros(2, 3, 8, 8)
    image[0, :, :4, :4] = 0.5  # upper left quarter
    image[1, :, 6:, 6:] = 0.25
    quarter, corner, nowhere = [-1.0, -1.0, 0.0, 0.0], [0.5, 0.5, 1.0, 1.0], [2.0, 2.0, 3.0, 3.0]
    boxes = torch.tensor([[quarter, corner, nowhere], [quarter, corner, nowhere]])
    assert box_losses(image, target, boxes).tolist() == [0.25, 0.125, 0.0]
    partly = torch.tensor([[quarter], [nowhere]])  # a box outside the picture is no sample
    assert box_losses(image, target, partly).tolist() == [0.5]


def test_where_nothing_moves_the_moving_loss_sees_nothing():
    source = torch.zeros(1, 3, 8, 8)
    target = source.clone()
    target[..., :2, :] = 0.8
    target[..., 2:4, :] = 0.4
    assert float(moving_loss(target, target, source)) == 0
    assert float(moving_loss(source, target, source)) == pytest.approx((0.8 * 0.8 + 0.4 * 0.4) / 1.2)
    changed_background = target.clone()
    changed_background[..., 6:, :] = 0.5
    assert float(moving_loss(changed_background, target, source)) == 0
    assert float(moving_loss(target, source, source)) == 0


def test_jitter_changes_colours_and_sharpness_but_no_place():
    frames = torch.zeros(64, 3, 16, 16)
    frames[:, :, 4:12, 4:12] = 0.6
    seen = jitter(frames, torch.Generator().manual_seed(0))
    assert torch.equal(seen, jitter(frames, torch.Generator().manual_seed(0)))
    means = seen[:, :, 6:10, 6:10].mean((2, 3))
    assert means.std() > 0.02
    assert ((means - 0.6).abs() < 0.17).all()
    bright = seen[:, :, 8] > seen.amax((2, 3))[..., None] / 2  # a row through the square
    assert torch.equal(bright.all(1), frames[:, 0, 8] > 0.3)
    blurred = ((seen[:, 0, 8, 3] - seen[:, 0, 0, 0]).abs() > 0.05).float().mean()
    assert 0.1 < blurred < 0.5


def test_models_that_take_one_picture_at_a_time_learn_from_batches():
    model, batch = Tinted(), pairs()
    images = animate_pairs(model, batch["source"], model.encode(batch["driving"]))
    assert images.shape == batch["source"].shape
    terms = Objective(DeviationLoss())(model, batch, torch.Generator(), 0)
    assert set(terms) == {"image", "gradient", "moving"}


def test_optional_terms_come_with_what_they_need():
    batch = {**pairs(), "boxes": torch.tensor([[[-1.0, -1, 1, 1]] * 3] * 2)}
    objective = Objective(DeviationLoss(cycle=1.0), Vgg19(tuple(min(w, 4) for w in perceptual.WIDTHS)))
    terms = objective(Tinted(), batch, torch.Generator().manual_seed(0), 0)
    assert set(terms) == {"image", "gradient", "moving", "hands", "mouth", "perceptual", "cycle"}
    assert float(terms["hands"]) == pytest.approx(2 * float(terms["image"]), rel=1e-5)
    assert float(terms["mouth"]) == pytest.approx(float(terms["image"]), rel=1e-5)


def test_the_discriminator_comes_in_late_and_learns_only_by_its_own_term():
    torch.manual_seed(0)
    both = trainee(Tinted(), adversarial=True)
    objective = Objective(DeviationLoss(adversarial=1.0, adversarial_start=5))
    early = objective(both, pairs(), torch.Generator().manual_seed(0), 4)
    assert set(early) == {"image", "gradient", "moving"}
    late = objective(both, pairs(), torch.Generator().manual_seed(0), 5)
    assert set(late) - set(early) == {"adversarial", "matching", "discriminator"}
    late["adversarial"].backward(retain_graph=True)
    assert both.model.gain.grad is not None
    assert all(p.grad is None for p in both.discriminator.parameters())
    both.model.gain.grad = None
    late["discriminator"].backward()
    assert both.model.gain.grad is None
    assert objective.weights["discriminator"] == 1


def test_held_still_the_source_is_the_driving_frame():
    batch = {**pairs(), "boxes": torch.zeros(2, 3, 4), "driving_parts": torch.ones(2), "source_parts": torch.zeros(2)}
    still = held_still(batch)
    assert torch.equal(still["driving"], batch["source"])
    assert torch.equal(still["driving_input"], batch["source_input"])
    assert torch.equal(still["driving_parts"], batch["source_parts"])
    assert "boxes" not in still
    objective = Objective(DeviationLoss(still_steps=3))
    first, fourth = (objective(Tinted(), batch, torch.Generator().manual_seed(0), step) for step in (2, 3))
    assert float(first["moving"]) == 0
    assert float(fourth["moving"]) > 0


def test_the_papers_model_trains_with_its_discriminator_and_continues_bit_for_bit(data, cache, tmp_path):
    settings = (
        "deviation_loss.still_steps=2",
        "deviation_loss.adversarial=1",
        "pretrain.lr_schedule=constant",
        "deviation_loss.cycle=0.5",
    )
    for run, plan in (("whole", (6,)), ("split", (3, 6))):
        for steps in plan:
            config = rotation(*settings, f"pretrain.steps={steps}", "deviation_loss.adversarial_start=0")
            pretrain_deviation(data, tmp_path / run, config, cache=cache)
    for name in ("checkpoints/00000006/model", "checkpoints/00000006/optimizer", "bundle/deviation"):
        whole, split = (load_file(tmp_path / run / f"{name}.safetensors") for run in ("whole", "split"))
        assert whole.keys() == split.keys()
        assert all(torch.equal(whole[key], split[key]) for key in whole), name
    bundle = verify_bundle(tmp_path / "whole" / "bundle")
    names = load_component(bundle, "deviation").state_dict()
    assert {name.partition(".")[0] for name in names} == {"pose_base", "generator"}
    lines = logged(tmp_path / "whole")
    assert lines[1]["moving"] == 0
    lines = [line for line in lines if line["step"] > 2]
    terms = {"image", "gradient", "hands", "mouth", "deviation", "cycle", "adversarial", "matching", "discriminator"}
    terms |= {"depth", "pose", "parts"}
    assert terms <= set(lines[0])
    assert lines[-1]["check_psnr_copied"] > 0


def test_a_run_in_which_nothing_would_move_is_refused(data, cache, tmp_path):
    config = rotation("deviation_loss.still_steps=4")
    with pytest.raises(ConfigError, match="nothing moves in the first 4 of 4 steps"):
        pretrain_deviation(data, tmp_path / "run", config, cache=cache)
    assert not (tmp_path / "run").exists()


def test_the_start_model_is_not_asked_where_no_loss_uses_it(cache, tmp_path, monkeypatch):
    seen = []
    ask = Objective.__call__
    monkeypatch.setattr(
        Objective,
        "__call__",
        lambda self, module, batch, *rest: seen.append(set(batch)) or ask(self, module, batch, *rest),
    )
    plain = make_dataset(tmp_path / "plain").root
    pretrain_deviation(plain, tmp_path / "one", rotation(), cache=cache)
    start = str(tmp_path / "one" / "bundle")
    short = (*(f"pretrain.{setting}" for setting in SHORT), "deviation_loss.still_steps=0")
    again = load_config("rotation-tiny", None, short, {"device": "cpu"})
    again = replace(again, deviation=replace(again.deviation, params={}))
    pretrain_deviation(plain, tmp_path / "two", again, init=start, cache=cache)
    assert len(seen) == 8
    assert all("anchor" not in names for names in seen)


def test_both_stages_run_on_the_papers_model(data, cache, tmp_path):
    pretrain_deviation(data, tmp_path / "one", rotation(), cache=cache)
    given = str(tmp_path / "one" / "bundle")
    train_diffusion(data, tmp_path / "two", rotation(), deviation=given, cache=cache)
    bundle = verify_bundle(tmp_path / "two" / "bundle")
    assert load_component(bundle, "denoiser").config.motion_dim == 147
    assert (tmp_path / "two" / "samples" / "00000004.png").is_file()


def test_stage_2_learns_motion_as_the_models_settings_have_it(data, cache, tmp_path):
    """The same weights carry motion over as it is or relative to the person: neither cache nor run may mix them."""
    pretrain_deviation(data, tmp_path / "one", rotation("deviation.params.transfer=absolute"), cache=cache)
    absolute = open_bundle(str(tmp_path / "one" / "bundle"))
    model = absolute.components["deviation"]
    relative = {"deviation": replace(model, params={**model.params, "transfer": "relative"})}
    write_bundle(tmp_path / "relative", absolute.spec, relative, {"deviation": load_tensors(absolute, "deviation")}, "")
    for given, run in ((absolute.path, "two"), (tmp_path / "relative", "three")):
        train_diffusion(data, tmp_path / run, rotation(), deviation=str(given), cache=cache)
    means = [
        load_tensors(open_bundle(str(tmp_path / run / "bundle")), "normalizer")["mean"] for run in ("two", "three")
    ]
    assert means[0].abs().max() > 0.01
    assert means[1].abs().max() < 1e-5
    with pytest.raises(ConfigError, match=r"inputs\.deviation"):
        train_diffusion(data, tmp_path / "two", rotation(), deviation=str(tmp_path / "relative"), cache=cache)


def test_vgg19_is_read_from_both_kinds_of_file(tmp_path, monkeypatch):
    monkeypatch.setattr(vgg_weights, "Vgg19", lambda: Vgg19(tuple(min(w, 4) for w in perceptual.WIDTHS)))
    tensors = {**vgg_weights.Vgg19().state_dict(), "classifier.6.bias": torch.zeros(3)}
    torch.save(tensors, tmp_path / "vgg.pth")
    save_file(tensors, tmp_path / "vgg.safetensors")
    for name in ("vgg.pth", "vgg.safetensors"):
        network = load_vgg19(str(tmp_path / name))
        assert torch.equal(network.features[0].weight, tensors["features.0.weight"])
    assert load_vgg19("") is None


def test_the_perceptual_weights_count_by_content_not_by_place(data, cache, tmp_path, monkeypatch):
    monkeypatch.setattr(vgg_weights, "Vgg19", lambda: Vgg19(tuple(min(w, 4) for w in perceptual.WIDTHS)))
    for name, seed in (("one.safetensors", 0), ("other.safetensors", 1)):
        torch.manual_seed(seed)
        save_file(vgg_weights.Vgg19().state_dict(), tmp_path / name)

    def train(steps: int, name: str) -> None:
        config = rotation(f"deviation_loss.vgg19={tmp_path / name}", f"pretrain.steps={steps}")
        pretrain_deviation(data, tmp_path / "run", config, cache=cache)

    train(1, "one.safetensors")
    (tmp_path / "one.safetensors").rename(tmp_path / "moved.safetensors")
    train(2, "moved.safetensors")
    assert "perceptual" in logged(tmp_path / "run")[-2]
    with pytest.raises(ConfigError, match=r"inputs\.perceptual"):
        train(3, "other.safetensors")


class Evil:
    def __reduce__(self):
        return (Path.touch, (Path("executed"),))


@pytest.mark.parametrize(
    "kind", ["missing", "folder", "pipe", "text", "cut", "torn", "code", "numbers", "other network"]
)
def test_other_files_are_no_vgg19(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "vgg.pth"
    numbers = dict.fromkeys(Vgg19(tuple(min(w, 4) for w in perceptual.WIDTHS)).state_dict(), 3)
    contents = {
        "cut": {"a": torch.zeros(99)},
        "code": Evil(),
        "numbers": numbers,
        "other network": {"a": torch.ones(2)},
    }
    if kind in contents:
        torch.save(contents[kind], path)
    if kind == "cut":
        path.write_bytes(path.read_bytes()[:300])
    elif kind == "torn":
        path.write_bytes(b"\x80\x02}q\0(X\0")
    elif kind == "text":
        path.write_text("<!DOCTYPE html>")
    elif kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    with pytest.raises(InputError, match=r"VGG-19 weights.* .*vgg\.pth"):
        load_vgg19(str(path))
    assert not Path("executed").exists()


def test_a_wrong_weights_file_is_told_before_the_run_and_the_cache_are_begun(data, tmp_path):
    config = rotation(f"deviation_loss.vgg19={tmp_path / 'vgg.pth'}")
    with pytest.raises(InputError, match="VGG-19 weights"):
        pretrain_deviation(data, tmp_path / "run", config, cache=tmp_path / "cache")
    assert list(tmp_path.iterdir()) == []
