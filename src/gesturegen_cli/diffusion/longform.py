"""Motion for speech of any length: windows chained by their seed frames, overlapping or not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gesturegen_cli.config.schema import Diffusion, Sampling, Window
from gesturegen_cli.diffusion.sampling import sample_window, sampling_scheduler
from gesturegen_cli.diffusion.selection import COMPARED, best_continuation
from gesturegen_cli.errors import BundleError, ConfigError
from gesturegen_cli.protocols import Denoiser
from gesturegen_cli.types import Conditioning


@dataclass(frozen=True)
class LongMotion:
    """Normalised motion `t d`, the first frame of every window but the first, and the jump into each of these."""

    motion: Tensor
    seams: tuple[int, ...]
    seam_scores: tuple[float, ...]


def plan_windows(frames: int, window: int, overlap: int = 0) -> list[tuple[int, int]]:
    """(start, length) of the windows that cover `frames` frames, in order; only the last may be shorter than `window`.

    Neighbours share exactly `overlap` frames (below `window`), and every window brings at least one frame of its own.
    """
    starts = range(0, max(frames - overlap, 1), window - overlap)
    return [(start, min(window, frames - start)) for start in starts]


def check_overlap(overlap: int, window: Window) -> None:
    """ConfigError unless windows that overlap by so many frames advance."""
    if overlap >= window.frames:
        message = f"sampling.overlap = {overlap}, the model's windows have {window.frames} frames"
        raise ConfigError(message, f"use --set sampling.overlap={window.frames // 8}, or at most {window.frames - 1}")


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

    Works on the device and in the type of `source`, where the denoiser has to be, in eval mode. The first window starts
    from the picture's motion held still; every other from the frames directly before it. With `sampling.overlap` its
    first frames fade linearly from those of the window before (as in Ditto). With `sampling.candidates` above 1, so
    many are drawn of every window but the first, as one batch, and the smoothest continuation is kept (selection.py).
    `sampling.energy` is left to the caller.

    A last partial window is computed in full, its audio repeated from the last frame, and cut. Noise is drawn window by
    window, so a prefix of the speech gets the same motion in its full windows, but for frames that fade into the next
    (as far as their audio features are the same). `on_window(done, total)` is called after each window. ConfigError:
    the overlap is as long as a window. BundleError: the denoiser gives values that are not finite.
    """
    check_overlap(sampling.overlap, window)
    scheduler = sampling_scheduler(sampling.scheduler, diffusion)
    plan = plan_windows(len(audio), window.frames, sampling.overlap)
    # Row `seeds + f` is frame f: the picture held still comes before frame 0.
    seeds, overlap = window.seed_frames, sampling.overlap
    rows = source.expand(seeds + len(audio), -1).clone()
    for done, (start, length) in enumerate(plan, 1):
        heard = audio[start : start + length].to(source)
        heard = torch.cat([heard, heard[-1:].expand(window.frames - length, -1)])
        count = sampling.candidates if start else 1
        noise = torch.randn(count, window.frames, len(source), generator=generator, device=generator.device)
        drawn = sample_window(
            denoiser,
            _condition(heard, rows[start : start + seeds], source, count),
            noise.to(source),
            scheduler,
            steps=sampling.steps,
            eta=sampling.eta,
            guidance=sampling.guidance,
            clip=sampling.clip,
            generator=generator,
        )
        if not bool(torch.isfinite(drawn).all()):
            raise BundleError(
                f"the denoiser gave motion that is not finite at frames {start} to {start + length}",
                "its training went wrong: use another bundle",
            )
        own = seeds + start
        known = rows[: own + overlap]
        motion = best_continuation(drawn, known[-max(overlap, COMPARED) :])[:length]
        if start and overlap:
            motion = torch.cat([_fade(rows[own : own + overlap], motion[:overlap]), motion[overlap:]])
        rows[own : own + length] = motion
        if on_window is not None:
            on_window(done, len(plan))
    motion = rows[seeds:]
    seams = tuple(start for start, _ in plan[1:])
    return LongMotion(motion, seams, seam_scores(motion, seams))


def seam_scores(motion: Tensor, seams: Sequence[int]) -> tuple[float, ...]:
    """Step into each frame of `seams`, divided by the median step of the motion `t d`; near 1 is inconspicuous."""
    if not seams:
        return ()
    steps = torch.linalg.vector_norm(motion.float().diff(dim=0), dim=-1)
    usual = float(steps.median().clamp_min(1e-6))
    return tuple(float(steps[seam - 1]) / usual for seam in seams)


def _fade(old: Tensor, new: Tensor) -> Tensor:
    """From `old` to `new`, both `n d`, in n + 1 equal steps: neither end is wholly one of them."""
    weight = torch.arange(1, len(old) + 1, device=old.device, dtype=old.dtype) / (len(old) + 1)
    return torch.lerp(old, new, weight[:, None])


def _condition(audio: Tensor, history: Tensor, source: Tensor, count: int) -> Conditioning:
    """The same condition `count` times, with audio and all seed frames in use."""
    return Conditioning(
        audio=audio.expand(count, -1, -1),
        seed=history.expand(count, -1, -1),
        seed_valid=torch.ones(count, len(history), device=source.device, dtype=source.dtype),
        source=source.expand(count, -1),
        audio_keep=torch.ones(count, device=source.device, dtype=source.dtype),
    )
