"""What the encoders promise: conformance, layers, windows, laziness, copies and devices."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch.nn import functional

from gesturegen_cli import registry
from gesturegen_cli.data.features import encode_audio
from gesturegen_cli.errors import ConfigError, InputError
from gesturegen_cli.testing import check_audio_encoder
from gesturegen_cli.types import AudioClip
from gesturegen_wavlm.backbone import cut_windows
from gesturegen_wavlm.encoders import HubertBase, Wav2Vec2Base, WavLMBase, WavLMLarge
from gesturegen_wavlm.s2g import S2G1059

NAMES = ("wavlm-base", "wavlm-large", "hubert-base", "wav2vec2-base")


@pytest.fixture
def make(tools, tmp_path):
    def made(name: str = "wavlm-large", **config):
        cls = tools.encoders[name]
        model = tools.random_model(cls.layout)
        path = tools.write_weights(tmp_path, model, cls.layout)
        return cls(cls.Config(weights=str(path), **config)), model

    return made


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("config", [{}, {"mix": True}, {"layers": (1, -1)}, {"layer": 2}])
def test_keeps_every_promise_of_an_audio_encoder(make, name, config):
    check_audio_encoder(make(name, **config)[0])


@pytest.mark.parametrize("samples", [0, 1, 300, 400, 479, 480, 481, 16000, 16001, 16159, 16161, 51199])
def test_steps_are_as_many_as_the_core_expects(make, tools, samples):
    encoder, _ = make(normalize="no")
    assert encoder(tools.noise(1, samples)).shape == (1, max(1, round(samples / 320)), 16)


def test_step_j_is_centred_at_j_and_a_half(make, tools, monkeypatch):
    """A sample reaches the convolutions of those steps whose 400 samples, centred on their 320, hold it."""
    encoder, model = make(normalize="no", layer=1)
    encoder.load()
    only_convolutions = lambda wave, num_layers: ([model.feature_extractor(wave, None)[0]], None)  # noqa: E731
    monkeypatch.setattr(encoder.backbone._model, "extract_features", only_convolutions)
    wave = tools.noise(1, 320 * 21)

    def steps(sample: int) -> list[int]:
        touched = wave.clone()
        touched[0, sample] += 1
        return (encoder(touched) - encoder(wave)).abs().sum(dim=-1)[0].nonzero().flatten().tolist()

    assert steps(320 * 10 + 40) == steps(320 * 10 + 160) == steps(320 * 10 + 279) == [10]
    assert steps(320 * 10 + 39) == [9, 10]
    assert steps(320 * 10 + 280) == [10, 11]


@pytest.mark.parametrize("name", NAMES)
def test_layers_are_those_of_torchaudio(make, tools, name):
    wave = tools.noise(1, 8000)
    _, model = make(name, normalize="no")
    states = model.extract_features(functional.pad(wave, (40, 40)))[0]
    last = model(functional.pad(wave, (40, 40)))[0]  # of large models, after the norm at the end
    for layer, expected in {1: states[0], 2: states[1], -3: states[0], 3: last, -1: last}.items():
        assert torch.equal(make(name, normalize="no", layer=layer)[0](wave), expected), layer
    averaged = make(name, normalize="no", layers=(1, 3))[0](wave)
    assert torch.allclose(averaged, (states[0] + last) / 2, atol=1e-6)
    mixed, _ = make(name, normalize="no", mix=True)
    mean = (states[0] + states[1] + last) / 3
    assert torch.allclose(mixed(wave), mean, atol=1e-6)
    mixed.mix.data = torch.tensor([0.0, 40.0, 0.0])
    assert torch.allclose(mixed(wave), states[1], atol=1e-6)
    assert set(mixed.state_dict()) == {"mix"}


@pytest.mark.parametrize("config", [{"layer": 0}, {"layer": 4}, {"layers": (1, -4)}, {"layer": 1, "mix": True}])
def test_impossible_layers_are_refused(tools, config):
    cls = tools.encoders["wavlm-base"]
    with pytest.raises(ConfigError, match="layer"):
        cls(cls.Config(**config))


def test_windows_cover_all_steps_once():
    for steps in (1, 10, 13, 14, 15, 40, 41):
        for chunk, context in ((10, 2), (10, 0), (7, 3), (5, 9)):
            windows = list(cut_windows(steps, chunk, context))
            kept = [step for _, _, first, last in windows for step in range(first, last)]
            assert kept == list(range(steps))
            for begin, end, first, last in windows:
                assert 0 <= begin <= first < last <= end <= steps
                assert len(windows) == 1 or (first - begin in (context, first) and last - first <= chunk)
                assert end - begin <= chunk + 2 * context


@pytest.mark.parametrize("name", NAMES)
def test_pieces_of_the_core_give_the_features_of_the_whole(make, tools, name):
    """The core cuts at 30 s with 1 s of context, and so does the encoder by default: nothing may be between them."""
    encoder, _ = make(name, normalize="no")
    encoder.cuts_long_speech = False  # as if the core cut
    samples = tools.noise(65 * 16000).clamp(-1, 1).numpy()
    samples *= np.float32(0.05 / np.sqrt(np.mean(samples**2)))
    frames = 65 * 50
    cut = encode_audio(encoder, AudioClip(samples), frames, 50.0)
    whole = encode_audio(encoder, AudioClip(samples), frames, 50.0, chunk_seconds=1000)
    assert torch.allclose(cut, whole, atol=1e-6)
    one_window = type(encoder)(type(encoder).Config(**{**vars(encoder.config), "chunk_seconds": 600.0}))
    assert not torch.allclose(cut, encode_audio(one_window, AudioClip(samples), frames, 50.0, chunk_seconds=1000))


@pytest.mark.parametrize("normalize", ["yes", "no"])
def test_the_core_hands_over_whole_recordings(make, tools, normalize):
    """So it makes no difference, not even to normalised features, how the core would cut."""
    encoder, _ = make("wavlm-large", normalize=normalize)
    clip = AudioClip(tools.noise(40 * 16000).clamp(-1, 1).numpy())
    frames = 40 * 25
    once = encode_audio(encoder, clip, frames, 25.0, chunk_seconds=1000)
    assert torch.equal(encode_audio(encoder, clip, frames, 25.0, chunk_seconds=7), once)


def test_normalisation_uses_the_whole_wave_and_not_the_chunk(make, tools):
    encoder, model = make(normalize="yes", chunk_seconds=2.0, context_seconds=0.0)
    wave = tools.noise(1, 5 * 16000) * torch.linspace(0.1, 1, 5 * 16000)
    normal = functional.layer_norm(wave, (5 * 16000,))
    expected = model(functional.pad(normal[:, 32000:64000], (40, 40)))[0]
    assert torch.equal(encoder(wave)[:, 100:200], expected)


def test_construction_touches_no_file_and_works_on_meta(tools):
    for cls in (WavLMBase, WavLMLarge, HubertBase, Wav2Vec2Base, S2G1059):
        with torch.device("meta"):
            encoder = cls(cls.Config(weights="not/there"))
        assert not encoder.state_dict()
        with pytest.raises(InputError, match="'there'"):
            encoder.load()


def test_full_sizes_are_those_published():
    from gesturegen_wavlm.layouts import build_skeleton

    counts = {WavLMBase: 94_381_168, WavLMLarge: 315_452_096, HubertBase: 94_370_944, Wav2Vec2Base: 94_370_944}
    for cls, count in counts.items():
        assert sum(p.numel() for p in build_skeleton(cls.layout).parameters()) == count


def test_the_backbone_is_frozen_and_no_part_of_the_module(make, tools):
    encoder, _ = make(mix=True)
    wave = tools.noise(1, 8000)
    quiet = encoder.eval()(wave)
    assert torch.equal(encoder.train()(wave), quiet)
    quiet.sum().backward()
    assert [name for name, _ in encoder.named_parameters()] == ["mix"]
    assert encoder.mix.grad is not None
    assert not any(p.requires_grad for p in encoder.backbone._model.parameters())


def test_copies_share_the_weights_and_keep_their_own_configuration(make, tools):
    encoder, _ = make()
    wave = tools.noise(1, 8000)
    before = copy.deepcopy(encoder)
    result = encoder(wave)
    after = copy.deepcopy(encoder)
    assert after.backbone is not encoder.backbone
    assert after.backbone._model is encoder.backbone._model
    assert not before.config.sha256
    assert torch.equal(before(wave), result)
    assert torch.equal(after(wave), result)


def test_first_use_under_inference_mode_leaves_a_mix_trainable(make, tools):
    encoder, _ = make(mix=True)
    wave = tools.noise(1, 8000)
    with torch.inference_mode():
        encoder(wave)
    encoder(wave).square().sum().backward()
    assert encoder.mix.grad.abs().sum() > 0


def test_types_and_moves(make, tools):
    encoder, _ = make()
    wave = tools.noise(1, 8000)
    assert encoder(wave.half()).dtype == torch.float16
    encoder.half()
    assert encoder(wave).dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert encoder(wave).dtype == torch.float32


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_backbone_follows_the_wave_to_another_device(make, tools):
    encoder, _ = make()
    wave = tools.noise(1, 8000)
    expected, moved = encoder(wave), copy.deepcopy(encoder).to("cuda")
    assert torch.allclose(moved(wave.cuda()).cpu(), expected, atol=1e-3)
    assert torch.equal(encoder(wave), expected)


def test_waves_that_are_not_finite_are_refused(make):
    encoder, _ = make()
    for value in (float("nan"), float("inf")):
        wave = torch.zeros(1, 16000)
        wave[0, 5] = value
        with pytest.raises(InputError, match="not finite"):
            encoder(wave)


def test_the_global_generator_is_left_alone(make, tools):
    encoder, _ = make(mix=True)
    state = torch.get_rng_state()
    encoder(tools.noise(1, 8000))
    assert torch.equal(torch.get_rng_state(), state)


def test_the_registry_builds_them_by_name():
    for name in (*NAMES, "s2g-1059"):
        encoder = registry.build("audio_encoders", name, {"weights": "x.pt", "chunk_seconds": 20})
        assert encoder.config.chunk_seconds == 20.0
    with pytest.raises(ConfigError, match="normalize"):
        registry.build("audio_encoders", "wavlm-base", {"normalize": "maybe"})
