"""Conformance kit: what every audio encoder, denoiser and deviation model has to keep. For authors of plugins.

A plugin's test file is three lines:

    from gesturegen_cli.testing import check_denoiser
    def test_my_denoiser_conforms():
        check_denoiser(MyDenoiser(MyDenoiser.Config()), motion_dim=98, audio_dim=64)

Each check raises AssertionError with a sentence that says what is wrong. The model is left as it was: what needs
train mode or other weights works on a copy.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from gesturegen_cli.types import SAMPLE_RATE, Conditioning

TOLERANCE = 1e-4
"""Largest difference that rounding may make between two ways to compute the same."""

Run = Callable[[Any], Tensor]


def check_audio_encoder(encoder: Any) -> None:
    """Check an `AudioEncoder`: lengths, rate, silence, independence of the batch, and all that holds for any module."""
    wave = 0.1 * torch.randn(2, SAMPLE_RATE, generator=_generator())
    with _evaluating(encoder):
        for samples in (SAMPLE_RATE, SAMPLE_RATE // 2 + 77):
            features = _float32(encoder(wave[:, :samples]), "features")
            steps = round(samples / SAMPLE_RATE * encoder.rate)
            _require(
                features.ndim == 3 and len(features) == 2 and features.shape[2] == encoder.dim,
                f"features of 2 waves have shape {_shape(features)}, expected (2, steps, dim = {encoder.dim})",
            )
            _require(
                abs(features.shape[1] - steps) <= 1,
                f"{samples} samples gave {features.shape[1]} steps, expected {steps} +- 1 at rate {encoder.rate}",
            )
        silence = encoder(torch.zeros(1, SAMPLE_RATE))
        _require(bool(silence.isfinite().all()), "features of silence are not finite")
        _independent(lambda part: encoder(wave[part]), "features")
    _check_module(encoder, lambda model: model(wave))


def check_denoiser(denoiser: Any, *, motion_dim: int, audio_dim: int, frames: int = 80, seed_frames: int = 4) -> None:
    """Check a `Denoiser` on windows of `frames`: shapes, what the flags of `Conditioning` promise, and the rest.

    A seed frame marked as not valid, and audio that is not kept, must not change the result.
    """
    draw = _generator()
    motion = torch.randn(3, frames, motion_dim, generator=draw)
    timestep = torch.tensor([0, 500, 999])
    cond = Conditioning(
        audio=torch.randn(3, frames, audio_dim, generator=draw),
        seed=torch.randn(3, seed_frames, motion_dim, generator=draw),
        seed_valid=torch.tensor([[1.0] * seed_frames, [0.0] * seed_frames, [1.0] * seed_frames]),
        source=torch.randn(3, motion_dim, generator=draw),
        audio_keep=torch.tensor([1.0, 1.0, 0.0]),
    )
    with _evaluating(denoiser):
        clean = _float32(denoiser(motion, timestep, cond), "clean motion")
        _require(
            clean.shape == motion.shape, f"clean motion has shape {_shape(clean)}, expected that of the motion given"
        )
        _independent(lambda part: denoiser(motion[part], timestep[part], _part(cond, part)), "clean motion")
    opened = _disturbed(denoiser)
    with _evaluating(opened):
        _keeps_flags(lambda changed: opened(motion, timestep, changed), cond)
    _check_module(denoiser, lambda model: model(motion, timestep, cond))


def _keeps_flags(run: Callable[[Conditioning], Tensor], cond: Conditioning) -> None:
    """Items 1 and 2 of `cond` have no seed and no audio; item 0 has both."""
    plain = run(cond)
    louder, moved = run(replace(cond, audio=cond.audio + 1)), run(replace(cond, seed=cond.seed + 1))
    _require(not torch.equal(louder[0], plain[0]), "audio has no effect although audio_keep = 1")
    _require(not torch.equal(moved[0], plain[0]), "seed frames have no effect although seed_valid = 1")
    _require(_close(louder[2], plain[2]), "audio with audio_keep = 0 changes the result")
    _require(_close(moved[1], plain[1]), "seed frames with seed_valid = 0 change the result")


def check_deviation_model(model: Any) -> None:
    """Check a `DeviationModel`: shapes, image range, the way through person-free space and back, and the rest."""
    frames = torch.rand(3, 3, model.size, model.size, generator=_generator())
    with _evaluating(model):
        motion = _float32(model.encode(frames), "motion")
        _require(
            motion.shape == (3, model.motion_dim),
            f"motion of 3 frames has shape {_shape(motion)}, expected (3, motion_dim = {model.motion_dim})",
        )
        source = model.encode_source(frames[:1])
        images = _float32(model.animate(source, motion), "images")
        _require(images.shape == frames.shape, f"images have shape {_shape(images)}, expected {_shape(frames)}")
        _require(
            bool((images >= 0).all() and (images <= 1).all()),
            f"images lie in [{images.min():.3f}, {images.max():.3f}], expected [0, 1]",
        )
        neutral = _float32(model.neutralize(motion, motion[0]), "person-free motion")
        _require(
            neutral.shape == motion.shape,
            f"person-free motion has shape {_shape(neutral)}, expected {_shape(motion)}",
        )
        back = model.retarget(neutral, source)
        _require(_close(back, motion), "retarget does not undo neutralize for the person in the picture")
        _independent(lambda part: model.encode(frames[part]), "motion")
        _independent(lambda part: model.animate(source, motion[part]), "images")
    _check_module(model, lambda module: module.animate(module.encode_source(frames[:1]), module.encode(frames)))


def _check_module(model: Any, run: Run) -> None:
    """What holds for every module: determinism, gradients, safetensors, bfloat16."""
    _require(isinstance(model, nn.Module), f"{type(model).__name__} is not a torch.nn.Module")
    with _evaluating(model):
        first = run(model)
        _require(torch.equal(first, run(model)), "two runs in eval mode differ")
        with torch.autocast("cpu", torch.bfloat16):
            half = run(model)
        _require(bool(half.isfinite().all()), "the result under bfloat16 autocast is not finite")
        _require(half.shape == first.shape, "the result under bfloat16 autocast has another shape")
        _survives_saving(model, run)
    _reaches_all(model, run)


def _survives_saving(model: nn.Module, run: Run) -> None:
    """A model saved as safetensors and loaded into a fresh one gives identical output."""
    before = run(model)
    data = save({name: tensor.contiguous() for name, tensor in model.state_dict().items()})
    config = getattr(model, "config", None)
    fresh = _disturbed(model if config is None else type(model)(config)).eval()
    fresh.load_state_dict(load(data), strict=True)
    _require(
        torch.equal(run(fresh), before),
        "a model saved as safetensors and loaded again gives another result; is some state not in state_dict()?",
    )


def _reaches_all(model: nn.Module, run: Run) -> None:
    """Every parameter that asks for gradients gets one, in train mode, from a fixed mix of the outputs."""
    learner = _disturbed(model).train()
    names = [name for name, parameter in learner.named_parameters() if parameter.requires_grad]
    if not names:
        return
    with torch.enable_grad():
        result = run(learner)
        _require(result.requires_grad, "the result has no gradient; is there a no_grad inside?")
        (result * torch.randn(result.shape, generator=_generator())).sum().backward()  # type: ignore[no-untyped-call] # torch
    gradients = {name: learner.get_parameter(name).grad for name in names}
    unreached = [name for name, gradient in gradients.items() if gradient is None or not gradient.any()]
    _require(not unreached, f"no gradient reaches: {', '.join(unreached)}")
    broken = [name for name, gradient in gradients.items() if gradient is not None and not gradient.isfinite().all()]
    _require(not broken, f"gradients are not finite: {', '.join(broken)}")


def _disturbed(model: nn.Module) -> nn.Module:
    """A copy with all parameters moved a little: layers that start at zero rightly block signals and gradients."""
    moved, draw = copy.deepcopy(model), _generator()
    with torch.no_grad():
        for parameter in moved.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=draw).to(parameter))
    return moved


def _independent(run: Callable[[slice], Tensor], what: str) -> None:
    """Items computed together equal items computed one by one."""
    together = run(slice(None))
    for item in range(len(together)):
        alone = run(slice(item, item + 1))
        _require(_close(alone[0], together[item]), f"{what} of one item depend on the others of its batch")


class _evaluating:
    """Eval mode without gradients; afterwards every part is in the mode it was in."""

    def __init__(self, model: nn.Module) -> None:
        _require(isinstance(model, nn.Module), f"{type(model).__name__} is not a torch.nn.Module")
        self.model, self.modes = model, {part: part.training for part in model.modules()}
        self.no_grad = torch.no_grad()

    def __enter__(self) -> None:
        self.model.eval()
        self.no_grad.__enter__()

    def __exit__(self, *error: object) -> None:
        self.no_grad.__exit__(*error)
        for part, mode in self.modes.items():
            part.training = mode


def _part(cond: Conditioning, part: slice) -> Conditioning:
    return Conditioning(
        audio=cond.audio[part],
        seed=cond.seed[part],
        seed_valid=cond.seed_valid[part],
        source=cond.source[part],
        audio_keep=cond.audio_keep[part],
    )


def _require(holds: bool, sentence: str) -> None:
    # An explicit raise: `assert` statements vanish under python -O.
    if not holds:
        raise AssertionError(sentence)


def _float32(tensor: Tensor, what: str) -> Tensor:
    _require(tensor.dtype == torch.float32, f"{what} are {tensor.dtype}, expected torch.float32")
    _require(bool(tensor.isfinite().all()), f"{what} are not finite")
    return tensor


def _close(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, atol=TOLERANCE, rtol=TOLERANCE)


def _shape(tensor: Tensor) -> tuple[int, ...]:
    return tuple(tensor.shape)


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)
