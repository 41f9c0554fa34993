"""Beat alignment: does the motion come to rest where the speech has its onsets?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
import torchaudio
from numpy.typing import NDArray
from torch import Tensor

from gesturegen_cli.errors import InputError
from gesturegen_cli.evaluation.kinematics import pose_speed
from gesturegen_cli.types import SAMPLE_RATE, AudioClip

HOP = 160
"""Samples between onset-strength values: 100 per second."""
SIGMA = 3.0
"""Tolerance of the score, in video frames."""
SMOOTHING = 5.0
"""Standard deviation of the Gaussian over the speed of motion, in video frames."""
CONSISTENCY_SIGMA = 0.1
"""Tolerance of the consistency of beats, in seconds."""
LEAST_DROP = 0.03
"""How far a pause of the joints' angles lies below a neighbouring frame, in mean changes of the reference."""
CHANCE_SHIFTS = 200
"""Most shifts in time that the score by chance is the mean of."""
_BLOCK = 60 * SAMPLE_RATE
_HALF = 256
"""Half the length of a spectrum's window, in samples."""
SILENT = 1e-3
"""Peak under which a recording has no onsets."""
_FLOOR = 1e-6 * (_HALF / 2) ** 2
"""Power 60 dB under that of a sine of full scale in one spectrum."""
_AROUND = 10
"""Steps before and after a peak that its threshold is the mean of: 0.1 s."""
_NEAR = 3
"""Steps before and after in which a peak must be the highest: 0.03 s."""
_ABOVE = 0.07
"""How far a peak rises above the mean around it, as a share of the strongest onset."""
_LATE = 0.5
"""Steps from a peak to the onset: spectra reach 16 ms ahead, so that a sound begins in them before it does."""
_SEARCH = 3 * HOP // 2
"""Samples before and after a peak in which its sound begins: 15 ms."""
_AROUND_ONSET = 2 * _HALF
"""Samples before and after a peak whose power tells where it begins: 32 ms."""
_LOUDER = 1.5
"""Least power after an onset over that before it. Two stretches of 32 ms of the same noise rarely differ by as much."""
_EVEN = 1e-6
"""Variation of a smoothed speed, in shoulder widths per frame, that is rounding and not motion."""
_STIFF = 1e-4
"""Mean change of an angle, in radians per frame, that is rounding and not motion."""

Times = NDArray[np.float64]


def audio_beats(audio: AudioClip, fps: float) -> Times:
    """Onsets of speech, in video frames at `fps`; empty for silence.

    Peaks of the onset strength at which the sound gets louder, to the sample. Without that condition the flicker of
    noise counts in every pause: noise has peaks of its own, and they are high wherever speech leaves the mel bands
    free.
    """
    peaks = _peaks(onset_strength(torch.from_numpy(audio.samples)))
    begins = [_begin(audio.samples, round((step + _LATE) * HOP)) for step in peaks]
    return np.unique([begin for begin in begins if begin is not None]) * (fps / SAMPLE_RATE)


def _begin(samples: NDArray[np.float32], about: int) -> int | None:
    """The sample within _SEARCH of `about` at which a louder sound begins; None where it gets no louder.

    Steps of 10 ms are a quarter of a frame, and all onsets may fall on the same part of a step. So the power around is
    split in two where two noises of constant power explain it best (likelihood ratio of a change of variance).
    """
    first = max(0, about - _AROUND_ONSET)
    square = samples[first : about + _AROUND_ONSET].astype(np.float64) ** 2
    splits = np.arange(max(HOP, about - first - _SEARCH), min(len(square), about - first + _SEARCH))
    if len(splits) == 0 or not square.any():
        return None
    sums = np.cumsum(square)
    floor = 1e-6 * square.max()
    before = np.maximum(sums[splits - 1] / splits, floor)
    after = np.maximum((sums[-1] - sums[splits - 1]) / (len(square) - splits), floor)
    gain = -splits * np.log(before) - (len(square) - splits) * np.log(after)
    best = int(np.where(after >= _LOUDER * before, gain, -np.inf).argmax())
    return first + int(splits[best]) if after[best] >= _LOUDER * before[best] else None


def onset_strength(wave: Tensor) -> Tensor:
    """Wave `n` at 16 kHz -> strength `l` at 100 per second: mean rise of the log mel bands in dB, 60 dB deep.

    Goes through long recordings minute by minute, so that its memory stays small. All zeros for a silent recording.
    """
    steps = math.ceil(len(wave) / HOP)
    peak = float(wave.abs().max()) if len(wave) else 0.0
    if peak < SILENT:
        return torch.zeros(steps)
    mel = torchaudio.transforms.MelSpectrogram(
        SAMPLE_RATE, n_fft=2 * _HALF, hop_length=HOP, n_mels=40, f_min=60.0, center=False
    )
    previous: Tensor | None = None
    parts = []
    for start in range(0, len(wave), _BLOCK):
        count = math.ceil(min(_BLOCK, len(wave) - start) / HOP)
        context = wave[max(0, start - _HALF) : start + _BLOCK + _HALF] / peak
        # padded so that the first window is centred on `start`; what is too much at the end is cut
        power = mel(torch.nn.functional.pad(context, (max(0, _HALF - start), 2 * _HALF)))[:, :count]
        bands = 10 * torch.log10(power.clamp_min(_FLOOR))
        before = bands[:, :1] if previous is None else previous
        parts.append(torch.diff(bands, dim=1, prepend=before).clamp_min(0).mean(dim=0))
        previous = bands[:, -1:]
    return torch.cat(parts)


def _peaks(strength: Tensor) -> Times:
    """Positions of peaks of `l`: highest within 0.03 s on each side and clearly above the mean of 0.1 s around."""
    values = strength.double().numpy()
    top = float(values.max(initial=0.0))
    if top < 1.0:  # dB: nothing begins in silence or a steady tone
        return np.zeros(0)
    values = values / top
    highest = np.lib.stride_tricks.sliding_window_view(np.pad(values, _NEAR), 2 * _NEAR + 1).max(axis=1)
    width = 2 * _AROUND + 1
    around = np.convolve(np.pad(values, _AROUND, mode="edge"), np.full(width, 1 / width), mode="valid")
    candidates = np.flatnonzero((values >= highest) & (values >= around + _ABOVE))
    kept: list[int] = []
    for candidate in candidates:
        if not kept or candidate - kept[-1] > _NEAR:
            kept.append(int(candidate))
    return np.asarray(kept, dtype=np.float64)


def pose_beats(poses: Tensor) -> Times:
    """Motion beats of poses `t k 2`, in frames: local minima of their smoothed speed (AIST++, Li et al. 2021).

    Speed is the mean over joints of the distance from frame to frame, smoothed with a Gaussian of SMOOTHING frames.
    Between the frames of a minimum and its neighbours the place is found with a parabola.
    """
    return _rests(pose_speed(poses).numpy())


def _rests(speed: NDArray[np.float64]) -> Times:
    """Local minima of a smoothed speed `t - 1`, in frames."""
    if len(speed) < 3:
        return np.zeros(0)
    reach = math.ceil(4 * SMOOTHING)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / SMOOTHING) ** 2)
    padded = np.pad(speed, reach, mode="reflect" if len(speed) > reach else "edge")
    smooth = np.convolve(padded, weights / weights.sum(), mode="valid")
    if np.ptp(smooth) < _EVEN:
        return np.zeros(0)
    return _minima(smooth)[1]


def _minima(values: NDArray[np.float64]) -> tuple[NDArray[np.int64], Times]:
    """Indices of local minima of what happens between frames, `t - 1`, and their places in frames."""
    before, inner, after = values[:-2], values[1:-1], values[2:]
    low = np.flatnonzero((inner < before) & (inner <= after))
    # vertex of the parabola through three values, of which the first is above the second: never divides by 0
    vertex = (before[low] - after[low]) / (2 * (before[low] - 2 * inner[low] + after[low]))
    # what happens between frames i and i + 1 belongs to i + 0.5
    return low + 1, low + 1.5 + vertex


def beat_alignment(audio: Times, motion: Times) -> float | None:
    """BAS: mean over audio beats of exp(-d^2 / (2 x 3^2)) with d the distance to the nearest motion beat in frames.

    The form of AIST++ and Bailando. None without audio beats, 0 without motion beats.
    """
    return _closeness(audio, motion, SIGMA)


def bas_chance(audio: Times, motion: Times, frames: int) -> float | None:
    """What beat_alignment gives by chance: its mean over shifts of the motion beats in time, all in frames.

    The beats go round a circle of `frames` frames, by every whole number of frames but 0, or by CHANCE_SHIFTS evenly
    spaced ones where there are more. So their rhythm and number stay, and any relation to the speech is lost. None
    without audio beats or below two frames.
    """
    if len(audio) == 0 or frames < 2:
        return None
    shifts = np.unique(np.linspace(1, frames - 1, min(frames - 1, CHANCE_SHIFTS)).round())
    scores = [beat_alignment(audio, (motion + shift) % frames) for shift in shifts]
    return float(np.mean([score for score in scores if score is not None]))


def angle_changes(poses: Tensor, joints: Sequence[str]) -> Tensor:
    """Absolute change per frame of the angles between successive bones of both arms: poses `t k 2` -> `t-1 6`, radians.

    Bones run from the neck over shoulder, elbow and wrist to the middle of the hand's joints, as in the consistency of
    beats of HA2G (Liu et al. 2022). Angles are those between two lines, 0 to pi. float64.

    Raises InputError when `joints` lacks one of these.
    """
    places = poses.double()
    angles = []
    for side in ("left", "right"):
        chain = [_middle(places, joints, names) for names in _arm(side, joints)]
        bones = [end - start for start, end in pairwise(chain)]
        for one, other in pairwise(bones):
            cross = one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0]
            angles.append(torch.atan2(cross.abs(), (one * other).sum(dim=1)))
    return torch.diff(torch.stack(angles, dim=1), dim=0).abs()


def angle_scale(changes: Sequence[Tensor]) -> Tensor:
    """Mean change of each angle over the frames of the reference's clips, `t-1 a` each -> `a`.

    Raises InputError when no clip has two frames.
    """
    together = torch.cat(list(changes)) if changes else torch.zeros(0, 1)
    if len(together) == 0:
        raise InputError("no reference clip has 2 frames, expected at least one", "give longer videos")
    return together.mean(dim=0)


def angle_beats(changes: Tensor, scale: Tensor) -> Times:
    """Motion beats of HA2G, in frames: where the mean change of the arms' angles `t-1 a` has a pause.

    Changes are divided by `scale` `a` (angle_scale of the reference) and averaged over the angles. A pause is a local
    minimum at least LEAST_DROP below one of its neighbours. An angle that never changes in the reference is left out.
    """
    moving = scale > _STIFF
    if len(changes) < 3 or not moving.any():
        return np.zeros(0)
    values = (changes[:, moving] / scale[moving]).mean(dim=1).numpy()
    low, places = _minima(values)
    beats: Times = places[np.maximum(values[low - 1], values[low + 1]) - values[low] >= LEAST_DROP]
    return beats


def beat_consistency(audio: Times, motion: Times, fps: float) -> float | None:
    """BC: mean over audio beats of exp(-d^2 / (2 x 0.1^2)), d the distance to the nearest motion beat in seconds.

    The form of HA2G; beats are in frames at `fps`. None without audio beats, 0 without motion beats.
    """
    return _closeness(audio / fps, motion / fps, CONSISTENCY_SIGMA)


def onset_scores(audio: Times, motion: Times, sigma: float = SIGMA) -> Times:
    """Score exp(-d^2 / (2 sigma^2)) of each audio beat, d the distance to the nearest motion beat; 0 without one.

    Beats and `sigma` are in one unit, frames by default. The mean of these scores is BAS.
    """
    if len(motion) == 0:
        return np.zeros(len(audio))
    distance = np.abs(audio[:, None] - motion[None, :]).min(axis=1)
    return np.asarray(np.exp(-(distance**2) / (2 * sigma**2)))


def _closeness(audio: Times, motion: Times, sigma: float) -> float | None:
    return float(onset_scores(audio, motion, sigma).mean()) if len(audio) else None


def _arm(side: str, joints: Sequence[str]) -> list[list[str]]:
    """Names of the joints along one arm; the hand is all its tips and knuckles."""
    hand = [name for name in joints if name.startswith(side) and name.endswith(("_tip", "_knuckle"))]
    chain = [["neck"], [f"{side}_shoulder"], [f"{side}_elbow"], [f"{side}_wrist"], hand or [f"{side}_hand"]]
    missing = [name for names in chain for name in names if name not in joints]
    if missing:
        raise InputError(f"poses without {', '.join(missing)}, expected the joints of both arms", "use other poses")
    return chain


def _middle(places: Tensor, joints: Sequence[str], names: Sequence[str]) -> Tensor:
    return places[:, [joints.index(name) for name in names]].mean(dim=1)
