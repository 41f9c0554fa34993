"""Weights in every published spelling, and every bad file."""

from __future__ import annotations

import hashlib
import json
import os
import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional

from gesturegen_cli.errors import ConfigError, InputError

NAMES = ("wavlm-base", "wavlm-large", "hubert-base", "wav2vec2-base")
DIALECTS = ("original", "original, new weight norm", "hugging face", "hugging face, new weight norm", "headed")
DIALECTS += ("torchaudio", "torchaudio, old weight norm")


@pytest.fixture
def make(tools, tmp_path):
    """An encoder on a file written in some spelling, the model it came from, and the file."""

    def made(name: str = "wavlm-large", dialect: str = "original", told: bool | None = None, **config):
        cls = tools.encoders[name]
        model = tools.random_model(cls.layout)
        path = tools.write_weights(tmp_path, model, cls.layout, dialect, told)
        return cls(cls.Config(weights=str(path), **config)), model, path

    return made


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_spelling_gives_the_outputs_of_the_model_it_came_from(make, tools, name, dialect):
    encoder, model, _ = make(name, dialect, normalize="no")
    wave = tools.noise(2, 16000)
    assert torch.equal(encoder(wave), model(functional.pad(wave, (40, 40)))[0])


@pytest.mark.parametrize("name", ["wavlm-large", "wavlm-base"])
@pytest.mark.parametrize("dialect", ["original", "hugging face", "torchaudio"])
@pytest.mark.parametrize("told", [True, False, None])
def test_waves_are_normalised_when_the_checkpoint_says_so(make, tools, name, dialect, told):
    encoder, model, _ = make(name, dialect, told)
    wave = 0.3 + tools.noise(1, 16000)
    by_default = name == "wavlm-large"  # as torchaudio's own pipelines do for plain state dicts
    wanted = by_default if told is None or dialect == "torchaudio" else told
    normal = functional.layer_norm(wave, (16000,), eps=1e-7 if dialect == "hugging face" else 1e-5)
    expected = model(functional.pad(normal if wanted else wave, (40, 40)))[0]
    assert torch.equal(encoder(wave), expected)
    assert encoder.config.normalize == ("yes" if wanted else "no")


def test_a_nested_training_configuration_is_read(make, tools):
    encoder, model, path = make()
    torch.save({"cfg": {"task": {"normalize": False}}, "model": tools.spell(model, encoder.layout, "original")}, path)
    encoder.load()
    assert encoder.config.normalize == "no"


def test_half_precision_files_are_computed_in_float32(make, tools):
    encoder, model, path = make(normalize="no")
    halves = {name: value.half() for name, value in tools.spell(model, encoder.layout, "original").items()}
    torch.save({"cfg": {}, "model": halves}, path)
    wave = tools.noise(1, 8000)
    assert encoder(wave).dtype == torch.float32
    assert torch.allclose(encoder(wave), model(functional.pad(wave, (40, 40)))[0], atol=0.05)


def test_sha256_is_recorded_and_binds(make, tools):
    encoder, _, path = make()
    encoder.load()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert encoder.config.sha256 == digest
    again = type(encoder)(encoder.config)
    again.load()
    tools.write_weights(path.parent, tools.random_model(encoder.layout, seed=5), encoder.layout)
    with pytest.raises(InputError, match=f"expected {digest[:12]}") as caught:
        type(encoder)(encoder.config).load()
    assert "sha256" in caught.value.hint


def test_a_missing_path_is_looked_up_by_its_base_name(make, tmp_path, monkeypatch):
    encoder, _, path = make()
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    path.rename(folder / path.name)
    monkeypatch.setenv("GESTUREGEN_WEIGHTS", os.pathsep.join(["", str(tmp_path / "not-there"), str(folder)]))
    encoder.load()
    monkeypatch.delenv("GESTUREGEN_WEIGHTS")
    with pytest.raises(InputError, match=r"model\.pt.*GESTUREGEN_WEIGHTS is not set"):
        type(encoder)(type(encoder).Config(weights=str(path))).load()


def test_without_weights_the_error_names_file_and_option(tools):
    for name, wanted in {"wavlm-large": "WavLM-Large.pt", "hubert-base": "facebook/hubert-base-ls960"}.items():
        cls = tools.encoders[name]
        with pytest.raises(ConfigError, match=wanted) as caught:
            cls(cls.Config())(torch.zeros(1, 16000))
        assert "--set audio_encoder.params.weights=FILE" in caught.value.hint
        assert "GESTUREGEN_WEIGHTS" in caught.value.hint


def test_a_folder_without_weights_is_refused(make, tmp_path):
    encoder, _, path = make("wavlm-base", "hugging face")
    (path / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"has no model\.safetensors or pytorch_model\.bin"):
        encoder.load()


def test_a_single_hugging_face_file_uses_the_files_beside_it(make):
    encoder, _, path = make("wavlm-base", "hugging face", told=True)
    alone = type(encoder)(type(encoder).Config(weights=str(path / "model.safetensors")))
    alone.load()
    assert alone.config.normalize == "yes"


@pytest.mark.parametrize("dialect", ["original", "headed", "hugging face"])
@pytest.mark.parametrize("kept", [0.5, 0.0])
def test_a_file_cut_off_is_refused(make, dialect, kept):
    encoder, _, path = make(dialect=dialect)
    file = path if path.is_file() else next(path.glob("*model.*"))
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(InputError, match=r"cut off|damaged|empty|not a safetensors"):
        encoder.load()


def test_pickled_code_is_refused_and_not_run(make, tmp_path):
    class Attack:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "attacked"),)

    encoder, _, path = make()
    path.write_bytes(pickle.dumps({"model": Attack()}))
    with pytest.raises(InputError):
        encoder.load()
    torch.save({"cfg": Attack(), "model": {}}, path)
    with pytest.raises(InputError):
        encoder.load()
    assert not (tmp_path / "attacked").exists()


def test_a_model_of_another_kind_is_named(make, tools, tmp_path):
    for taker, giver, dialect in [
        ("wavlm-base", "hubert-base", "original"),
        ("hubert-base", "wav2vec2-base", "original"),
        ("wav2vec2-base", "hubert-base", "hugging face"),
        ("hubert-base", "wavlm-base", "torchaudio"),
        ("wav2vec2-base", "hubert-base", "headed"),
    ]:
        _, _, path = make(giver, dialect)
        cls, family = tools.encoders[taker], giver.split("-")[0]
        with pytest.raises(InputError, match=f"are those of a {family} model, expected {taker.split('-')[0]}"):
            cls(cls.Config(weights=str(path))).load()
        for file in tmp_path.iterdir():
            file.unlink()


def test_no_speech_model_at_all(make):
    encoder, _, path = make()
    torch.save({"conv1.weight": torch.ones(2)}, path)
    with pytest.raises(InputError, match=r"no speech model known here.*conv1\.weight"):
        encoder.load()
    path.write_text("not found")
    with pytest.raises(InputError, match="text file"):
        encoder.load()


def test_misfits_are_listed(make, tools):
    encoder, model, path = make()
    tensors = tools.spell(model, encoder.layout, "original")
    del tensors["encoder.layers.1.fc1.bias"]
    tensors["encoder.layers.9.fc1.bias"] = torch.ones(2)
    tensors["post_extract_proj.weight"] = torch.ones(3, 3)
    torch.save({"cfg": {}, "model": tensors}, path)
    with pytest.raises(InputError) as caught:
        encoder.load()
    told = str(caught.value)
    assert "missing encoder.transformer.layers.1.feed_forward.intermediate_dense.bias" in told
    assert "unexpected encoder.transformer.layers.9.feed_forward.intermediate_dense.bias" in told
    assert "encoder.feature_projection.projection.weight is (3, 3), expected (16, 8)" in told


@pytest.mark.parametrize("name", ["q_proj", "k_proj", "v_proj"])
@pytest.mark.parametrize("change", ["missing", "scalar", "wide", "endless"])
def test_projections_that_cannot_be_stacked_are_listed(make, tools, name, change):
    encoder, model, path = make()
    tensors = tools.spell(model, encoder.layout, "original")
    key = f"encoder.layers.1.self_attn.{name}.weight"
    endless = torch.ones(1, 1).expand(2**40, 16)  # 64 TB, of which the file holds 4 bytes
    changes = {"missing": None, "scalar": torch.tensor(1.0), "wide": torch.ones(16, 17), "endless": endless}
    tensors[key] = changes[change]
    torch.save({"cfg": {}, "model": {k: v for k, v in tensors.items() if v is not None}}, path)
    with pytest.raises(InputError, match=r"layers\.1\.attention"):
        encoder.load()


def test_a_tensor_given_twice_is_refused(make, tools):
    encoder, model, path = make()
    tensors = tools.spell(model, encoder.layout, "original")
    tensors["encoder.pos_conv.0.parametrizations.weight.original0"] = tensors["encoder.pos_conv.0.weight_g"].clone()
    torch.save({"cfg": {}, "model": tensors}, path)
    with pytest.raises(InputError, match=r"unexpected encoder\.pos_conv\.0"):
        encoder.load()


def test_numbers_of_another_type_are_refused(make, tools):
    encoder, model, path = make()
    tensors = tools.spell(model, encoder.layout, "original")
    tensors["encoder.layers.0.fc1.weight"] = torch.ones(24, 16, dtype=torch.int64)
    torch.save({"cfg": {}, "model": tensors}, path)
    with pytest.raises(InputError, match=r"torch\.int64, expected floating"):
        encoder.load()


@pytest.mark.parametrize("name", ["~nobody/x.pt", "x" * 5000, "a\0b", "\x1b[31m.pt"])
def test_impossible_paths_are_not_there(tools, name):
    cls = tools.encoders["wavlm-base"]
    with pytest.raises(InputError, match="are not there") as caught:
        cls(cls.Config(weights=name)).load()
    assert "\x1b" not in str(caught.value)


def test_weights_that_are_not_finite_are_refused(make, tools):
    encoder, model, path = make()
    tensors = tools.spell(model, encoder.layout, "original")
    tensors["encoder.layers.0.fc1.weight"] = torch.full_like(tensors["encoder.layers.0.fc1.weight"], float("nan"))
    torch.save({"cfg": {}, "model": tensors}, path)
    with pytest.raises(InputError, match="not finite"):
        encoder.load()


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", {"model_type": "wavlm", "num_attention_heads": 4}, "num_attention_heads = 4"),
        ("config.json", {"model_type": "bert"}, "those of a bert model"),
        ("preprocessor_config.json", {"sampling_rate": 8000}, "8000 Hz"),
        ("config.json", "{", "cannot be read"),
        ("config.json", "[" * 200_000, "cannot be read"),
        ("config.json", [1], "expected an object"),
        ("preprocessor_config.json", " " * 2_000_000, "at most"),
    ],
)
def test_hugging_face_configurations_that_do_not_fit(make, file, content, message):
    encoder, _, path = make("wavlm-base", "hugging face")
    (path / file).write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(InputError, match=message):
        encoder.load()


def test_without_a_preprocessor_configuration_the_kind_of_norm_decides(make):
    for name, expected in (("wavlm-base", "no"), ("wavlm-large", "yes")):
        encoder, _, _ = make(name, "hugging face")
        encoder.load()
        assert encoder.config.normalize == expected


def test_a_named_pipe_does_not_block(make):
    encoder, _, path = make()
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(InputError, match="named pipe"):
        encoder.load()


def test_a_later_change_of_the_file_changes_nothing(make, tools):
    encoder, _, path = make("wavlm-base", "hugging face")
    wave = tools.noise(1, 8000)
    before = encoder(wave)
    with (path / "model.safetensors").open("r+b") as file:
        file.truncate(100)
    assert torch.equal(encoder(wave), before)
    save_file({"x": torch.ones(1)}, path / "model.safetensors")
    assert torch.equal(encoder(wave), before)
