"""Speech and a picture to a video of the person gesturing.

    video = Pipeline.from_pretrained("base")("speech.wav", "ref.png")
    video.save("out.mp4")

The parts are public too: `load_source`, `encode_audio`, `sample_motion`, `render`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gesturegen_cli.bundle import Bundle, load_component, load_tensors, open_bundle
from gesturegen_cli.config.schema import Sampling
from gesturegen_cli.data.features import encode_audio
from gesturegen_cli.data.motion_file import resample_motion
from gesturegen_cli.data.normalizer import Normalizer
from gesturegen_cli.data.video_record import MARK, digest, versions, writing_record
from gesturegen_cli.diffusion.longform import LongMotion, sample_long
from gesturegen_cli.errors import BundleError, ConfigError, EnvironmentFault
from gesturegen_cli.media.audio import load_audio
from gesturegen_cli.media.files import shown
from gesturegen_cli.media.framing import CropBox, crop_and_resize, frame_speaker
from gesturegen_cli.media.image import Picture, load_image
from gesturegen_cli.media.person_crop import better_crop
from gesturegen_cli.media.video import AI_MARK, write_video
from gesturegen_cli.protocols import AudioEncoder, Denoiser, DeviationModel, SourceState
from gesturegen_cli.rendering import NATIVE, Source, check_size, choose_precision, frame_size, iter_frames
from gesturegen_cli.types import AudioClip, MotionSequence

PathLike = str | os.PathLike[str]
OnStep = Callable[[int, int], None]
"""Called with (done, total)."""


SURE_ENOUGH = 0.5
"""Certainty of the person below which a picture gets a warning. With the embedded model, clear pictures of head and
shoulders had 0.6 to 1, one of nothing but a face 0.1, noise 0.01."""


@dataclass(frozen=True, eq=False)
class GestureVideo:
    """A video whose frames are rendered while they are taken. `frames` can be gone through once."""

    frames: Iterator[NDArray[np.uint8]]
    """`h w 3` each."""
    frame_count: int
    fps: float
    size: tuple[int, int]
    """Width and height in pixels."""
    audio: AudioClip
    motion: MotionSequence
    """Person-free: can be saved (data.motion_file) and rendered on another picture."""
    info: dict[str, Any] = field(default_factory=dict)
    """Everything that the record beside the video will say, but for the time that rendering takes."""
    audio_path: Path | None = None
    """The speech file, whose own sound track goes into the video; None takes `audio`."""

    def save(self, path: PathLike, on_frame: Callable[[int], None] | None = None) -> dict[str, Any]:
        """Render into an MP4 with the speech, write the record `NAME.json` beside it, and return that record.

        Both appear under their names when they are complete, the video first; after an error or interrupt neither is
        there, and older ones are untouched. `on_frame` is called with the number of frames done.
        """
        target = Path(path)
        started = time.monotonic()
        with writing_record(target, {**self.info, "output": shown(target)}) as info:
            write_video(
                target,
                self.frames,
                fps=self.fps,
                size=self.size,
                frame_count=self.frame_count,
                audio=None if self.audio_path else self.audio,
                audio_path=self.audio_path,
                on_frame=on_frame,
            )
            info["timings"] = {**info.get("timings", {}), "video": round(time.monotonic() - started, 3)}
        return info


@dataclass(frozen=True, eq=False)
class Pipeline:
    """The models of one full bundle, on one device."""

    bundle: Bundle
    deviation: DeviationModel
    audio_encoder: AudioEncoder
    denoiser: Denoiser
    normalizer: Normalizer
    device: torch.device

    @classmethod
    def from_pretrained(cls, name_or_path: PathLike = "base", *, device: str = "auto") -> Pipeline:
        """Load an embedded bundle by name or any bundle by its folder. `device` is auto, cpu or cuda.

        Raises BundleError: damaged, or stage 1 only. EnvironmentFault: `cuda` was asked for and there is none.
        """
        place = choose_device(device)
        bundle = open_bundle(name_or_path if isinstance(name_or_path, str) else Path(name_or_path))
        if bundle.spec.kind != "full":
            raise BundleError(
                f"bundle '{bundle.name}' is of kind {bundle.spec.kind!r}, expected 'full' (speech to video)",
                "train stage 2 on it: gesturegen train DATA RUN --deviation BUNDLE",
            )
        deviation = load_component(bundle, "deviation")
        # A model may offer a copy that renders faster and gives the same pictures.
        deviation = deviation.fused() if hasattr(deviation, "fused") else deviation
        encoder, denoiser = load_component(bundle, "audio_encoder"), load_component(bundle, "denoiser")
        _check_fit(bundle, motion_dim=deviation.motion_dim, audio_dim=encoder.dim)
        normalizer = Normalizer.from_tensors(load_tensors(bundle, "normalizer"), deviation.motion_dim)
        return cls(bundle, deviation.to(place), encoder.to(place), denoiser.to(place), normalizer, place)

    def __call__(
        self,
        audio: PathLike | AudioClip,
        image: PathLike | Picture | Source,
        *,
        sampling: Sampling | None = None,
        rng_seed: int = 0,
        size: int | str | None = None,
        fps: float | None = None,
        on_window: OnStep | None = None,
    ) -> GestureVideo:
        """Draw motion for the speech and give the video; its frames are rendered when they are taken.

        `audio` and `image` are files, or what `load_audio`, `load_image` and `load_source` gave. `size` is the side of
        the output in pixels (even, 64 to 2048; None or "model": the model's), or "native": the square is laid back
        into the whole picture. Without `sampling` the bundle's is used. `fps`: motion is drawn at the bundle's rate
        and interpolated. The video has `AudioClip.frames(fps)` frames. The same seed gives the same motion. To change
        a part of the sampling: `dataclasses.replace(pipeline.bundle.sampling, steps=10)`.
        """
        sampling = sampling or self.bundle.sampling
        check_size(size, self.deviation.size)
        rate = fps or self.bundle.spec.fps
        timings: dict[str, float] = {}
        clip = _timed(timings, "speech", lambda: audio if isinstance(audio, AudioClip) else load_audio(audio))
        source = _timed(timings, "picture", lambda: image if isinstance(image, Source) else self.load_source(image))
        features = _timed(timings, "audio", lambda: self.encode_audio(clip))
        drawn = _timed(timings, "motion", lambda: self._draw(features, source, sampling, rng_seed, on_window))
        motion = self._finish_motion(drawn, source, sampling)
        if rate != motion.fps:
            motion = resample_motion(motion, rate, clip.frames(rate))
        path = None if isinstance(audio, AudioClip) else Path(audio)
        shape = frame_size(size, self.deviation.size, source)
        info = _record(self.bundle, clip, path, source, sampling, rng_seed, str(self.device))
        precision = sampling.render_precision
        info |= {"frames": len(motion.motion), "fps": rate, "size": list(shape), "timings": timings}
        info["precision"] = choose_precision(precision, self.device, self.deviation)
        info["seams"] = [round(start * rate / self.bundle.spec.fps) for start in drawn.seams]
        info["seam_scores"] = [round(float(score), 4) for score in drawn.seam_scores]
        frames = self.render(motion, source, batch=sampling.render_batch, size=size, precision=precision)
        return GestureVideo(frames, len(motion.motion), rate, shape, clip, motion, info, path)

    def load_source(self, image: PathLike | Picture) -> Source:
        """Frame the person in a picture and compute all that rendering needs of it."""
        picture = image if isinstance(image, Picture) else load_image(image)
        sha256 = digest(picture.pixels if isinstance(image, Picture) else Path(image))
        crop, better = frame_speaker(picture.pixels), None
        if hasattr(self.deviation, "locate_person"):
            better = better_crop(lambda box: self._locate(picture, box), crop, *picture.size)
        tensor = self._cut(picture, better or crop)
        with torch.inference_mode():
            state, motion = self.deviation.encode_source(tensor), self.deviation.encode(tensor)[0]
        again, whole = better is not None, picture.pixels
        warnings = (*picture.warnings, *self._doubts(state, picture.name))
        return Source(picture.name, sha256, tensor, better or crop, again, state, motion, whole, warnings)

    def encode_audio(self, audio: PathLike | AudioClip) -> Tensor:
        """Speech to audio features `t c`, one row per video frame at the bundle's rate."""
        clip = audio if isinstance(audio, AudioClip) else load_audio(audio)
        fps = self.bundle.spec.fps
        with torch.inference_mode():
            return encode_audio(self.audio_encoder, clip, clip.frames(fps), fps)

    def sample_motion(
        self,
        audio: PathLike | AudioClip,
        source: Source,
        *,
        sampling: Sampling | None = None,
        rng_seed: int = 0,
        on_window: OnStep | None = None,
    ) -> MotionSequence:
        """Draw person-free motion `t d` at the bundle's rate; `sampling.energy` scales it about the picture's pose."""
        sampling = sampling or self.bundle.sampling
        drawn = self._draw(self.encode_audio(audio), source, sampling, rng_seed, on_window)
        return self._finish_motion(drawn, source, sampling)

    def render(
        self,
        motion: MotionSequence,
        source: Source,
        *,
        batch: int = 8,
        size: int | str | None = None,
        precision: str = "auto",
    ) -> Iterator[NDArray[np.uint8]]:
        """Put person-free motion onto the person in the picture; yields frames `h w 3`, `batch` of them at a time.

        `size` as for `__call__`, `precision` as `sampling.render_precision`.
        """
        shape = frame_size(size, self.deviation.size, source)
        if motion.motion.shape[-1] != self.deviation.motion_dim:
            found = f"{motion.motion.shape[-1]} numbers per frame, this bundle's has {self.deviation.motion_dim}"
            raise ConfigError(f"the motion has {found}", "render with the bundle that made it")
        return iter_frames(
            self.deviation,
            source,
            motion.motion.to(self.device),
            batch=batch,
            size=shape,
            native=size == NATIVE,
            precision=choose_precision(precision, self.device, self.deviation),
        )

    def neutral_pose(self, source: Source) -> Tensor:
        """The picture's own motion in the person-free space, `d`."""
        with torch.inference_mode():
            return self.deviation.neutralize(source.motion[None], source.motion)[0]

    def _draw(
        self, features: Tensor, source: Source, sampling: Sampling, rng_seed: int, on_window: OnStep | None
    ) -> LongMotion:
        """Normalised motion; noise comes from the CPU, so that devices agree on it."""
        own = self.normalizer.normalize(self.neutral_pose(source).cpu()).to(self.device)
        with torch.inference_mode():
            return sample_long(
                self.denoiser,
                features.to(self.device),
                own,
                window=self.bundle.spec.window,
                diffusion=self.bundle.spec.diffusion,
                sampling=sampling,
                generator=torch.Generator().manual_seed(rng_seed),
                on_window=on_window,
            )

    def _finish_motion(self, drawn: LongMotion, source: Source, sampling: Sampling) -> MotionSequence:
        motion = self.normalizer.denormalize(drawn.motion.cpu())
        pose = self.neutral_pose(source).cpu()
        motion = pose + sampling.energy * (motion - pose) if sampling.energy != 1.0 else motion
        return MotionSequence(motion, self.bundle.spec.fps, self.bundle.digest)

    def _cut(self, picture: Picture, crop: CropBox) -> Tensor:
        pixels = crop_and_resize(picture.pixels, crop, self.deviation.size)
        return torch.from_numpy(pixels).permute(2, 0, 1)[None].to(self.device, torch.float32) / 255

    def _doubts(self, state: SourceState, name: str) -> tuple[str, ...]:
        """A warning where the model is not sure to see head and shoulders of a person in the picture."""
        if not hasattr(self.deviation, "person_certainty"):
            return ()
        with torch.inference_mode():
            certainty = self.deviation.person_certainty(state)
        if certainty >= SURE_ENOUGH:
            return ()
        found = f"{name}: head and shoulders are not found surely ({certainty:.2f} of 1), the video may fall apart"
        return (f"{found}; best is one person from the waist up, facing the camera, with both hands in view",)

    def _locate(self, picture: Picture, crop: CropBox) -> NDArray[np.float64]:
        """The joints of the person in a crop, `k 2` in pixels of the whole picture."""
        with torch.inference_mode():
            points = self.deviation.locate_person(self._cut(picture, crop))[0]  # type: ignore[attr-defined] # optional
        seen: NDArray[np.float64] = points.double().cpu().numpy()
        return np.array([crop.left, crop.top]) + (seen + 1) / 2 * crop.side


def _check_fit(bundle: Bundle, **sizes: int) -> None:
    """Refuse a bundle whose denoiser was configured for other parts than those beside it."""
    params = bundle.components["denoiser"].params
    for key, expected in sizes.items():
        if params.get(key, expected) != expected:
            found = f"denoiser.params.{key} = {params[key]!r}, expected {expected}"
            raise BundleError(f"bundle '{bundle.name}': {found}", "its parts belong to different bundles")


def choose_device(name: str) -> torch.device:
    """`auto` is cuda where there is one, else cpu. EnvironmentFault when `cuda` is asked for and absent."""
    if name not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"device = {name!r}, expected auto, cpu or cuda", "leave it out to let gesturegen choose")
    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise EnvironmentFault(
            "device cuda was asked for and torch finds none", "use --device cpu, or install a driver"
        )
    return torch.device("cuda" if there and name != "cpu" else "cpu")


def _timed(timings: dict[str, float], stage: str, work: Callable[[], Any]) -> Any:
    started = time.monotonic()
    result = work()
    timings[stage] = round(time.monotonic() - started, 3)
    return result


def _record(
    bundle: Bundle,
    clip: AudioClip,
    path: Path | None,
    source: Source,
    sampling: Sampling,
    rng_seed: int,
    device: str,
) -> dict[str, Any]:
    """What the record says of the inputs and settings: base names and digests, never folders or the machine's name."""
    speech = {"name": clip.name, "sha256": digest(path or clip.samples), "seconds": round(clip.seconds, 4)}
    return {
        MARK: True,
        "mark": AI_MARK,
        "inputs": {"speech": speech, "picture": {"name": source.name, "sha256": source.sha256}},
        "bundle": {"name": bundle.name, "digest": bundle.digest},
        "sampling": asdict(sampling),
        "rng_seed": rng_seed,
        "device": device,
        "versions": versions(),
        "crop": asdict(source.crop) | {"cropped_again": source.cropped_again},
        "warnings": [*clip.warnings, *source.warnings],
    }
