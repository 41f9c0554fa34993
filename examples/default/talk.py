"""Section H: motion drawn from the speech of labelled clips, beside the motion of these clips."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

import numpy as np
from measures import Frames, Row, encode, hand_speed, joint_numbers, mean
from numpy.typing import NDArray
from torch import Tensor

from gesturegen_cli.data.manifest import Clip
from gesturegen_cli.data.motion_cache import smooth_motion
from gesturegen_cli.evaluation.beat import bas_chance, beat_alignment, pose_beats
from gesturegen_cli.evaluation.hearing import hear
from gesturegen_cli.evaluation.kinematics import SHORTEST_SHARE
from gesturegen_cli.evaluation.pose import as_pose
from gesturegen_cli.media.audio import load_audio
from gesturegen_cli.media.image import Picture
from gesturegen_cli.pipeline import Pipeline
from gesturegen_cli.types import SAMPLE_RATE, AudioClip

DRIFT_SECONDS, MINUTE = 600, 60
SETTLE, PREPARE = 1.0, 0.5
"""Seconds of silence after which hands have had the time to come to rest, and in which they may rise to speak again."""


@dataclass
class Talk:
    """Goes through clips; `add` them, then take the `rows`. The first frame of a clip is the picture that speaks."""

    pipeline: Pipeline
    draws: int
    """Motions drawn per clip, with the seeds 0, 1, ..."""
    found: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    speeches: list[AudioClip] = field(default_factory=list)

    def add(self, clip: Clip, frames: Frames) -> None:
        """Measure a clip of which `frames` `t h w 3` are all."""
        pipeline, model = self.pipeline, self.pipeline.deviation
        speech = load_audio(clip.audio)
        self.speeches.append(speech)
        source = pipeline.load_source(Picture(frames[0], clip.id))
        real = encode(model, frames, pipeline.device).cpu()
        smooth = smooth_motion(real)  # as the motion that stage 2 learned from
        hearing = hear(speech, clip.fps, len(frames))
        self._speeds("data", model.neutralize(smooth, smooth.mean(0)), hearing.speaking)
        self._beats("data", real, hearing.onsets)
        for seed in range(self.draws):
            drawn = pipeline.sample_motion(speech, source, rng_seed=seed).motion[: len(frames)]
            self._speeds("drawn", drawn, hearing.speaking)
            on_person = model.retarget(drawn.to(pipeline.device), source.state).cpu()
            self._beats("drawn", on_person, hearing.onsets)

    def _speeds(self, whose: str, motion: Tensor, speaking: Any) -> None:
        """Speeds of hands from person-free motion, in pauses of at least 0.3 s and while somebody speaks."""
        speed = hand_speed(self.pipeline.deviation, motion).numpy()
        spoken = speaking[: len(speed)]
        self.found[f"{whose} speech"] += speed[spoken].tolist()
        self.found[f"{whose} pauses"] += speed[~spoken].tolist()
        rest = at_rest(spoken, *(round(seconds * self.pipeline.bundle.spec.fps) for seconds in (SETTLE, PREPARE)))
        self.found[f"{whose} settled"] += speed[rest].tolist()

    def _beats(self, whose: str, motion: Tensor, onsets: Any) -> None:
        """BAS as `evaluate` computes it, from the joints of motion that is not person-free."""
        model: Any = self.pipeline.deviation
        joints = motion[:, : joint_numbers(model)].reshape(len(motion), -1, 2)
        rests = pose_beats(as_pose(joints, model.joint_names))
        for name, score in (("bas", beat_alignment(onsets, rests)), ("chance", bas_chance(onsets, rests, len(motion)))):
            self.found[f"{whose} {name}"] += [] if score is None else [score]

    def rows(self) -> list[Row]:
        """What was found."""
        fps = self.pipeline.bundle.spec.fps
        drawn, data = (self._figures(whose) for whose in ("drawn", "data"))
        heard = f"{len(self.found['data pauses']) / fps:.1f} s of pauses, data {_shown(data['pauses'])}"
        rest = f"{len(self.found['data settled']) / fps:.1f} s, data {_shown(data['settled'])}"
        beats = f"{_shown(drawn['bas'])}, data {_shown(data['bas'])}, by chance {_shown(drawn['chance'])}"
        speeds = f"{_shown(drawn['speed'])}, data {_shown(data['speed'])} body sizes per second"
        beat, speed = (_apart(drawn[name], data[name]) for name in ("bas", "speed"))
        clips, silence = f"{len(self.speeches)} clips", f"{SETTLE:g} s after speech to {PREPARE:g} s before"
        return [
            Row("H", f"BAS: distance from the data's, {clips}", beat, "", 0.10, note=beats),
            Row("H", "speed of hands: distance from the data's", speed, "", 0.20, note=speeds),
            Row("H", "speed of hands in pauses / in speech", drawn["pauses"], note=heard),
            Row("H", f"the same, {silence}", drawn["settled"], "", 0.15, note=rest),
        ]

    def _figures(self, whose: str) -> dict[str, float | None]:
        """Means of the data's motion, or of the drawn one; speeds in pauses are relative to those in speech."""
        fps = self.pipeline.bundle.spec.fps
        found = {name: self.found[f"{whose} {name}"] for name in ("bas", "chance", "speech", "pauses", "settled")}
        both, spoken = mean(found["speech"] + found["pauses"]), mean(found["speech"])
        figures = {"bas": mean(found["bas"]), "chance": mean(found["chance"])}
        figures["speed"] = None if both is None else both * fps
        for name in ("pauses", "settled"):
            enough = min(len(found["speech"]), len(found[name])) >= SHORTEST_SHARE * fps
            figures[name] = fmean(found[name]) / spoken if enough and spoken else None
        return figures

    def drift(self, frame: Frames) -> list[Row]:
        """Ten minutes of the clips' speech: is the last minute like the first? `frame` is the picture that speaks."""
        model: Any = self.pipeline.deviation
        joined = np.concatenate([speech.samples for speech in self.speeches])
        samples = np.resize(joined, DRIFT_SECONDS * SAMPLE_RATE)  # repeats it
        source = self.pipeline.load_source(Picture(frame, "drift"))
        motion = self.pipeline.sample_motion(AudioClip(samples), source).motion
        minute = round(MINUTE * self.pipeline.bundle.spec.fps)
        ends = motion[:minute], motion[-minute:]
        first, last = (end[:, : joint_numbers(model)].reshape(minute, -1, 2).mean(0) for end in ends)
        speeds = [float(hand_speed(model, end).mean()) for end in ends]
        return [
            Row("H", "drift of the mean pose in 10 minutes", float((last - first).norm(dim=-1).mean()), "body sizes"),
            Row("H", "speed of hands, last minute / first", speeds[1] / speeds[0]),
        ]


def at_rest(spoken: NDArray[np.bool_], before: int, after: int) -> NDArray[np.bool_]:
    """Where nobody has spoken for more than `before` frames nor will within `after`."""
    heard = np.convolve(spoken, np.ones(before + after + 1))[after : after + len(spoken)]
    return heard < 0.5


def _apart(drawn: float | None, data: float | None) -> float | None:
    return None if drawn is None or not data else abs(drawn / data - 1)


def _shown(value: float | None) -> str:
    return "not known" if value is None else f"{value:.3f}"


def can_talk(pipeline: Pipeline) -> str:
    """Empty where speech can be measured, else why not."""
    if pipeline.bundle.spec.kind != "full":
        return "the bundle has no stage 2"
    return "" if hasattr(pipeline.deviation, "joint_names") else "the model's motion has no joints"
