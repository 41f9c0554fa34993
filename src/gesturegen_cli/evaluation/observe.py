"""One video by itself: everything that later steps need of it, gathered in a single pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gesturegen_cli.data.video_record import read_seams
from gesturegen_cli.evaluation.hearing import Hearing, hear
from gesturegen_cli.evaluation.items import Item
from gesturegen_cli.evaluation.pose import Estimator, as_pose, hand_squares
from gesturegen_cli.evaluation.stability import StabilityTrack
from gesturegen_cli.evaluation.video_features import VideoNetwork
from gesturegen_cli.evaluation.view import View
from gesturegen_cli.media.audio import load_audio
from gesturegen_cli.media.video import probe_video
from gesturegen_cli.types import AudioClip

OnFrames = Callable[[int], None]
"""Called with the number of frames done since the last call."""


@dataclass(frozen=True, eq=False)
class Observed:
    """What is kept of one video of t frames: a few hundred numbers per frame, no pictures."""

    item: Item
    pose: Tensor
    """`t k 2`, see pose.as_pose."""
    hands: NDArray[np.float32]
    """Squares around the hands, `t 2 3`; NaN where a hand of a reference is not seen."""
    features: Mapping[str, Tensor]
    """Metric (`fvd`, `fvd_self`) -> features `n k` of its clips of 16 frames."""
    hearing: Hearing | None
    flicker: NDArray[np.float32]
    seams: tuple[int, ...]
    scores: Mapping[str, float]
    """Metrics that need nothing else: flicker, drifts, length."""

    @property
    def frames(self) -> int:
        """Frames that count."""
        return len(self.pose)


class Observation:
    """Goes through one video; `add` its batches in order, then `finish`."""

    def __init__(self, item: Item, view: View, estimator: Estimator, networks: Mapping[str, VideoNetwork]) -> None:
        self.item, self.view, self.estimator, self.networks = item, view, estimator, networks
        self._joints: list[Tensor] = []
        self._features: dict[str, list[Tensor]] = {key: [] for key in networks}
        self._stability = StabilityTrack(estimator.joints)

    def add(self, frames: Tensor) -> Tensor:
        """The next batch `b 3 h w`, of BATCH frames but for the last; gives its joints `b k 2`."""
        joints = self.estimator.locate(frames)
        self._joints.append(joints)
        self._stability.add(frames, joints)
        for key, network in self.networks.items():
            if len(frames) == network.frames:
                self._features[key].append(network(frames[None]))
        return joints

    def finish(self, speech: AudioClip | None, asked: int | None = None) -> Observed:
        """All that was seen. `speech` is what the person says, if anything; it asks for `asked` frames (None: as many
        as it is long).
        """
        joints, names, fps = torch.cat(self._joints), self.estimator.joints, self.view.fps
        hearing = None if speech is None else hear(speech, fps, len(joints))
        flicker = self._stability.flicker()
        scores: dict[str, float] = {}
        if np.isfinite(flicker).any():
            scores["flicker"] = float(np.nanmean(flicker))
        drifts = {"colour_drift": self._stability.colour_drift(fps), "face_drift": self._stability.face_drift(fps)}
        scores |= {key: value for key, value in drifts.items() if value is not None}
        if hearing is not None:
            wanted = asked or hearing.frames
            # frames are counted, as the header of a file tells how long the longer of picture and sound is
            scores["length"] = float(abs(len(joints) - min(wanted, self.view.frames or wanted)))
        return Observed(
            self.item,
            as_pose(joints, names),
            hand_squares(joints, names).numpy(),
            {key: torch.cat(found) for key, found in self._features.items() if found},
            hearing,
            flicker,
            tuple(round(seconds * fps) for seconds in read_seams(self.item.video)),
            scores,
        )


def has_speech(item: Item) -> bool:
    """Whether a clip has a sound file, or its video a sound track. Raises InputError for a file that is no video."""
    return item.audio is not None or probe_video(item.video).has_audio


def own_speech(item: Item) -> AudioClip | None:
    """The speech of a clip: its sound file, or the sound track of its video; None without either."""
    return load_audio(item.audio or item.video) if has_speech(item) else None
