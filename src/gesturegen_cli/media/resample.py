"""Resampling of any length in constant memory: torchaudio's windowed sinc, block by block with context."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from fractions import Fraction

import numpy as np
import torch
import torchaudio
from numpy.typing import NDArray

from gesturegen_cli.types import SAMPLE_RATE

_LOWPASS_WIDTH = 6
_ROLLOFF = 0.99
_KERNEL_NUMBERS = 8_000_000


def resampled_length(samples: int, rate: int) -> int:
    """Samples at 16 kHz for `samples` at `rate` Hz: round(samples * 16000 / rate)."""
    return round(samples * SAMPLE_RATE / rate)


def iter_resampled(blocks: Iterable[NDArray[np.float32]], rate: int) -> Iterator[NDArray[np.float32]]:
    """Yield mono `blocks` (each `n`, any length) at `rate` Hz as blocks at 16 kHz.

    Equal to `torchaudio.functional.resample` of the whole recording up to rounding. The total length is a few samples
    more or less than `resampled_length`; the caller trims or pads. Rates whose ratio to 16 kHz is no small fraction
    (11127 Hz would need a kernel of 178 million numbers) use the nearest one that is, wrong by less than one in
    100000.
    """
    ratio = _ratio(rate)
    step, gain = ratio.numerator, ratio.denominator
    if step == gain:
        yield from blocks
        return
    resample = torchaudio.transforms.Resample(
        step, gain, lowpass_filter_width=_LOWPASS_WIDTH, rolloff=_ROLLOFF, resampling_method="sinc_interp_hann"
    )
    # Half the filter, as torchaudio computes it, in whole steps; one more as its last step sees its own samples.
    reach = math.ceil(_LOWPASS_WIDTH * step / (min(step, gain) * _ROLLOFF))
    context = (math.ceil(reach / step) + 1) * step
    pending = np.zeros(context, np.float32)
    for block in blocks:
        pending = np.concatenate([pending, block])
        steps = (len(pending) - 2 * context) // step
        if steps * step >= min(rate, SAMPLE_RATE):
            yield _resample_middle(resample, pending[: 2 * context + steps * step], context, ratio)
            pending = pending[steps * step :]
    rest = len(pending) - context
    if rest > 0:
        padding = -rest % step + context
        yield _resample_middle(resample, np.pad(pending, (0, padding)), context, ratio)


def _resample_middle(
    resample: torch.nn.Module, samples: NDArray[np.float32], context: int, ratio: Fraction
) -> NDArray[np.float32]:
    """Resample all, keep what belongs to the samples between the two contexts."""
    with torch.inference_mode():
        whole = resample(torch.from_numpy(np.ascontiguousarray(samples))).numpy()
    first = context // ratio.numerator * ratio.denominator
    count = (len(samples) - 2 * context) // ratio.numerator * ratio.denominator
    result: NDArray[np.float32] = whole[first : first + count]
    return result


def _ratio(rate: int) -> Fraction:
    """The quotient rate / 16000 as a fraction whose kernel (numerator x denominator numbers) stays small."""
    return Fraction(rate, SAMPLE_RATE).limit_denominator(max(1, math.isqrt(_KERNEL_NUMBERS * SAMPLE_RATE // rate)))
