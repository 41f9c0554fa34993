"""Resampling of any length and rate in constant memory: a windowed sinc, block by block with context.

Nearly all recordings have a rate whose ratio to 16 kHz is a small fraction: torchaudio's polyphase filter does them.
For the others (15997 Hz) its kernel would need gigabytes, so the same formula is evaluated sample by sample.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction

import numpy as np
import torch
import torchaudio
from numpy.typing import NDArray

from gesturegen_cli.types import SAMPLE_RATE

_LOWPASS_WIDTH = 6
_ROLLOFF = 0.99
_KERNEL_NUMBERS = 8_000_000
_BLOCK_SAMPLES = 262_144
"""Large enough that starting torch's threads for each block costs little, 1 MB small."""
_DIRECT_NUMBERS = 2_000_000

Samples = NDArray[np.float32]


def resampled_length(samples: int, rate: int) -> int:
    """Samples at 16 kHz for `samples` at `rate` Hz: round(samples * 16000 / rate)."""
    return round(samples * SAMPLE_RATE / rate)


def iter_resampled(blocks: Iterable[Samples], rate: int) -> Iterator[Samples]:
    """Yield mono `blocks` (each `n`, any length) at `rate` Hz as blocks at 16 kHz.

    Equal to `torchaudio.functional.resample` of the whole recording up to rounding: a sinc with six zero crossings on
    either side under a squared cosine, cut off at 0.99 of the lower of the two rates' halves. The total length is that
    of `resampled_length` or up to one step of the ratio more; the caller trims.
    """
    ratio = Fraction(rate, SAMPLE_RATE)
    if ratio == 1:
        yield from blocks
        return
    # In steps of `numerator` samples in, `denominator` out, every step begins at the same phase of both.
    step = ratio.numerator
    reach = math.ceil(_LOWPASS_WIDTH * rate / (min(rate, SAMPLE_RATE) * _ROLLOFF))
    context = (math.ceil(reach / step) + 1) * step
    convert = polyphase(ratio) if step * ratio.denominator <= _KERNEL_NUMBERS else direct(ratio, reach)
    pending = np.zeros(context, np.float32)
    for block in blocks:
        pending = np.concatenate([pending, block])
        steps = (len(pending) - 2 * context) // step
        if steps * step >= _BLOCK_SAMPLES:
            yield _middle(convert, pending[: 2 * context + steps * step], context, ratio)
            pending = pending[steps * step :]
    rest = len(pending) - context
    if rest > 0:
        yield _middle(convert, np.pad(pending, (0, -rest % step + context)), context, ratio)


def polyphase(ratio: Fraction) -> Callable[[Samples], Samples]:
    """A function that resamples `n` by 1 / `ratio` with torchaudio. Its kernel has numerator x denominator numbers."""
    # torchaudio computes its kernel in float32 unless told otherwise, which costs a hundred times the rounding error.
    resample = torchaudio.transforms.Resample(
        ratio.numerator,
        ratio.denominator,
        resampling_method="sinc_interp_hann",
        lowpass_filter_width=_LOWPASS_WIDTH,
        rolloff=_ROLLOFF,
        dtype=torch.float64,
    ).float()

    def convert(samples: Samples) -> Samples:
        with torch.inference_mode():
            result: Samples = resample(torch.from_numpy(np.ascontiguousarray(samples))).numpy()
        return result

    return convert


def direct(ratio: Fraction, reach: int) -> Callable[[Samples], Samples]:
    """A function that resamples `n` by 1 / `ratio`, computing the filter, 2 `reach` long, anew for every sample."""
    step, gain = ratio.numerator, ratio.denominator
    cutoff = min(1.0, gain / step) * _ROLLOFF
    taps = np.arange(-reach, reach + 2)

    def convert(samples: Samples) -> Samples:
        padded = np.pad(samples, (reach, reach + 2))
        result = np.empty(len(samples) * gain // step, np.float32)
        for first in range(0, len(result), chunk := max(1, _DIRECT_NUMBERS // len(taps))):
            index = np.arange(first, min(first + chunk, len(result)), dtype=np.int64)
            before, phase = np.divmod(index * step, gain)
            time = np.clip((taps - phase[:, None] / gain) * cutoff, -_LOWPASS_WIDTH, _LOWPASS_WIDTH)
            weights = np.sinc(time) * np.square(np.cos(time * (math.pi / 2 / _LOWPASS_WIDTH))) * cutoff
            result[index] = (padded[before[:, None] + (taps + reach)] * weights).sum(axis=1)
        return result

    return convert


def _middle(convert: Callable[[Samples], Samples], samples: Samples, context: int, ratio: Fraction) -> Samples:
    """Resample all, keep what belongs to the samples between the two contexts."""
    first = context // ratio.numerator * ratio.denominator
    count = (len(samples) - 2 * context) // ratio.numerator * ratio.denominator
    return convert(samples)[first : first + count]
