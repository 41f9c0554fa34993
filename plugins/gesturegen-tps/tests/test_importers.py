"""Checkpoints laid out as the published ones, at small widths: what comes out of an import renders as what went in."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gesturegen_cli import registry
from gesturegen_cli.config.load import from_tree
from gesturegen_cli.config.schema import Diffusion, Sampling, Window
from gesturegen_cli.errors import ConfigError, EnvironmentFault, InputError
from gesturegen_cli.types import Conditioning
from gesturegen_tps.s2g_importer import S2gImporter
from gesturegen_tps.tpsm_importer import TpsmImporter

from .small import pictures, tiny_lmdm, tiny_tps

SMALL = {
    "size": 64,
    "keypoint_width": 4,
    "motion_width": 8,
    "motion_widest": 32,
    "motion_blocks": 3,
    "image_channels": [4, 8, 12, 16],
    "refine_width": 4,
}
SMALL_LMDM = {"width": 16, "layers": 2, "heads": 2, "feedforward": 24}
TRAINING = {"epoch": 99, "optimizer": {"state": {}, "param_groups": [{"lr": 2e-4}]}}


def _parts(model: torch.nn.Module, prefix: str = "") -> dict[str, object]:
    return {
        name: {prefix + key: tensor for key, tensor in part.state_dict().items()}
        for name, part in model.named_children()
    }


def _save(path: Path, parts: dict[str, object]) -> Path:
    torch.save(parts, path)
    return path


def _tpsm(folder: Path, **changes: object) -> Path:
    return _save(folder / "vox.pth.tar", {**_parts(tiny_tps(background=True)), **TRAINING, **changes})


def _stage3(folder: Path, model: torch.nn.Module | None = None, **changes: object) -> Path:
    extra = {"gan_discriminator": {"classifier.bias": torch.zeros(1)}, "optimizer_e2e": {}, "optimizer_gan": {}}
    parts = {**_parts(model or tiny_tps(refine=True)), **extra, **TRAINING, **changes}
    return _save(folder / "motion_decoupling.pth.tar", parts)


def _stage2(folder: Path, audio_dim: int = 35, motion_dim: int = 30, prefix: str = "", **changes: object) -> Path:
    model = tiny_lmdm(motion_dim=motion_dim, audio_dim=audio_dim, frames=16)
    tensors = {prefix + name: tensor for name, tensor in model.state_dict().items()}
    last = {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}
    parts = {"ema_state_dict": tensors, "model_state_dict": last, "optimizer_state_dict": {}, "normalizer": None}
    return _save(folder / "motion_diffusion.pt", {**parts, **changes})


def _tpsm_importer(**settings: object) -> TpsmImporter:
    return TpsmImporter(from_tree(TpsmImporter.Config, {"size": 64, "model": SMALL, **settings}))


def _s2g_importer(**settings: object) -> S2gImporter:
    tree = {"model": SMALL, "denoiser": SMALL_LMDM, **settings}
    return S2gImporter(from_tree(S2gImporter.Config, tree))


def _built(part, kind: str = "deviation_models"):
    model = registry.build(kind, part.plugin, part.params)
    model.load_state_dict(dict(part.tensors), strict=True)
    return model.eval()


def _pretend(monkeypatch, *names: str) -> None:
    really = registry.list_plugins
    encoders = [registry.Plugin("audio_encoders", name, "nowhere:Ears", "gesturegen-wavlm") for name in names]
    monkeypatch.setattr(registry, "list_plugins", lambda kind: encoders if kind == "audio_encoders" else really(kind))


@pytest.fixture
def with_ears(monkeypatch):
    """As if the package of the audio encoders were installed, whether it is or not."""
    _pretend(monkeypatch, "s2g-35", "s2g-1059")


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_tpsm_checkpoint_renders_as_its_model(tmp_path, prefix):
    model = tiny_tps(background=True)
    file = _save(tmp_path / "vox.pth.tar", {**_parts(model, prefix), **TRAINING, "avd_network": {"a": torch.zeros(1)}})
    imported = _tpsm_importer()([file])
    part = imported.components["deviation"]
    assert imported.components.keys() == {"deviation"}
    assert part.params["transforms"] == 3
    assert part.params["background"] is True
    assert len(imported.names) == len(model.state_dict())
    built, frames = _built(part), pictures(3)
    with torch.inference_mode():
        images = [m.animate(m.encode_source(frames[:1]), m.encode(frames)) for m in (model, built)]
    assert torch.equal(*images)


def test_without_a_background_predictor_there_is_none(tmp_path):
    file = _save(tmp_path / "mgif.pth.tar", {**_parts(tiny_tps()), **TRAINING})
    part = _tpsm_importer()([file]).components["deviation"]
    assert part.params["background"] is False
    _built(part)


def test_a_size_is_as_set(tmp_path):
    importer = TpsmImporter(from_tree(TpsmImporter.Config, {"size": 384}))
    assert importer([_tpsm(tmp_path)]).components["deviation"].params["size"] == 384


def test_both_files_of_s2g_make_a_whole_model(tmp_path, with_ears):
    model, denoiser = tiny_tps(refine=True), tiny_lmdm(motion_dim=30, audio_dim=35, frames=16)
    imported = _s2g_importer()([_stage3(tmp_path, model), _stage2(tmp_path, prefix="module.")])
    assert list(imported.components) == ["deviation", "audio_encoder", "denoiser"]
    built, frames = _built(imported.components["deviation"]), pictures(3)
    with torch.inference_mode():
        images = [m.animate(m.encode_source(frames[:1]), m.encode(frames)) for m in (model, built)]
        assert torch.equal(*images)
        draw = torch.Generator().manual_seed(0)
        audio, motion, seed = (torch.randn(2, n, d, generator=draw) for n, d in ((16, 35), (16, 30), (1, 30)))
        cond = Conditioning(audio, seed, torch.ones(2, 1), seed[:, 0], torch.ones(2))
        steps = torch.tensor([10, 900])
        copy = _built(imported.components["denoiser"], "denoisers")
        assert torch.equal(denoiser(motion, steps, cond), copy(motion, steps, cond))
    ears = imported.components["audio_encoder"]
    assert (ears.plugin, ears.params, ears.tensors) == ("s2g-35", {}, {})
    assert imported.normalizer is None
    assert len(imported.names) == len(model.state_dict()) + len(denoiser.state_dict())


def test_settings_of_s2g_are_those_of_the_core(tmp_path, with_ears):
    settings = _s2g_importer()([_stage3(tmp_path), _stage2(tmp_path, audio_dim=1059)]).settings
    assert from_tree(Window, settings["window"]) == Window(frames=16, seed_frames=1, stride=10)
    assert from_tree(Diffusion, settings["diffusion"]).train_timesteps == 1000
    sampling = from_tree(Sampling, settings["sampling"])
    assert (sampling.scheduler, sampling.steps, sampling.eta, sampling.clip) == ("ddim", 50, 1.0, 1.0)
    assert (sampling.guidance, sampling.candidates, sampling.overlap) == (2.0, 5, 2)
    assert settings.keys() == {"fps", "window", "diffusion", "sampling"}


def test_speech_features_decide_about_the_encoder(tmp_path, with_ears):
    files = [_stage3(tmp_path), _stage2(tmp_path, audio_dim=1059)]
    ears = _s2g_importer()(files).components["audio_encoder"]
    assert (ears.plugin, ears.params) == ("s2g-1059", {"weights": "WavLM-Large.pt"})
    ears = _s2g_importer(audio_encoder={"weights": "mine.pt"})(files).components["audio_encoder"]
    assert ears.params == {"weights": "mine.pt"}


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    _pretend(monkeypatch, "s2g-1059")
    with pytest.raises(EnvironmentFault, match="s2g-35") as caught:
        _s2g_importer()([_stage3(tmp_path), _stage2(tmp_path)])
    assert "pip install gesturegen-wavlm" in caught.value.hint


def test_last_weights_do_where_there_is_no_average(tmp_path, with_ears):
    file = _stage2(tmp_path)
    top = torch.load(file, weights_only=True)
    del top["ema_state_dict"]
    _save(file, top)
    denoiser = _s2g_importer()([_stage3(tmp_path), file]).components["denoiser"]
    assert denoiser.tensors["final_layer.weight"].abs().max() == 0


def test_stage_3_alone_is_a_deviation_model(tmp_path):
    imported = _s2g_importer()([_stage3(tmp_path)])
    assert list(imported.components) == ["deviation"]
    assert imported.settings == {"fps": 25.0}
    assert imported.components["deviation"].params["refine"] is True


@pytest.mark.parametrize("count", [0, 3])
def test_numbers_of_files_are_checked(tmp_path, count):
    for importer in (_tpsm_importer(), _s2g_importer()):
        with pytest.raises(ConfigError, match=f"{count} checkpoints"):
            importer([tmp_path / "any.pt"] * count)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"e2e_generator": {"a": torch.zeros(1)}}, "e2e_generator, which is no part"),
        ({"kp_detector": {"fg_encoder.fc.weight": torch.zeros(31, 4)}}, "31 numbers"),
        ({"kp_detector": {"fg_encoder.fc.weight": torch.zeros(40, 4)}}, "4 transforms"),
        ({"kp_detector": {"fg_encoder.fc.weight": torch.zeros(())}}, "fg_encoder.fc.weight"),
        ({"kp_detector": {}}, "no tensors"),
        ({"dense_motion_network": {"down.weight": torch.zeros(3, 1, 13, 13)}}, "hourglass"),
        ({"inpainting_network": [1, 2]}, "named tensors"),
    ],
)
def test_bad_parts_of_tpsm_are_refused(tmp_path, changes, said):
    with pytest.raises(InputError, match=said):
        _tpsm_importer()([_tpsm(tmp_path, **changes)])


@pytest.mark.parametrize("part", ["kp_detector", "dense_motion_network", "inpainting_network"])
def test_a_missing_part_is_named(tmp_path, part):
    parts = {name: value for name, value in _parts(tiny_tps()).items() if name != part}
    file = _save(tmp_path / "vox.pth.tar", parts)
    with pytest.raises(InputError, match=f"no {part}"):
        _tpsm_importer()([file])


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_file_that_was_cut_is_refused(tmp_path, share):
    file = _tpsm(tmp_path)
    data = file.read_bytes()
    file.write_bytes(data[: int(share * len(data))])
    with pytest.raises(InputError):
        _tpsm_importer()([file])
    with pytest.raises(InputError):
        _s2g_importer()([file])


def test_extra_and_missing_tensors_are_left_for_the_core_to_list(tmp_path):
    parts = _parts(tiny_tps(background=True))
    parts["inpainting_network"]["spare.weight"] = torch.zeros(3)
    del parts["inpainting_network"]["final.bias"]
    part = _tpsm_importer()([_save(tmp_path / "vox.pth.tar", parts)]).components["deviation"]
    with pytest.raises(RuntimeError, match=r"final.bias[\s\S]*spare.weight"):
        _built(part)


def test_stages_are_told_apart(tmp_path):
    stage2, stage3 = _stage2(tmp_path), _stage3(tmp_path)
    with pytest.raises(InputError, match="stage 2, expected stage 3"):
        _s2g_importer()([stage2, stage3])
    with pytest.raises(InputError, match="no ema_state_dict"):
        _s2g_importer()([stage3, stage3])
    stage1 = _save(tmp_path / "stage1.pth.tar", {**_parts(tiny_tps()), **TRAINING})
    with pytest.raises(InputError, match="stage 1, expected stage 3") as caught:
        _s2g_importer()([stage1])
    assert "tpsm" in caught.value.hint
    assert _tpsm_importer()([stage1]).components["deviation"].params["transforms"] == 3


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"motion_dim": 40}, "40 numbers, that of stage 3 has 30"),
        ({"audio_dim": 36}, "36 audio features"),
        ({"normalizer": {"mean": torch.zeros(30)}}, "normalizer"),
        ({"history": [1]}, "history, which is no part"),
        ({"ema_state_dict": {"final_layer.bias": torch.zeros(30)}}, "input_projection.weight"),
    ],
)
def test_bad_files_of_stage_2_are_refused(tmp_path, with_ears, changes, said):
    with pytest.raises(InputError, match=said):
        _s2g_importer()([_stage3(tmp_path), _stage2(tmp_path, **changes)])
