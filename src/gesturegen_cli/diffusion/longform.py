"""Motion for speech of any length: windows chained by their seed frames."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gesturegen_cli.config.schema import Diffusion, Sampling, Window
from gesturegen_cli.diffusion.sampling import sample_window, sampling_scheduler
from gesturegen_cli.errors import BundleError
from gesturegen_cli.protocols import Denoiser
from gesturegen_cli.types import Conditioning


@dataclass(frozen=True)
class LongMotion:
    """Normalised motion `t d`, and for each seam between windows its jump relative to the usual step."""

    motion: Tensor
    seam_scores: tuple[float, ...]


def plan_windows(frames: int, window: int) -> list[tuple[int, int]]:
    """(start, length) of the windows that cover `frames` frames exactly, in order; only the last may be shorter."""
    return [(start, min(window, frames - start)) for start in range(0, frames, window)]


def sample_long(
    denoiser: Denoiser,
    audio: Tensor,
    source: Tensor,
    *,
    window: Window,
    diffusion: Diffusion,
    sampling: Sampling,
    generator: torch.Generator,
    on_window: Callable[[int, int], None] | None = None,
) -> LongMotion:
    """Audio features `t c` and the picture's normalised motion `d` -> motion of exactly t frames (t >= 1).

    Works on the device and in the type of `source`, where the denoiser has to be, in eval mode.

    The first window starts from the picture's motion held still; every other from the end of the window before. A
    last partial window is computed in full, its audio repeated from the last frame, and cut. Noise is drawn window by
    window, so a prefix of the speech gets the same motion in its full windows (as far as their audio features are
    the same). Scheduler, steps, guidance and clip are those of `sampling`; its `energy` is left to the caller.
    `on_window(done, total)` is called after each window. BundleError if the denoiser gives values that are not finite.
    """
    scheduler = sampling_scheduler(sampling.scheduler, diffusion)
    plan = plan_windows(len(audio), window.frames)
    history = source.expand(window.seed_frames, -1)
    pieces: list[Tensor] = []
    for done, (start, length) in enumerate(plan, 1):
        heard = audio[start : start + length].to(source)
        heard = torch.cat([heard, heard[-1:].expand(window.frames - length, -1)])
        noise = torch.randn(1, window.frames, len(source), generator=generator, device=generator.device)
        motion = sample_window(
            denoiser,
            _condition(heard, history, source),
            noise.to(source),
            scheduler,
            steps=sampling.steps,
            guidance=sampling.guidance,
            clip=sampling.clip,
            generator=generator,
        )[0]
        if not bool(torch.isfinite(motion).all()):
            raise BundleError(
                f"the denoiser gave motion that is not finite at frames {start} to {start + length}",
                "its training went wrong: use another bundle",
            )
        history = torch.cat([history, motion])[-window.seed_frames :]
        pieces.append(motion[:length])
        if on_window is not None:
            on_window(done, len(plan))
    joined = torch.cat(pieces)
    return LongMotion(joined, seam_scores(joined, [start for start, _ in plan[1:]]))


def seam_scores(motion: Tensor, seams: list[int]) -> tuple[float, ...]:
    """Step into each frame of `seams`, divided by the median step of the motion `t d`; near 1 is inconspicuous."""
    if not seams:
        return ()
    steps = torch.linalg.vector_norm(motion.float().diff(dim=0), dim=-1)
    usual = float(steps.median().clamp_min(1e-6))
    return tuple(float(steps[seam - 1]) / usual for seam in seams)


def _condition(audio: Tensor, history: Tensor, source: Tensor) -> Conditioning:
    """A batch of one, with audio and all seed frames in use."""
    return Conditioning(
        audio=audio[None],
        seed=history[None],
        seed_valid=torch.ones(1, len(history), device=source.device, dtype=source.dtype),
        source=source[None],
        audio_keep=torch.ones(1, device=source.device, dtype=source.dtype),
    )
