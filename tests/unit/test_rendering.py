"""Laying the animated square into the whole picture: what moved is the model's, the rest stays the picture's."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from gesturegen_cli.media.framing import CropBox, crop_and_resize
from gesturegen_cli.nn.warp import pixel_grid, warp
from gesturegen_cli.rendering import MOVED, STILL, Source, changed_share, frame_size, iter_frames

SIZE = 64


class Block:
    """Shows the picture, with a grey block in the middle that is as bright as the motion says."""

    size, motion_dim = SIZE, 1

    def animate(self, source, motion):
        images = source.expand(len(motion), -1, -1, -1).clone()
        images[:, :, 28:36, 28:36] = motion[:, :, None, None]
        return images

    def retarget(self, motion, source):
        return motion


class Flood(Block):
    """Everything has the brightness of the motion."""

    def animate(self, source, motion):
        return motion[:, :, None, None].expand(-1, 3, SIZE, SIZE)


@dataclass
class Parts:
    image: torch.Tensor
    mask: torch.Tensor
    synthetic: torch.Tensor
    grids: torch.Tensor
    shares: torch.Tensor


class Slide(Block):
    """Moves all of the picture to the left by as many of its pixels as the motion says."""

    def animate(self, source, motion):
        return self.animate_parts(source, motion).image

    def animate_parts(self, source, motion):
        grid = pixel_grid(SIZE).repeat(len(motion), 1, 1, 1)
        grid[..., 0] += motion[:, :, None] * 2 / SIZE
        ones = torch.ones(len(motion), 1, SIZE, SIZE)
        return Parts(warp(source, grid), ones, 0 * ones.expand(-1, 3, -1, -1), grid[:, None], ones)


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def prepared(whole, crop, own=0.0):
    picture = torch.from_numpy(crop_and_resize(whole, crop, SIZE)).permute(2, 0, 1)[None].float() / 255
    return Source("p.png", "0" * 64, picture, crop, False, picture, torch.tensor([own]), whole)


def render(model, source, values, batch=8, size="native"):
    shape = frame_size(size, SIZE, source)
    rows = torch.tensor(values, dtype=torch.float32)[:, None]
    return list(iter_frames(model, source, rows, batch=batch, size=shape, native=size == "native"))


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((100, 80), (80, 100)), ((101, 81), (80, 100)), ((3000, 1500), (1024, 2048)), ((64, 4096), (2048, 32))],
)
def test_native_frames_have_the_even_size_of_the_picture_up_to_a_limit(shape, expected):
    source = prepared(np.zeros((*shape, 3), np.uint8), CropBox(0, 0, 64))
    assert frame_size("native", SIZE, source) == expected
    assert frame_size(None, SIZE, source) == frame_size("model", SIZE, source) == (64, 64)
    assert frame_size(96, SIZE, source) == (96, 96)


@pytest.mark.parametrize("model", [Block(), Flood(), Slide()])
def test_the_pose_at_rest_gives_the_picture_back_exactly(model):
    whole = noise(121, 161)
    for frame in render(model, prepared(whole, CropBox(30, 7, 90)), [0.0, 0.0]):
        assert np.array_equal(frame, whole[:120, :160])


def test_only_what_changed_and_a_margin_are_the_models():
    whole = noise(200, 300)
    (frame,) = render(Block(), prepared(whole, CropBox(100, 36, 128)), [1.0])
    changed = (frame != whole).any(-1)
    rows, columns = np.nonzero(changed.any(1))[0], np.nonzero(changed.any(0))[0]
    # The block is 16 pixels wide here, from row 36 + 56 and column 100 + 56; the margin is one model pixel, twice.
    assert (rows[0], rows[-1], columns[0], columns[-1]) == pytest.approx((92, 107, 156, 171), abs=6)
    assert (frame[94:106, 158:170] == 255).all()
    assert (render(Block(), prepared(whole, CropBox(100, 36, 128)), [1.0], batch=1)[0] == frame).all()


def test_edges_inside_the_picture_fade_and_those_of_the_picture_do_not():
    whole = np.full((128, 256, 3), 100, np.uint8)
    (frame,) = render(Flood(), prepared(whole, CropBox(64, 0, 128)), [1.0])
    row = frame[64, :, 0].astype(int)
    assert (row[:64] == 100).all()
    assert (row[192:] == 100).all()
    assert np.diff(row[63:128]).min() >= 0
    assert np.diff(row[63:128]).max() <= 155 / (0.06 * 128) + 1
    assert row[128] == 255
    assert (frame[0, 100:150] == 255).all()
    assert (frame[-1, 100:150] == 255).all()


def test_a_model_that_says_where_it_looks_keeps_the_pictures_own_resolution():
    whole = noise(512, 512)
    (frame,) = render(Slide(), prepared(whole, CropBox(0, 0, 512)), [1.0])  # eight pixels of this picture
    assert np.array_equal(frame[:, :480], whole[:, 8:488])


class Curtain(Slide):
    """Moves like Slide what is in the upper half of the output; the lower half stands still."""

    def animate_parts(self, source, motion):
        moved = super().animate_parts(source, motion)
        still = pixel_grid(SIZE).expand_as(moved.grids[:, 0])
        upper = torch.zeros(len(motion), 1, SIZE, SIZE)
        upper[:, :, : SIZE // 2] = 1
        image = upper * moved.image + (1 - upper) * source
        grids, shares = torch.stack([moved.grids[:, 0], still], 1), torch.cat([upper, 1 - upper], 1)
        return Parts(image, moved.mask, moved.synthetic, grids, shares)


def test_sheets_keep_the_pictures_own_resolution_each_with_its_own_move():
    whole = noise(512, 512)
    (frame,) = render(Curtain(), prepared(whole, CropBox(0, 0, 512)), [1.0])
    assert np.array_equal(frame[:240, :480], whole[:240, 8:488])
    assert np.array_equal(frame[272:], whole[272:])


class Veil(Slide):
    """Lays grey over the right half of the output, half transparent; where nothing is laid, its colour is black."""

    def animate_parts(self, source, motion):
        parts = super().animate_parts(source, 0 * motion)
        laid = torch.zeros_like(parts.mask)
        laid[..., SIZE // 2 :] = 0.5 * motion[:, :, None, None]
        grey = (laid > 0).float().expand(-1, 3, -1, -1) * 0.4
        return Parts((1 - laid) * source + laid * grey, 1 - laid, grey, parts.grids, parts.shares)


def test_colours_that_mean_nothing_do_not_bleed_into_their_neighbours():
    whole = np.full((512, 512, 3), 204, np.uint8)
    (frame,) = render(Veil(), prepared(whole, CropBox(0, 0, 512)), [1.0])
    row = frame[256, :, 0].astype(int)
    assert (row[:250] == 204).all()
    assert (row[262:] == 153).all()
    edge = np.interp(np.arange(250, 262) + 0.5, [252, 260], [204, 153])  # the image, bilinearly enlarged
    assert (row[250:262] - edge).min() >= -1
    assert (row[250:262] - edge).max() <= 6  # fading into the picture, which is lighter


def test_a_picture_smaller_than_the_model_and_one_too_large():
    small = noise(66, 70)
    (frame,) = render(Slide(), prepared(small, CropBox(0, 0, 32)), [2.0])
    assert frame.shape == (66, 70, 3)
    assert np.array_equal(frame[:, 34:], small[:, 34:])
    large = np.zeros((1200, 4100, 3), np.uint8)
    (frame,) = render(Block(), prepared(large, CropBox(1500, 0, 1200)), [1.0])
    assert frame.shape == (598, 2048, 3)
    lit = np.nonzero(frame.max(2).max(0) == 255)[0]
    assert (lit[0] + lit[-1]) / 2 == pytest.approx(2100 * 2048 / 4100, abs=2)


def test_rendering_leaves_its_caller_outside_inference_mode():
    source = prepared(noise(80, 80), CropBox(0, 0, 80))
    for size in ("native", "model"):
        frames = iter_frames(
            Block(), source, torch.zeros(3, 1), batch=2, size=frame_size(size, SIZE, source), native=size == "native"
        )
        next(frames)
        assert not torch.is_inference_mode_enabled()


def test_no_frames_are_no_frames():
    source = prepared(noise(80, 80), CropBox(0, 0, 80))
    assert list(iter_frames(Block(), source, torch.zeros(0, 1), batch=2, size=(80, 80), native=True)) == []


def test_small_changes_are_none_and_large_ones_are_whole():
    still = torch.full((1, 3, SIZE, SIZE), 0.5)
    images = still.repeat(3, 1, 1, 1)
    images[1, 0, 30, 30] += 0.99 * STILL
    images[2, 1, 30, 30] -= 1.01 * MOVED
    share = changed_share(images, still)
    assert share[:2].max() == 0
    assert share[2, 0, 30, 30] == 1
    assert share[2, 0, 30, 34] == 0
    assert 0 < share[2, 0, 30, 32] < 1


def test_a_source_can_be_given_another_picture_behind_it():
    source = prepared(noise(128, 128), CropBox(0, 0, 128))
    other = replace(source, whole=noise(128, 128, seed=1))
    assert np.array_equal(render(Block(), other, [0.0])[0], other.whole)
