from dataclasses import replace

import numpy as np
import pytest

from gesturegen_speakers.labels import CELLS, Snapshot, boxes_of, flow_between
from gesturegen_speakers.skeleton import JOINTS
from gesturegen_speakers.top import clip_triangles

SIZE = 128


def square(left: float, top: float, depth: float = 0.0) -> Snapshot:
    """A square of half the picture's width with its corner at (left, top), seen by a camera."""
    corner = np.array([[left, top], [left + 1, top], [left, top + 1]])
    screen = np.concatenate([corner, np.full((3, 1), depth)], 1)
    axis = (np.arange(CELLS) * 2 + 1) / CELLS - 1
    x, y = np.meshgrid(axis, axis)
    b1, b2 = x - left, y - top
    shown = (b1 >= 0) & (b1 <= 1) & (b2 >= 0) & (b2 <= 1)
    seen = np.kron(shown, np.ones((SIZE // CELLS, SIZE // CELLS), bool))
    return Snapshot(
        joints=np.zeros((25, 2), np.float32),
        parts=shown.astype(np.uint8),
        alpha=(shown * 255).astype(np.uint8),
        corners=np.broadcast_to(np.arange(3), (CELLS, CELLS, 3)),
        weights=np.stack([1 - b1 - b2, b1, b2], -1),
        shown=shown,
        screen=screen,
        depth=np.where(seen, depth, 2.0),
    )


def test_flow_to_itself_is_zero_and_visible() -> None:
    here = square(-0.5, -0.5)
    flow, visible = flow_between(here, here)
    assert np.abs(flow).max() < 1e-6
    assert visible.all()


def test_flow_is_the_shift_of_the_surface() -> None:
    flow, visible = flow_between(square(-0.5, -0.5), square(-0.25, -0.75))
    on = square(-0.5, -0.5).shown
    np.testing.assert_allclose(flow[on], np.tile([0.25, -0.25], (on.sum(), 1)), atol=1e-3)
    assert (flow[~on] == 0).all()
    assert visible[on].all()


def test_surface_behind_another_is_hidden() -> None:
    here, source = square(-0.5, -0.5, depth=0.5), square(-0.5, -0.5, depth=0.5)
    covered = replace(source, depth=np.full((SIZE, SIZE), 0.1))
    _, visible = flow_between(here, covered)
    assert not visible[here.shown].any()


def test_surface_outside_the_source_picture_is_hidden() -> None:
    here = square(-0.5, -0.5)
    _, visible = flow_between(here, square(1.5, -0.5))
    assert not visible[here.shown].any()


def test_background_is_visible_where_the_source_shows_background() -> None:
    here, source = square(-1, -1), square(0, 0)
    _, visible = flow_between(here, source)
    background = ~here.shown
    np.testing.assert_array_equal(visible[background], ~source.shown[background])


def test_boxes_hold_the_finger_tips() -> None:
    joints = np.random.default_rng(0).uniform(-0.8, 0.8, (len(JOINTS), 2)).astype(np.float32)
    boxes = boxes_of(joints)
    for side, box in zip("LR", boxes, strict=False):
        for name in (f"finger1-3^.{side}", f"finger5-3^.{side}", f"wrist.{side}"):
            x, y = joints[JOINTS.index(name)]
            assert box[0] < x < box[2]
            assert box[1] < y < box[3]
    assert (boxes[:, 2:] > boxes[:, :2]).all()


def test_clipping_keeps_exactly_the_positive_part() -> None:
    corner = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    fields = {"v": corner, "height": corner[:, 1] - 0.25}
    clipped, triangles = clip_triangles(fields, np.array([[0, 1, 2], [0, 2, 3]]), "height")
    a, b, c = (clipped["v"][triangles[:, k]] for k in range(3))
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (c[:, 0] - a[:, 0]) * (b[:, 1] - a[:, 1])
    assert area.sum() / 2 == pytest.approx(0.75)
    assert clipped["v"][np.unique(triangles), 1].min() == pytest.approx(0.25)
