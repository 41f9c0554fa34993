import dataclasses

import pytest
import torch
from torch import nn

from gesturegen_cli.models.flow_deviation import FlowDeviation
from gesturegen_cli.testing import check_audio_encoder, check_denoiser, check_deviation_model

TINY = FlowDeviation.Config(
    size=64,
    code_dim=4,
    extractor_channels=(8, 8, 12, 12),
    head_channels=8,
    feature_channels=4,
    motion_channels=(8, 8, 12),
    code_channels=4,
    decoder_channels=(8, 8, 12),
)


class Encoder(nn.Module):
    """Frames of 640 samples through one layer."""

    dim, rate = 6, 25.0

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(640, self.dim)

    def forward(self, wave):
        return self.layer(wave[:, : wave.shape[1] // 640 * 640].unflatten(1, (-1, 640))).float()


class Denoiser(nn.Module):
    """The least that uses every condition as it must."""

    def __init__(self, motion_dim=5, audio_dim=7):
        super().__init__()
        self.motion, self.source = nn.Linear(motion_dim, motion_dim), nn.Linear(motion_dim, motion_dim)
        self.audio, self.seed = nn.Linear(audio_dim, motion_dim), nn.Linear(motion_dim, motion_dim)
        self.silence, self.time = nn.Parameter(torch.zeros(motion_dim)), nn.Linear(1, motion_dim)

    def forward(self, motion, timestep, cond):
        keep = cond.audio_keep[:, None, None]
        sound = keep * self.audio(cond.audio) + (1 - keep) * self.silence
        seed = (self.seed(cond.seed) * cond.seed_valid[..., None]).mean(1, keepdim=True)
        once = self.source(cond.source) + self.time(timestep[:, None] / 1000)
        return (self.motion(motion) + sound + seed + once[:, None]).float()


def test_conforming_parts_pass_and_keep_their_mode_weights_and_statistics():
    for part, check in ((Encoder(), check_audio_encoder), (FlowDeviation(TINY), check_deviation_model)):
        part.train()
        before = {name: value.clone() for name, value in part.state_dict().items()}
        check(part)
        assert part.training
        assert all(value.equal(before[name]) for name, value in part.state_dict().items())
        assert all(parameter.grad is None for parameter in part.parameters())
    check_denoiser(Denoiser(), motion_dim=5, audio_dim=7)


def test_a_part_without_parameters_passes():
    class Energy(nn.Module):
        dim, rate = 1, 25.0

        def forward(self, wave):
            return wave[:, : wave.shape[1] // 640 * 640].unflatten(1, (-1, 640)).square().mean(-1, keepdim=True)

    check_audio_encoder(Energy())


class DeadLayer(Encoder):
    def __init__(self):
        super().__init__()
        self.forgotten = nn.Linear(2, 2)


class WrongRate(Encoder):
    rate = 50.0


class WrongDim(Encoder):
    dim = 6

    def forward(self, wave):
        return super().forward(wave)[..., :3]


class Mixing(Encoder):
    def forward(self, wave):
        return super().forward(wave - wave.mean(0, keepdim=True))


class Noisy(Encoder):
    def forward(self, wave):
        features = super().forward(wave)
        return features + 1e-6 * torch.randn(features.shape)


class Hidden(Encoder):
    def __init__(self):
        super().__init__()
        self.state = {"scale": torch.randn(1)}

    def __deepcopy__(self, memo):
        other = type(self)()
        other.load_state_dict(self.state_dict())
        return other

    def forward(self, wave):
        return super().forward(wave) * self.state["scale"]


class LogOfSilence(Encoder):
    def forward(self, wave):
        return super().forward(wave) + wave.abs().mean(1)[:, None, None].log()


class HalfResult(Encoder):
    def forward(self, wave):
        return super().forward(wave).half()


class Stopped(Encoder):
    def forward(self, wave):
        with torch.no_grad():
            return super().forward(wave)


@pytest.mark.parametrize(
    ("encoder", "sentence"),
    [
        (DeadLayer, "no gradient reaches: forgotten.weight, forgotten.bias"),
        (WrongRate, "16000 samples gave 25 steps, expected 50"),
        (WrongDim, r"expected \(2, steps, dim = 6\)"),
        (Mixing, "depend on the others"),
        (Noisy, "two runs in eval mode differ"),
        (Hidden, "saved as safetensors"),
        (LogOfSilence, "silence"),
        (HalfResult, "expected torch.float32"),
        (Stopped, "no_grad inside"),
    ],
)
def test_faults_of_encoders_are_named(encoder, sentence):
    with pytest.raises(AssertionError, match=sentence):
        check_audio_encoder(encoder())


class IgnoresValidity(Denoiser):
    def forward(self, motion, timestep, cond):
        return super().forward(motion, timestep, cond) + cond.seed.mean(1, keepdim=True)


class IgnoresKeep(Denoiser):
    def forward(self, motion, timestep, cond):
        return super().forward(motion, timestep, cond) + cond.audio.mean((1, 2))[:, None, None]


class Deaf(Denoiser):
    def forward(self, motion, timestep, cond):
        return self.motion(motion)


class Forgetful(Denoiser):
    def forward(self, motion, timestep, cond):
        return super().forward(motion, timestep, dataclasses.replace(cond, seed=0 * cond.seed))


class Short(Denoiser):
    def forward(self, motion, timestep, cond):
        return super().forward(motion, timestep, cond)[:, 1:]


@pytest.mark.parametrize(
    ("denoiser", "sentence"),
    [
        (IgnoresValidity, "seed_valid = 0"),
        (IgnoresKeep, "audio_keep = 0"),
        (Deaf, "audio has no effect"),
        (Forgetful, "seed frames have no effect"),
        (Short, "shape"),
    ],
)
def test_faults_of_denoisers_are_named(denoiser, sentence):
    with pytest.raises(AssertionError, match=sentence):
        check_denoiser(denoiser(), motion_dim=5, audio_dim=7)


class OutOfRange(FlowDeviation):
    def animate(self, source, motion):
        return super().animate(source, motion) + 1


class OneWay(FlowDeviation):
    def retarget(self, motion, source):
        return motion


@pytest.mark.parametrize(("model", "sentence"), [(OutOfRange, r"expected \[0, 1\]"), (OneWay, "undo neutralize")])
def test_faults_of_deviation_models_are_named(model, sentence):
    with pytest.raises(AssertionError, match=sentence):
        check_deviation_model(model(TINY))


def test_something_that_is_no_module_is_refused():
    with pytest.raises(AssertionError, match="not a torch"):
        check_audio_encoder(object())


class Writer(Encoder):
    """Writes into the wave it is given."""

    def forward(self, wave):
        wave.mul_(0.5)
        return super().forward(wave)


def test_a_part_that_writes_into_its_input_is_told_so():
    with pytest.raises(AssertionError, match="the input is changed"):
        check_audio_encoder(Writer())
