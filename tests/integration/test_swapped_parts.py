"""All three parts replaced by plugins that `gesturegen plugins new` wrote: nothing changes but a YAML file."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from gesturegen_cli import registry
from gesturegen_cli.bundle import verify_bundle
from gesturegen_cli.cli.app import app
from gesturegen_cli.media.video import probe_video

PARTS = {"audio_encoders": "Encoder", "denoisers": "Denoiser", "deviation_models": "Deviation"}
CONFIG = """
audio_encoder: {name: other-audio-encoders, params: {bands: 8}}
denoiser: {name: other-denoisers, params: {width: 16, layers: 2}}
deviation: {name: other-deviation-models, params: {width: 8, code: 6}}
"""


def gesturegen(*words: object) -> None:
    done = CliRunner().invoke(app, [*map(str, words), "--device", "cpu"])
    assert done.exit_code == 0, f"{words}: {done.stderr}"


@pytest.mark.slow
def test_every_part_can_be_a_plugin(tmp_path, monkeypatch, make_video, make_speech, make_speaker):
    monkeypatch.chdir(tmp_path)
    listed = []
    for kind, suffix in PARTS.items():
        name = "other-" + kind.replace("_", "-")
        gesturegen_new = CliRunner().invoke(app, ["plugins", "new", kind, name, "-o", str(tmp_path / name)])
        assert gesturegen_new.exit_code == 0, gesturegen_new.stderr
        monkeypatch.syspath_prepend(tmp_path / name)
        title = "".join(word.capitalize() for word in name.split("-"))
        listed.append(f"{kind}:{name}=gesturegen_{name.replace('-', '_')}:{title}{suffix}")
    monkeypatch.setenv(registry.ENVIRONMENT, ",".join(listed))
    (tmp_path / "parts.yaml").write_text(CONFIG)
    (tmp_path / "videos").mkdir()
    make_video(tmp_path / "videos" / "ann.mp4", seconds=5, size=96)
    make_speech(tmp_path / "speech.wav", 2, 5)
    make_speaker(tmp_path / "host.png")
    tiny = ("--preset", "tiny", "--config", "parts.yaml", "--set", "preprocess.workers=1")

    gesturegen("preprocess", "videos", "data", *tiny)
    gesturegen("pretrain-deviation", "data", "one", *tiny, "--steps", 2)
    gesturegen("train", "data", "two", "--deviation", "one/bundle", *tiny, "--steps", 2)
    bundle = verify_bundle(tmp_path / "two" / "bundle")
    used = {role: part.name for role, part in bundle.components.items() if role != "normalizer"}
    assert used == {
        "deviation": "other-deviation-models",
        "audio_encoder": "other-audio-encoders",
        "denoiser": "other-denoisers",
    }
    assert bundle.components["denoiser"].params["motion_dim"] == 6
    assert bundle.components["denoiser"].params["audio_dim"] == 8
    gesturegen("generate", "speech.wav", "host.png", "-m", "two/bundle", "-o", "v.mp4", "--steps", 2)
    assert probe_video(tmp_path / "v.mp4").has_audio
    assert json.loads((tmp_path / "v.json").read_text())["frames"] == 50
