import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from gesturegen_cli.bundle import MANIFEST
from gesturegen_cli.config.schema import Sampling
from gesturegen_cli.errors import BundleError, ConfigError, EnvironmentFault
from gesturegen_cli.media.audio import load_audio
from gesturegen_cli.media.image import Picture, load_image
from gesturegen_cli.media.video import iter_frames, probe_video
from gesturegen_cli.pipeline import Pipeline, choose_device
from gesturegen_cli.rendering import check_size
from gesturegen_cli.types import AudioClip

QUICK = Sampling(steps=2, overlap=0)


@pytest.fixture(scope="module")
def pipeline(tiny_bundle: Path) -> Pipeline:
    return Pipeline.from_pretrained(tiny_bundle, device="cpu")


def test_video_has_as_many_frames_as_the_speech_asks_for(pipeline, speech_wav, speaker_png):
    video = pipeline(speech_wav, speaker_png, sampling=QUICK)
    assert video.frame_count == load_audio(speech_wav).frames(25) == 32
    frames = list(video.frames)
    assert len(frames) == 32
    assert {(f.shape, f.dtype.name) for f in frames} == {((64, 64, 3), "uint8")}


def test_other_frame_rate_keeps_the_duration(pipeline, speech_wav, speaker_png):
    video = pipeline(speech_wav, speaker_png, sampling=QUICK, fps=50)
    plain = pipeline(speech_wav, speaker_png, sampling=QUICK)
    assert (video.frame_count, video.fps) == (65, 50)
    assert torch.allclose(video.motion.motion[0:62:2], plain.motion.motion[:31], atol=1e-6)


def test_same_seed_gives_same_motion_and_another_seed_does_not(pipeline, speech_wav, speaker_png):
    first, again, other = (
        pipeline(speech_wav, speaker_png, sampling=QUICK, rng_seed=s).motion.motion for s in (3, 3, 4)
    )
    assert torch.equal(first, again)
    assert (first - other).abs().max() > 0.01


def test_global_random_state_is_neither_used_nor_changed(pipeline, speech_wav, speaker_png):
    torch.manual_seed(1)
    first = pipeline(speech_wav, speaker_png, sampling=QUICK).motion.motion
    state = torch.random.get_rng_state()
    assert torch.equal(pipeline(speech_wav, speaker_png, sampling=QUICK).motion.motion, first)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_energy_scales_motion_about_the_pose_in_the_picture(pipeline, speech_wav, speaker_png):
    source = pipeline.load_source(speaker_png)
    pose = pipeline.neutral_pose(source)
    still, plain, double = (
        pipeline.sample_motion(speech_wav, source, sampling=replace(QUICK, energy=e)).motion for e in (0.0, 1.0, 2.0)
    )
    assert torch.allclose(still, pose.expand_as(still), atol=1e-6)
    assert torch.allclose(double - pose, 2 * (plain - pose), atol=1e-5)
    assert (plain - pose).abs().max() > 0.01


def test_motion_without_energy_renders_the_pose_of_the_picture(pipeline, speech_wav, speaker_png):
    source = pipeline.load_source(speaker_png)
    still = pipeline.sample_motion(speech_wav, source, sampling=replace(QUICK, energy=0.0))
    with torch.inference_mode():
        own = pipeline.deviation.animate(source.state, source.motion[None])[0].permute(1, 2, 0).numpy()
    frames = np.stack(list(pipeline.render(still, source, precision="fp32")))
    assert np.abs(frames - own * 255).max() <= 1.0


def test_batch_of_rendering_does_not_change_frames(pipeline, speech_wav, speaker_png):
    source = pipeline.load_source(speaker_png)
    motion = pipeline.sample_motion(speech_wav, source, sampling=QUICK)
    one, many = (
        np.stack(list(pipeline.render(motion, source, batch=b, precision="fp32"))).astype(int) for b in (5, 32)
    )
    assert np.abs(one - many).max() <= 1


def test_precision_changes_how_frames_are_computed_and_hardly_the_frames(pipeline, speech_wav, speaker_png):
    source = pipeline.load_source(speaker_png)
    motion = pipeline.sample_motion(speech_wav, source, sampling=QUICK)
    full, half = (np.stack(list(pipeline.render(motion, source, precision=p))) / 255.0 for p in ("fp32", "bf16"))
    assert 0 < np.square(full - half).mean() < 1e-4
    with pytest.raises(ConfigError, match="precision = 'fp64', expected auto, fp32 or bf16"):
        pipeline.render(motion, source, precision="fp64")


@pytest.mark.parametrize("fast", [True, False])
def test_automatic_precision_is_bf16_where_the_cpu_is_fast_at_it(fast, pipeline, speech_wav, speaker_png, monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: fast)
    video = pipeline(speech_wav, speaker_png, sampling=QUICK)
    wanted = "bf16" if fast else "fp32"
    assert video.info["precision"] == wanted
    same = pipeline(speech_wav, speaker_png, sampling=replace(QUICK, render_precision=wanted))
    assert (next(video.frames) == next(same.frames)).all()
    # A model that does not say so may compute geometry in what autocast gives it.
    monkeypatch.delattr(type(pipeline.deviation), "renders_in_bf16")
    assert pipeline(speech_wav, speaker_png, sampling=QUICK).info["precision"] == "fp32"


def test_longer_speech_begins_with_the_same_motion(pipeline, speaker_png, monkeypatch):
    # The level of a recording is set by all of it; without that step only the windows count.
    monkeypatch.setattr("gesturegen_cli.data.features.apply_level", lambda samples, offset, gain: samples)
    samples = (0.1 * np.sin(np.arange(64_000) / 20) * np.sin(np.arange(64_000) / 1500)).astype(np.float32)
    source = pipeline.load_source(speaker_png)
    long, short = (
        pipeline.sample_motion(AudioClip(samples[:n]), source, sampling=QUICK).motion for n in (64_000, 48_000)
    )
    assert torch.allclose(long[:32], short[:32], atol=1e-4)


def test_frames_are_rendered_only_when_taken_and_outside_inference_mode(pipeline, speech_wav, speaker_png, monkeypatch):
    calls: list[int] = []
    animate = pipeline.deviation.animate

    def counted(state, motion):
        calls.append(len(motion))
        return animate(state, motion)

    monkeypatch.setattr(pipeline.deviation, "animate", counted)
    video = pipeline(speech_wav, speaker_png, sampling=replace(QUICK, render_batch=4))
    assert calls == []
    next(video.frames)
    assert calls == [4]
    assert not torch.is_inference_mode_enabled()


def test_size_resizes_the_output(pipeline, speech_wav, speaker_png):
    video = pipeline(speech_wav, speaker_png, sampling=QUICK, size=96)
    assert next(video.frames).shape == (96, 96, 3)
    assert video.size == (96, 96)


def test_native_size_is_the_whole_picture(pipeline, speech_wav, speaker_png, tmp_path):
    pixels = np.pad(load_image(speaker_png).pixels, ((0, 21), (90, 33), (0, 0)), mode="edge")
    video = pipeline(speech_wav, Picture(pixels, "wide.png"), sampling=QUICK, size="native")
    height, width = (side // 2 * 2 for side in pixels.shape[:2])
    assert video.size == (width, height)
    record = video.save(tmp_path / "v.mp4")
    assert record["size"] == [width, height]
    info = probe_video(tmp_path / "v.mp4")
    assert (info.width, info.height) == (width, height)
    crop = record["crop"]
    source = pipeline.load_source(Picture(pixels, "wide.png"))
    frames = np.stack(list(pipeline.render(video.motion, source, size="native")))
    outside = np.ones((height, width), bool)
    outside[crop["top"] : crop["top"] + crop["side"], crop["left"] : crop["left"] + crop["side"]] = False
    assert outside.any()
    assert (frames[:, outside] == pixels[:height, :width][outside]).all()
    assert (frames != pixels[:height, :width]).any()


@pytest.mark.parametrize("size", [63, 65, 62, 2050, 0, -64, "Native", "64.0", "²", ""])
def test_sizes_that_cannot_be_written_are_refused(size):
    with pytest.raises(ConfigError, match="expected 'model', 'native' or an even number from 64 to 2048"):
        check_size(size, 256)


def test_size_of_the_model_is_the_default():
    assert [check_size(size, 256) for size in (None, "model", "128", 2048)] == [256, 256, 128, 2048]
    assert check_size("native", 256) is None


def test_saved_video_plays_and_has_a_record_without_private_facts(pipeline, speech_wav, speaker_png, tmp_path):
    out = tmp_path / "out" / "v.mp4"
    out.parent.mkdir()
    seen: list[int] = []
    returned = pipeline(speech_wav, speaker_png, sampling=QUICK, rng_seed=7).save(out, on_frame=seen.append)
    info = probe_video(out)
    assert (info.width, info.height, info.fps, info.has_audio) == (64, 64, 25.0, True)
    assert sum(1 for _ in iter_frames(out, fps=25)) == 32
    assert seen == list(range(1, 33))
    text = out.with_suffix(".json").read_text()
    record = json.loads(text)
    assert record == returned
    assert record["ai_generated"] is True
    assert record["inputs"]["speech"]["name"] == "talk.wav"
    assert len(record["inputs"]["picture"]["sha256"]) == 64
    assert record["bundle"] == {"name": "tiny", "digest": pipeline.bundle.digest}
    assert record["sampling"] == asdict(QUICK)
    assert (record["rng_seed"], record["frames"], record["fps"], record["size"]) == (7, 32, 25.0, [64, 64])
    assert set(record["versions"]) == {"gesturegen", "torch", "diffusers"}
    assert set(record["timings"]) == {"speech", "picture", "audio", "motion", "video"}
    assert len(record["seam_scores"]) == 1
    assert str(tmp_path) not in text
    assert os.uname().nodename not in text
    assert sorted(os.listdir(out.parent)) == ["v.json", "v.mp4"]


def test_speech_as_samples_and_picture_as_pixels_work_without_files(pipeline, speech_wav, speaker_png, tmp_path):
    video = pipeline(load_audio(speech_wav), load_image(speaker_png), sampling=QUICK)
    video.save(tmp_path / "v.mp4")
    assert probe_video(tmp_path / "v.mp4").has_audio
    by_file = pipeline(speech_wav, speaker_png, sampling=QUICK)
    assert torch.equal(video.motion.motion, by_file.motion.motion)


def test_failure_while_rendering_leaves_nothing_and_keeps_older_files(pipeline, speech_wav, speaker_png, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "v.mp4").write_bytes(b"old video")
    (out / "v.json").write_text("old record")
    video = pipeline(speech_wav, speaker_png, sampling=QUICK)

    def broken() -> Iterator[np.ndarray]:
        yield from (frame for _, frame in zip(range(5), video.frames, strict=False))
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        replace(video, frames=broken()).save(out / "v.mp4")
    assert sorted(os.listdir(out)) == ["v.json", "v.mp4"]
    assert (out / "v.mp4").read_bytes() == b"old video"
    assert (out / "v.json").read_text() == "old record"


def test_same_seed_gives_same_file(pipeline, speech_wav, speaker_png, tmp_path):
    for name in ("a.mp4", "b.mp4"):
        pipeline(speech_wav, speaker_png, sampling=QUICK).save(tmp_path / name)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_source_can_be_used_again(pipeline, speech_wav, speaker_png):
    source = pipeline.load_source(speaker_png)
    assert torch.equal(
        pipeline(speech_wav, source, sampling=QUICK).motion.motion,
        pipeline(speech_wav, speaker_png, sampling=QUICK).motion.motion,
    )


def test_motion_of_another_model_is_refused(pipeline, speech_wav, speaker_png):
    source = pipeline.load_source(speaker_png)
    motion = pipeline.sample_motion(speech_wav, source, sampling=QUICK)
    with pytest.raises(ConfigError, match=r"61 numbers per frame, this bundle's has 62"):
        pipeline.render(replace(motion, motion=motion.motion[:, 1:]), source)


class _Seeing:
    """A stand-in for a deviation model that sees a person in the middle of every picture, small."""

    size = 64

    def locate_person(self, frames):
        return torch.tensor([[[-0.2, -0.2], [0.2, 0.2]]]) * (1 if frames.std() > 0.15 else 3)

    def encode(self, frames):
        return frames.mean((2, 3))

    def encode_source(self, frames):
        return None


def test_small_person_is_cropped_again_and_the_source_is_that_crop(pipeline, tmp_path):
    pixels = np.full((300, 300, 3), 255, np.uint8)
    pixels[90:210, 90:210] = 0
    seen = replace(pipeline, deviation=_Seeing()).load_source(Picture(pixels, "square"))
    # Joints from 120 to 180: 60 pixels and 35 % more on each side.
    assert (seen.crop.left, seen.crop.top, seen.crop.side) == (99, 99, 102)
    assert seen.cropped_again
    assert float(seen.picture.max()) == 0.0


@pytest.mark.parametrize(("certainty", "warned"), [(0.1, True), (0.49, True), (0.5, False), (1.0, False)])
def test_a_picture_in_which_nobody_is_found_surely_gets_a_warning(pipeline, speaker_png, certainty, warned):
    class Doubting(_Seeing):
        def person_certainty(self, source):
            return certainty

    warnings = replace(pipeline, deviation=Doubting()).load_source(speaker_png).warnings
    assert any("head and shoulders are not found surely" in text for text in warnings) == warned
    if warned:
        assert f"({certainty:.2f} of 1)" in warnings[-1]


def test_a_model_that_cannot_say_how_sure_it_is_gives_no_warning(pipeline, speaker_png):
    assert replace(pipeline, deviation=_Seeing()).load_source(speaker_png).warnings == ()


def test_absent_cuda_is_an_error_not_a_fallback(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(EnvironmentFault, match="cuda was asked for"):
        choose_device("cuda")
    assert choose_device("auto").type == "cpu"
    with pytest.raises(ConfigError, match="expected auto, cpu or cuda"):
        choose_device("tpu")


def _edited(bundle: Path, folder: Path, change) -> Path:
    copy = shutil.copytree(bundle, folder / "edited")
    tree = yaml.safe_load((copy / MANIFEST).read_text())
    change(tree)
    (copy / MANIFEST).write_text(yaml.safe_dump(tree))
    return copy


def test_bundle_of_stage_one_is_refused(tiny_bundle, tmp_path):
    copy = _edited(tiny_bundle, tmp_path, lambda tree: tree.update(kind="deviation"))
    with pytest.raises(BundleError, match="kind 'deviation', expected 'full'"):
        Pipeline.from_pretrained(copy)


def test_bundle_with_parts_of_another_is_refused(tiny_bundle, tmp_path):
    def change(tree):
        tree["components"]["audio_encoder"]["params"]["mel_bins"] = 20

    with pytest.raises(BundleError, match=r"audio_dim = 20, expected 24"):
        Pipeline.from_pretrained(_edited(tiny_bundle, tmp_path, change))
