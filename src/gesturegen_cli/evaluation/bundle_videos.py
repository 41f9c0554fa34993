"""The videos of a bundle that is evaluated: reference clips rendered from their own motion, and from their speech.

Every video and its record appear complete; what an earlier, interrupted run has made is not made again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gesturegen_cli.bundle import Bundle, load_component
from gesturegen_cli.config.schema import Sampling
from gesturegen_cli.data.video_record import MARK, is_record, record_path, versions, writing_record
from gesturegen_cli.errors import InputError
from gesturegen_cli.evaluation.items import Item
from gesturegen_cli.evaluation.observe import own_speech
from gesturegen_cli.evaluation.view import View, expected_frames, iter_batches, iter_pictures
from gesturegen_cli.media.files import shown
from gesturegen_cli.media.image import Picture
from gesturegen_cli.media.video import write_video
from gesturegen_cli.pipeline import Pipeline
from gesturegen_cli.types import SAMPLE_RATE, AudioClip

OnFrames = Callable[[int], None]
_KEY = "evaluation"


def bundle_view(bundle: Bundle, view: View) -> View:
    """`view` at the size and frame rate of a bundle, over the same time, and over one frame at least."""
    # 0 would mean all frames
    frames = max(1, round(view.frames * bundle.spec.fps / view.fps)) if view.frames else 0
    return replace(view, fps=bundle.spec.fps, size=bundle.spec.size, frames=frames)


@dataclass(frozen=True, eq=False)
class Renderer:
    """Makes the videos of one bundle below `folder`."""

    bundle: Bundle
    folder: Path
    view: View
    """At the bundle's own size and frame rate: see bundle_view."""
    sampling: Sampling
    """`render_precision` is taken as fp32 where it is auto: scores should not hang on the machine."""
    rng_seed: int
    on_frames: OnFrames

    def reconstruct(self, items: list[Item]) -> Iterator[tuple[Item, Callable[[], Item]]]:
        """Each reference item with the work that renders it: its first frame, driven by the motion of every frame."""
        model = load_component(self.bundle, "deviation")
        model = (model.fused() if hasattr(model, "fused") else model).to(self.view.device)
        for item in items:
            yield item, partial(self._keep, item, "reconstruction", partial(self._rebuild, model, item))

    def speak(self, items: list[Item]) -> Iterator[tuple[Item, Callable[[], Item]]]:
        """Each reference item that speaks with the work that renders it: its first frame, driven by its speech."""
        pipeline = Pipeline.from_pretrained(self.bundle.path, device=self.view.device.type)
        for item in items:
            yield item, partial(self._keep, item, "speech", partial(self._talk, pipeline, item))

    def _keep(self, item: Item, section: str, make: Callable[[str], None]) -> Item:
        """The video of `item`, made unless one of the same key is there."""
        target = self._target(item, section)
        key = self._key(item, section)
        record = record_path(target)
        if not (target.is_file() and is_record(record) and json.loads(record.read_bytes()).get(_KEY) == key):
            target.parent.mkdir(parents=True, exist_ok=True)
            make(key)
        else:
            self.on_frames(expected_frames(item, self.view))
        return Item(item.id, target)

    @property
    def _sampling(self) -> Sampling:
        auto = self.sampling.render_precision == "auto"
        return replace(self.sampling, render_precision="fp32") if auto else self.sampling

    def _target(self, item: Item, section: str) -> Path:
        return self.folder / section / f"{item.id}.mp4"

    def _key(self, item: Item, section: str) -> str:
        parts: dict[str, Any] = {"bundle": self.bundle.digest, "section": section, "crop": self.view.crop}
        parts |= {"video": [item.id, *_stamp(item.video, "video")], "frames": self.view.frames}
        if item.audio is not None:
            parts["audio"] = _stamp(item.audio, "speech")
        if section == "speech":
            parts |= {"sampling": asdict(self._sampling), "rng_seed": self.rng_seed}
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _rebuild(self, model: Any, item: Item, key: str) -> None:
        view = self.view

        def render() -> Iterator[NDArray[np.uint8]]:
            state: Any = None
            for batch in iter_batches(item, view):
                with torch.inference_mode():
                    state = model.encode_source(batch[:1]) if state is None else state
                    images = model.animate(state, model.encode(batch)).float().clamp(0, 1)
                    frames = (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
                yield from frames
                self.on_frames(len(frames))

        info = {MARK: True, "bundle": {"name": self.bundle.name, "digest": self.bundle.digest}, "versions": versions()}
        target = self._target(item, "reconstruction")
        with writing_record(target, {**info, "fps": view.fps, "size": view.size, _KEY: key}):
            write_video(
                target,
                render(),
                fps=view.fps,
                size=(view.size, view.size),
                # headers may lie: counted by decoding, small as that is quick
                frame_count=sum(1 for _ in iter_pictures(item, replace(view, size=32))),
                audio=self._speech(item),
            )

    def _talk(self, pipeline: Pipeline, item: Item, key: str) -> None:
        speech = self._speech(item)
        assert speech is not None  # noqa: S101 - `speak` is given items with speech
        first = next(iter_pictures(item, replace(self.view, frames=1)))
        video = pipeline(speech, Picture(np.array(first), item.id), sampling=self._sampling, rng_seed=self.rng_seed)
        video.info[_KEY] = key
        video.save(self._target(item, "speech"), on_frame=lambda _: self.on_frames(1))

    def _speech(self, item: Item) -> AudioClip | None:
        """The speech of the frames that count."""
        speech = own_speech(item)
        if speech is None or not self.view.frames:
            return speech
        return replace(speech, samples=speech.samples[: round(self.view.frames / self.view.fps * SAMPLE_RATE)])


def _stamp(path: Path, what: str) -> list[int]:
    """Bytes of a file, and when it was changed last. InputError when it is not there any more."""
    try:
        status = path.stat()
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(
            f"{what} file {shown(path)!r} cannot be read: {reason}", "was it moved or deleted meanwhile?"
        ) from error
    return [status.st_size, status.st_mtime_ns]
