"""Onsets and beats in an onset strength envelope `t`, one value per frame.

Onsets are picked as Boeck et al. (2012) do, beats are tracked as Ellis (2007) does, with the parameters that librosa
documents as its defaults.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Envelope = NDArray[np.float64]
Frames = NDArray[np.int64]

START_BPM = 120.0
FASTEST_BPM = 320.0
OCTAVE_SPREAD = 1.0
"""Standard deviation of the tempo prior, in octaves."""
TEMPOGRAM_SECONDS = 8.0
"""Stretch of the envelope whose autocorrelation tells the tempo."""
DELTA = 0.07
"""An onset exceeds the mean around it by that much, the envelope spanning 0 to 1."""


def detect_onsets(envelope: Envelope, fps: float) -> Frames:
    """Frames of onsets, ascending.

    A frame is one when it is the largest from 30 ms before it to itself, exceeds the mean from 100 ms before to 100 ms
    after by `DELTA`, and comes more than 30 ms after the last one. All spans are rounded down to whole frames.
    """
    spread = float(np.ptp(envelope)) if len(envelope) else 0.0
    if not spread:
        return np.zeros(0, dtype=np.int64)
    strength = (envelope - envelope.min()) / spread
    near, wide, found = int(0.03 * fps), int(0.10 * fps), [-len(envelope) - 1]
    for frame, value in enumerate(strength):
        around = strength[max(0, frame - wide) : frame + wide + 1]
        peak = value >= strength[max(0, frame - near) : frame + 1].max() and value >= around.mean() + DELTA
        if peak and frame - found[-1] > near:
            found.append(frame)
    return np.array(found[1:], dtype=np.int64)


def estimate_tempo(envelope: Envelope, fps: float, start_bpm: float = START_BPM) -> float:
    """Beats per minute: the strongest lag of the mean autocorrelation tempogram, with a log-normal prior.

    The tempogram (Grosche et al. 2010) is the autocorrelation of the envelope under a Hann window of 8 s, per frame and
    with its maximum scaled to 1; the prior is normal over log2 of the tempo around `start_bpm`.
    """
    size = int(TEMPOGRAM_SECONDS * fps)
    padded = np.pad(envelope, size // 2, mode="linear_ramp", end_values=0)
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[: len(envelope)]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    total = np.zeros(size)
    for block in np.array_split(frames, max(1, len(frames) // 512)):
        spectrum = np.abs(np.fft.rfft(block * window, n=2 * size)) ** 2
        correlation = np.fft.irfft(spectrum, n=2 * size)[:, :size]
        total += (correlation / np.maximum(np.abs(correlation).max(axis=1, keepdims=True), 1e-30)).sum(axis=0)
    bpm = 60 * fps / np.arange(1, size)
    prior = -0.5 * ((np.log2(bpm) - np.log2(start_bpm)) / OCTAVE_SPREAD) ** 2
    prior[bpm > FASTEST_BPM] = -np.inf
    mean = np.maximum(total[1:] / len(envelope), 0)
    return float(bpm[np.argmax(np.log1p(1e6 * mean) + prior)])


def track_beats(envelope: Envelope, fps: float, start_bpm: float, tightness: float = 100.0) -> Frames:
    """Frames of beats, ascending; none where the envelope is flat.

    Dynamic programming (Ellis 2007): the sequence with the largest sum of local scores minus `tightness` times the
    squared log ratio of each interval to the tempo's. The tempo is estimated with a prior around `start_bpm`.
    """
    if len(envelope) < 2 or not np.ptp(envelope):
        return np.zeros(0, dtype=np.int64)
    period = max(1, round(60 * fps / estimate_tempo(envelope, fps, start_bpm)))
    score = _local_score(envelope, period)
    total, previous = _link(score, period, tightness)
    beats = [_last_beat(total)]
    while previous[beats[-1]] >= 0:
        beats.append(previous[beats[-1]])
    return _trim(np.array(beats[::-1], dtype=np.int64), score)


def _local_score(envelope: Envelope, period: int) -> Envelope:
    """The envelope over its standard deviation, smoothed by a Gaussian of a 32nd of the period."""
    window = np.exp(-0.5 * (np.arange(-period, period + 1) * 32.0 / period) ** 2)
    full = np.convolve(envelope / np.std(envelope, ddof=1), window)
    return full[period : period + len(envelope)]


def _link(score: Envelope, period: int, tightness: float) -> tuple[Envelope, list[int]]:
    """Best total score of a sequence that ends in each frame, and the beat before it (-1 for none)."""
    lags = np.arange(-2 * period, -round(period / 2) + 1)
    lags = lags[lags < 0]
    cost = tightness * np.log(-lags / period) ** 2
    total, previous, started = np.zeros(len(score)), [-1] * len(score), False
    for frame, value in enumerate(score):
        candidates = -cost
        there = frame + lags >= 0
        candidates[there] += total[frame + lags[there]]
        best = int(np.argmax(candidates))
        total[frame] = value + candidates[best]
        started = started or value >= 0.01 * score.max()
        if started:  # quiet frames before the first onset begin no sequence
            previous[frame] = max(-1, frame + int(lags[best]))
    return total, previous


def _last_beat(total: Envelope) -> int:
    """The last local maximum of the total score that reaches half of the median of all of them."""
    before, after = np.append(total[:1], total[:-1]), np.append(total[1:], total[-1:])
    peaks = np.flatnonzero((total > before) & (total >= after))
    good = peaks[2 * total[peaks] > np.median(total[peaks])]
    return int(good[-1]) if len(good) else len(total) - 1


def _trim(beats: Frames, score: Envelope) -> Frames:
    """Without weak beats at both ends: those below half of the rms of the beats' smoothed scores."""
    strength = np.convolve(score[beats], np.array([0.5, 1.0, 0.5]))[1:-1]
    strong = np.flatnonzero(strength > 0.5 * np.sqrt(np.mean(strength**2)))
    return beats[strong[0] : strong[-1] + 1] if len(strong) else beats[:0]
