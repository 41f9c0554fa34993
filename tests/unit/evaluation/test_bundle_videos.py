"""Videos of a bundle are made once, made again when what they come from has changed, and fail one by one."""

from __future__ import annotations

import pytest
import torch

from gesturegen_cli.bundle import open_bundle
from gesturegen_cli.config.schema import Sampling
from gesturegen_cli.errors import InputError
from gesturegen_cli.evaluation.bundle_videos import Renderer, bundle_view
from gesturegen_cli.evaluation.items import Item
from gesturegen_cli.evaluation.view import View

CPU = torch.device("cpu")


@pytest.fixture
def renderer(tiny_bundle, tmp_path):
    bundle = open_bundle(tiny_bundle)
    view = bundle_view(bundle, View(25, 64, CPU))
    return Renderer(bundle, tmp_path / "made", view, Sampling(steps=2, overlap=4), 0, lambda frames: None)


@pytest.fixture
def item(make_video, make_speech, tmp_path):
    video = make_video(tmp_path / "a.mp4", seconds=1, sound=False)
    return Item("a", video, make_speech(tmp_path / "a.wav", 1))


def make_all(renderer, items):
    """Each video with its bytes."""
    made = [make() for work in (renderer.reconstruct(items), renderer.speak(items)) for _, make in work]
    return [(one.video.parent.name, one.video.read_bytes(), one.video.stat().st_mtime_ns) for one in made]


def test_another_sound_file_makes_the_videos_again(renderer, item, make_speech):
    first = make_all(renderer, [item])
    assert [name for name, *_ in first] == ["reconstruction", "speech"]
    assert make_all(renderer, [item]) == first
    make_speech(item.audio, 1, rng_seed=3)
    again = make_all(renderer, [item])
    assert all(now[1] != before[1] for now, before in zip(again, first, strict=True))


@pytest.mark.parametrize("lost", ["video", "audio"])
def test_a_file_that_vanished_costs_its_clip_only(renderer, item, lost):
    ((_, make),) = renderer.speak([item])
    getattr(item, lost).unlink()
    with pytest.raises(InputError, match=r"file 'a\.(mp4|wav)' cannot be read: No such file"):
        make()


def test_a_bundle_that_is_slower_than_the_protocol_still_shows_a_frame(tiny_bundle):
    bundle = open_bundle(tiny_bundle)
    assert [bundle_view(bundle, View(60, 64, CPU, frames=count)).frames for count in (0, 1, 2, 60)] == [0, 1, 1, 25]
