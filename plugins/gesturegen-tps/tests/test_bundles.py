"""Whole imports by the core: checkpoint -> bundle -> pictures, and speech of any length with a full bundle."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from gesturegen_cli import registry
from gesturegen_cli.bundle import load_component, open_bundle
from gesturegen_cli.errors import InputError
from gesturegen_cli.model_import import import_model
from gesturegen_cli.types import AudioClip

from .small import pictures, tiny_lmdm, tiny_tps
from .test_importers import SMALL, SMALL_LMDM, _parts, _save, _stage2, _stage3, _tpsm

SETTINGS = [f"model.{name}={value}" for name, value in SMALL.items()]
EARS = any(plugin.name == "s2g-35" for plugin in registry.list_plugins("audio_encoders"))


def test_an_imported_bundle_renders_as_the_checkpoint_does(tmp_path):
    model, frames = tiny_tps(background=True), pictures(3)
    import_model("tpsm", [_tpsm(tmp_path)], tmp_path / "vox", SETTINGS)
    bundle = open_bundle(tmp_path / "vox")
    assert bundle.spec.kind == "deviation"
    assert bundle.spec.licence.startswith("MIT")
    loaded = load_component(bundle, "deviation")
    with torch.inference_mode():
        images = [m.animate(m.encode_source(frames[:1]), m.encode(frames)) for m in (model, loaded)]
    assert torch.equal(*images)


def test_the_core_lists_what_does_not_fit(tmp_path):
    parts = _parts(tiny_tps())
    parts["inpainting_network"]["spare.weight"] = torch.zeros(3)
    del parts["inpainting_network"]["final.bias"]
    parts["inpainting_network"]["final.weight"] = torch.zeros(3, 5, 7, 7)
    with pytest.raises(InputError) as caught:
        import_model("tpsm", [_save(tmp_path / "vox.pth.tar", parts)], tmp_path / "vox", SETTINGS)
    for said in ("missing inpainting_network.final.bias", "unexpected inpainting_network.spare", "(3, 5, 7, 7)"):
        assert said in caught.value.message
    assert not (tmp_path / "vox").exists()


@pytest.mark.skipif(not EARS, reason="needs gesturegen-wavlm")
@pytest.mark.parametrize("seconds", [0.3, 1.93])
def test_a_full_bundle_gestures_from_the_first_sample_to_the_last(tmp_path, seconds):
    from gesturegen_cli.media.image import Picture
    from gesturegen_cli.pipeline import Pipeline

    settings = [*SETTINGS, *(f"denoiser.{name}={value}" for name, value in SMALL_LMDM.items())]
    import_model("s2g", [_stage3(tmp_path), _stage2(tmp_path)], tmp_path / "s2g", settings)
    pipeline = Pipeline.from_pretrained(tmp_path / "s2g", device="cpu")
    assert (pipeline.bundle.spec.window.frames, pipeline.bundle.spec.window.seed_frames) == (16, 1)
    assert pipeline.bundle.sampling.eta == 1.0
    assert pipeline.bundle.sampling.candidates == 5
    wave = 0.1 * np.sin(np.arange(int(16000 * seconds)) * 0.1).astype(np.float32)
    picture = Picture((pictures(1)[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8), "drawn")
    sampling = replace(pipeline.bundle.sampling, steps=3)
    video = pipeline(AudioClip(wave), picture, sampling=sampling)
    assert video.frame_count == round(25 * len(wave) / 16000)
    assert video.motion.motion.shape == (video.frame_count, 30)
    assert video.motion.motion.abs().max() <= 1
    assert len(list(video.frames)) == video.frame_count
    assert isinstance(pipeline.denoiser, type(tiny_lmdm()))
