"""Conformance kit: what every audio encoder, denoiser and deviation model has to keep. For authors of plugins.

A plugin's test file is three lines:

    from gesturegen_cli.testing import check_denoiser
    def test_my_denoiser_conforms():
        check_denoiser(MyDenoiser(MyDenoiser.Config()), motion_dim=98, audio_dim=64)

Each raises AssertionError with a sentence that says what is wrong; `audio_encoder_checks` and its like give the single
checks, for reports. The model is left as it was: what needs train mode or other weights works on a copy.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from gesturegen_cli.types import SAMPLE_RATE, Conditioning

TOLERANCE = 1e-4
"""Largest difference that rounding may make between two ways to compute the same."""

Run = Callable[[Any], Tensor]


@dataclass(frozen=True)
class Check:
    """One thing that a part has to keep."""

    claim: str
    """What holds if the check passes."""
    run: Callable[[], None]
    """Raises AssertionError with a sentence if it does not hold."""


def check_audio_encoder(encoder: Any) -> None:
    """Check an `AudioEncoder`: lengths, rate, silence, independence of the batch, and all that holds for any module."""
    _run_all(audio_encoder_checks(encoder))


def check_denoiser(denoiser: Any, *, motion_dim: int, audio_dim: int, frames: int = 80, seed_frames: int = 4) -> None:
    """Check a `Denoiser` on windows of `frames`: shapes, what the flags of `Conditioning` promise, and the rest.

    A seed frame marked as not valid, and audio that is not kept, must not change the result.
    """
    _run_all(denoiser_checks(denoiser, motion_dim, audio_dim, frames, seed_frames))


def check_deviation_model(model: Any) -> None:
    """Check a `DeviationModel`: shapes, image range, the way through person-free space and back, and the rest."""
    _run_all(deviation_model_checks(model))


def audio_encoder_checks(encoder: Any) -> list[Check]:
    """All that an audio encoder has to keep."""

    def speech() -> Tensor:  # anew for every check: a part that writes into its input fails one check, not the others
        return 0.1 * torch.randn(2, SAMPLE_RATE, generator=_generator())

    def gives_steps() -> None:
        for samples in (SAMPLE_RATE, SAMPLE_RATE // 2 + 77):
            features = _float32(encoder(speech()[:, :samples]), "features")
            steps = round(samples / SAMPLE_RATE * encoder.rate)
            _require(
                features.ndim == 3 and len(features) == 2 and features.shape[2] == encoder.dim,
                f"features of 2 waves have shape {_shape(features)}, expected (2, steps, dim = {encoder.dim})",
            )
            _require(
                abs(features.shape[1] - steps) <= 1,
                f"{samples} samples gave {features.shape[1]} steps, expected {steps} +- 1 at rate {encoder.rate}",
            )

    def leaves_waves() -> None:
        wave = speech()
        encoder(wave)
        _require(torch.equal(wave, speech()), "the input is changed")

    def survives_silence() -> None:
        _float32(encoder(torch.zeros(1, SAMPLE_RATE)), "features of silence")

    return [
        _has(encoder, dim=int, rate=float),
        _quietly(encoder, "features are float32 `b l dim`, at the rate stated", gives_steps),
        _quietly(encoder, "features of silence are finite", survives_silence),
        _quietly(encoder, "a wave's features do not depend on its batch", _independent(lambda i: encoder(speech()[i]))),
        _quietly(encoder, "waves are left as they were", leaves_waves),
        *_module_checks(encoder, lambda model: model(speech())),
    ]


def denoiser_checks(
    denoiser: Any, motion_dim: int, audio_dim: int, frames: int = 80, seed_frames: int = 4
) -> list[Check]:
    """All that a denoiser of these sizes has to keep."""
    timestep = torch.tensor([0, 500, 999])

    def noised() -> Tensor:
        return torch.randn(3, frames, motion_dim, generator=_generator())

    def told() -> Conditioning:
        draw = _generator()
        return Conditioning(
            audio=torch.randn(3, frames, audio_dim, generator=draw),
            seed=torch.randn(3, seed_frames, motion_dim, generator=draw),
            seed_valid=torch.tensor([[1.0] * seed_frames, [0.0] * seed_frames, [1.0] * seed_frames]),
            source=torch.randn(3, motion_dim, generator=draw),
            audio_keep=torch.tensor([1.0, 1.0, 0.0]),
        )

    def gives_motion() -> None:
        motion = noised()
        clean = _float32(denoiser(motion, timestep, told()), "clean motion")
        _require(
            clean.shape == motion.shape, f"clean motion has shape {_shape(clean)}, expected that of the motion given"
        )

    def keeps_flags() -> None:
        opened = _disturbed(denoiser).eval()
        _keeps_flags(lambda changed: opened(noised(), timestep, changed), told())

    def leaves_inputs() -> None:
        motion, cond, before = noised(), told(), told()
        denoiser(motion, timestep, cond)
        same = [torch.equal(motion, noised())]
        same += [torch.equal(getattr(cond, field.name), getattr(before, field.name)) for field in fields(cond)]
        _require(all(same), "the input is changed")

    alone = _independent(lambda i: denoiser(noised()[i], timestep[i], _part(told(), i)), "clean motion")
    return [
        _has(denoiser),
        _quietly(denoiser, "clean motion is float32 and has the shape of the motion given", gives_motion),
        _quietly(denoiser, "a window's result does not depend on its batch", alone),
        _quietly(denoiser, "audio and seed frames count where their flags say so, and nowhere else", keeps_flags),
        _quietly(denoiser, "motion and conditions are left as they were", leaves_inputs),
        *_module_checks(denoiser, lambda model: model(noised(), timestep, told())),
    ]


def deviation_model_checks(model: Any) -> list[Check]:
    """All that a deviation model has to keep."""

    def frames() -> Tensor:
        return torch.rand(3, 3, model.size, model.size, generator=_generator())

    def gives_motion() -> None:
        motion = _float32(model.encode(frames()), "motion")
        _require(
            motion.shape == (3, model.motion_dim),
            f"motion of 3 frames has shape {_shape(motion)}, expected (3, motion_dim = {model.motion_dim})",
        )

    def gives_images() -> None:
        drawn = frames()
        images = _float32(model.animate(model.encode_source(drawn[:1]), model.encode(drawn)), "images")
        _require(images.shape == drawn.shape, f"images have shape {_shape(images)}, expected {_shape(drawn)}")
        _require(
            bool((images >= 0).all() and (images <= 1).all()),
            f"images lie in [{images.min():.3f}, {images.max():.3f}], expected [0, 1]",
        )

    def comes_back() -> None:
        motion = model.encode(frames())
        neutral = _float32(model.neutralize(motion, motion[0]), "person-free motion")
        _require(
            neutral.shape == motion.shape,
            f"person-free motion has shape {_shape(neutral)}, expected {_shape(motion)}",
        )
        back = model.retarget(neutral, model.encode_source(frames()[:1]))
        _require(_close(back, motion), "retarget does not undo neutralize for the person in the picture")

    def is_independent() -> None:
        drawn = frames()
        source, motion = model.encode_source(drawn[:1]), model.encode(drawn)
        _independent(lambda i: model.encode(drawn[i]), "motion")()
        _independent(lambda i: model.animate(source, motion[i]), "images")()

    return [
        _has(model, motion_dim=int, size=int),
        _quietly(model, "motion is float32 `b motion_dim`", gives_motion),
        _quietly(model, "images are float32 `b 3 size size` in [0, 1]", gives_images),
        _quietly(model, "retarget undoes neutralize for the person in the picture", comes_back),
        _quietly(model, "a frame's motion and image do not depend on its batch", is_independent),
        *_module_checks(
            model, lambda module: module.animate(module.encode_source(frames()[:1]), module.encode(frames()))
        ),
    ]


def _run_all(checks: list[Check]) -> None:
    for check in checks:
        check.run()


def _has(model: Any, **numbers: type[int] | type[float]) -> Check:
    """A module of the seam's members; a whole number will do where a fraction may stand."""

    def run() -> None:
        _require(isinstance(model, nn.Module), f"{type(model).__name__} is not a torch.nn.Module")
        for name, kind in numbers.items():
            _require(hasattr(model, name), f"{type(model).__name__} has no attribute '{name}'")
            value = getattr(model, name)
            fits = isinstance(value, (int, kind)) and not isinstance(value, bool) and 0 < value < float("inf")
            _require(fits, f"{name} is {value!r}, expected a positive {kind.__name__}")

    members = f" with {' and '.join(numbers)}" if numbers else ""
    return Check(f"it is a torch.nn.Module{members}", run)


def _quietly(model: Any, claim: str, run: Callable[[], None]) -> Check:
    """A check in eval mode and without gradients."""

    def guarded() -> None:
        with _evaluating(model):
            run()

    return Check(claim, guarded)


def _keeps_flags(run: Callable[[Conditioning], Tensor], cond: Conditioning) -> None:
    """Items 1 and 2 of `cond` have no seed and no audio; item 0 has both."""
    plain = run(cond)
    louder, moved = run(replace(cond, audio=cond.audio + 1)), run(replace(cond, seed=cond.seed + 1))
    _require(not torch.equal(louder[0], plain[0]), "audio has no effect although audio_keep = 1")
    _require(not torch.equal(moved[0], plain[0]), "seed frames have no effect although seed_valid = 1")
    _require(_close(louder[2], plain[2]), "audio with audio_keep = 0 changes the result")
    _require(_close(moved[1], plain[1]), "seed frames with seed_valid = 0 change the result")


def _module_checks(model: Any, run: Run) -> list[Check]:
    """What holds for every module: determinism, bfloat16, safetensors, gradients."""

    def repeats() -> None:
        _require(torch.equal(run(model), run(model)), "two runs in eval mode differ")

    def survives_half() -> None:
        first = run(model)
        with torch.autocast("cpu", torch.bfloat16):
            half = run(model)
        _require(bool(half.isfinite().all()), "the result under bfloat16 autocast is not finite")
        _require(half.shape == first.shape, "the result under bfloat16 autocast has another shape")

    return [
        _quietly(model, "two runs in eval mode are equal", repeats),
        _quietly(model, "bfloat16 autocast gives finite results of the same shape", survives_half),
        _quietly(model, "weights survive safetensors", lambda: _survives_saving(model, run)),
        Check("gradients reach every parameter, and are finite", lambda: _reaches_all(model, run)),
    ]


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


def _independent(run: Callable[[slice], Tensor], what: str = "features") -> Callable[[], None]:
    """Items computed together equal items computed one by one."""

    def check() -> None:
        together = run(slice(None))
        for item in range(len(together)):
            alone = run(slice(item, item + 1))
            _require(_close(alone[0], together[item]), f"{what} of one item depend on the others of its batch")

    return check


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode without gradients; afterwards every part is in the mode it was in."""
    modes = {part: part.training for part in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part, mode in modes.items():
            part.training = mode


def _part(cond: Conditioning, part: slice) -> Conditioning:
    return Conditioning(**{field.name: getattr(cond, field.name)[part] for field in fields(cond)})


def _require(holds: bool, sentence: str) -> None:
    # An explicit raise: `assert` statements vanish under python -O.
    if not holds:
        raise AssertionError(sentence)


def _float32(tensor: Tensor, what: str) -> Tensor:
    _require(isinstance(tensor, Tensor), f"{what} are {type(tensor).__name__}, expected a tensor")
    _require(tensor.dtype == torch.float32, f"{what} are {tensor.dtype}, expected torch.float32")
    _require(bool(tensor.isfinite().all()), f"{what} are not finite")
    return tensor


def _close(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, atol=TOLERANCE, rtol=TOLERANCE)


def _shape(tensor: Tensor) -> tuple[int, ...]:
    return tuple(tensor.shape)


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)
