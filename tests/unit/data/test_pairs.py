from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from gesturegen_cli.data import augment
from gesturegen_cli.data.augment import Geometry, move_frames
from gesturegen_cli.data.frames import FrameStore
from gesturegen_cli.data.pairs import FramePairs, move_labels
from gesturegen_cli.errors import InputError

SIDE = 64


def checked_labels(count: int) -> dict[str, np.ndarray]:
    """A square of part 3 at column 8 + frame; every point of it lies in source frame 0 where it says it lies."""
    parts = np.zeros((count, SIDE, SIDE), np.uint8)
    flow = np.zeros((count, 2, SIDE, SIDE, 2), np.float16)
    joints = np.zeros((count, 25, 2), np.float32)
    for frame in range(count):
        left = 8 + frame
        parts[frame, 20:40, left : left + 16] = 3
        flow[frame, :, 20:40, left : left + 16, 0] = -frame * 2 / SIDE
        joints[frame, :] = [(left + 8) * 2 / SIDE - 1, 30 * 2 / SIDE - 1]
    return {
        "frames": np.arange(count, dtype=np.int32),
        "joints": joints,
        "parts": parts,
        "source_frames": np.zeros((count, 2), np.int32),
        "flow": flow,
        "visible": np.ones((count, 2, SIDE, SIDE), np.uint8),
    }


def checked_frames(labels: dict[str, np.ndarray]) -> np.ndarray:
    """Pictures of the square, 4 pixels per label cell, with a texture that moves along."""
    texture = np.random.default_rng(0).integers(60, 255, (20, 16, 3)).astype(np.uint8)
    small = np.full((len(labels["parts"]), SIDE, SIDE, 3), 30, np.uint8)
    for frame, picture in enumerate(small):
        picture[20:40, 8 + frame : 24 + frame] = texture
    return small.repeat(4, 1).repeat(4, 2)


@pytest.fixture
def store(tmp_path) -> FrameStore:
    labels = checked_labels(12)
    np.save(tmp_path / "frames.npy", checked_frames(labels))
    save_file(labels, tmp_path / "labels.safetensors")
    return FrameStore(tmp_path / "frames.npy", 12, tmp_path / "labels.safetensors")


@pytest.fixture
def plain(store) -> FrameStore:
    return FrameStore(store.path, 12, None)


def test_a_batch_depends_on_seed_step_and_rank_only(store):
    pairs = FramePairs((store,), 3, rng_seed=7)
    first, again = pairs.batch(5, 1), FramePairs((store,), 3, rng_seed=7).batch(5, 1)
    assert all(torch.equal(first[name], again[name]) for name in first)
    for other in (pairs.batch(6, 1), pairs.batch(5, 0), FramePairs((store,), 3, rng_seed=8).batch(5, 1)):
        assert not torch.equal(first["driving"], other["driving"])


def test_pictures_are_in_range_and_the_input_differs_by_noise_only(plain):
    batch = FramePairs((plain,), 16, rng_seed=0).batch(0)
    assert batch.keys() == {"source", "driving", "source_input", "driving_input"}
    for picture in batch.values():
        assert picture.shape == (16, 3, 256, 256)
        assert picture.min() >= 0
        assert picture.max() <= 1
    difference = (batch["driving"] - batch["driving_input"]).abs().mean()
    assert 0 < difference < 0.05


def test_without_augmentation_pairs_are_two_different_frames_of_the_clip(plain):
    frames = torch.from_numpy(np.load(plain.path)).permute(0, 3, 1, 2).float() / 255
    batch = FramePairs((plain,), 32, rng_seed=0, augment=False).batch(0)
    for source, driving in zip(batch["source"], batch["driving"], strict=True):
        found = [int((frames - picture).abs().amax((1, 2, 3)).argmin()) for picture in (source, driving)]
        assert found[0] != found[1]
        assert torch.allclose(frames[found[0]], source)


def test_both_frames_are_moved_and_coloured_alike(store):
    for step in range(8):
        batch = FramePairs((store,), 1, rng_seed=step).batch(0)
        background = (batch["source_parts"] == 0) & (batch["driving_parts"] == 0)
        still = torch.nn.functional.interpolate(background[:, None].float(), scale_factor=4) > 0
        inner = -torch.nn.functional.max_pool2d(-still.float(), 9, 1, 4) > 0
        assert torch.allclose(batch["source"] * inner, batch["driving"] * inner, atol=1e-5)


def test_flow_of_augmented_pairs_finds_the_same_texture_in_the_source(store):
    """Oracle: sampling the source at `grid` gives the driving picture, wherever the square is whole and visible."""
    seen = 0
    for step in range(12):
        batch = FramePairs((store,), 4, rng_seed=1).batch(step)
        grid = torch.nn.functional.interpolate(batch["grid"].permute(0, 3, 1, 2), scale_factor=4.0, mode="bilinear")
        warped = torch.nn.functional.grid_sample(
            batch["source"], grid.permute(0, 2, 3, 1), padding_mode="border", align_corners=False
        )
        body = (batch["driving_parts"] > 0).float()[:, None] * batch["visible"]
        inside = torch.nn.functional.interpolate(-torch.nn.functional.max_pool2d(-body, 5, 1, 2), scale_factor=4.0)
        error = ((warped - batch["driving"]).abs().mean(1, keepdim=True) * inside).sum()
        copied = ((batch["source"] - batch["driving"]).abs().mean(1, keepdim=True) * inside).sum()
        seen += int(inside.sum())
        assert error <= 0.35 * copied + 1e-3
    assert seen > 10_000


def test_labels_follow_shift_scale_and_mirror():
    labels = {name: value[4] for name, value in checked_labels(12).items()}
    source = {name: value[0] for name, value in checked_labels(12).items()}
    geometry = Geometry(scale=0.8, shift=(0.1, 0.15), mirrored=True)
    moved = move_labels(source, labels, 0, geometry, SIDE)
    expected = labels["joints"] * np.float32([-0.8, 0.8]) + np.float32([0.1, 0.15])
    assert np.allclose(moved["driving_joints"].numpy(), expected, atol=1e-6)
    rows, columns = np.nonzero(moved["driving_parts"].numpy() == 3)
    centre = np.array([columns.mean(), rows.mean()]) * 2 / SIDE + 1 / SIDE - 1
    assert np.allclose(centre, expected[0], atol=2.5 / SIDE)
    assert bool(moved["mirrored"])


def test_below_the_desk_there_is_no_speaker_and_what_came_from_there_is_not_visible():
    labels = {name: value[4] for name, value in checked_labels(12).items()}
    moved = move_labels(labels, labels, 0, Geometry(desk=0.0), SIDE)
    assert (moved["driving_parts"][SIDE // 2 :] == 0).all()
    assert (moved["driving_parts"][: SIDE // 2] == 3).any()
    assert float(moved["desk"]) == 0.0
    labels["flow"][0, ..., 1] = 0.8  # every point came from far below
    lost = move_labels(labels, labels, 0, Geometry(desk=0.0), SIDE)
    assert (lost["visible"][0][lost["driving_parts"] > 0] == 0).all()


def test_boxes_follow_shift_scale_mirror_and_desk():
    labels = {name: value[4] for name, value in checked_labels(12).items()}
    labels["boxes"] = np.float32([[-0.5, -0.2, 0.1, 0.6]] * 3)
    geometry = Geometry(scale=0.5, shift=(0.1, 0.2), mirrored=True, desk=0.4)
    moved = move_labels(labels, labels, 0, geometry, SIDE)["boxes"]
    assert np.allclose(moved.numpy(), [[0.05, 0.1, 0.35, 0.4]] * 3, atol=1e-6)
    assert "boxes" not in move_labels(labels, {k: v for k, v in labels.items() if k != "boxes"}, 0, geometry, SIDE)


def test_what_face_and_hands_do_is_handed_on_for_both_frames():
    source, driving = ({name: value[k] for name, value in checked_labels(12).items()} for k in (3, 4))
    driving |= {"face": np.float32([1] * 8), "hands": np.float32([[2] * 8, [3] * 8])}
    moved = move_labels(source | {"face": np.zeros(8)}, driving, 0, Geometry(mirrored=True), SIDE)
    assert moved["driving_hands"].tolist() == driving["hands"].tolist()
    assert moved["driving_face"].sum() == 8
    assert moved["source_face"].sum() == 0
    assert "source_hands" not in moved


def test_no_geometry_changes_nothing():
    frames = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype(np.uint8)
    moved = move_frames(frames, Geometry(), torch.Generator())
    assert np.array_equal((moved * 255).round().permute(0, 2, 3, 1).numpy(), frames)


def test_mirroring_is_exact():
    frames = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype(np.uint8)
    moved = move_frames(frames, Geometry(mirrored=True), torch.Generator())
    assert np.abs((moved * 255).permute(0, 2, 3, 1).numpy() - frames[:, :, ::-1]).max() < 0.1


def test_pixels_and_labels_agree_about_the_edge_of_the_desk():
    frames = np.zeros((2, 64, 64, 3), np.uint8)
    moved = move_frames(frames, Geometry(desk=0.25), torch.Generator().manual_seed(0))
    covered = moved[0].amax((0, 2)) > 0
    centres = (torch.arange(64) * 2 + 1) / 64 - 1
    assert torch.equal(covered, centres > 0.25)


def test_textures_are_still_pictures_of_the_right_kind():
    texture = augment.random_texture(64, torch.Generator().manual_seed(3))
    assert texture.shape == (3, 64, 64)
    assert 0 <= texture.min() < texture.max() <= 1


def test_clips_of_one_frame_make_no_pairs(tmp_path: Path):
    with pytest.raises(InputError, match="two frames"):
        FramePairs((FrameStore(tmp_path / "x.npy", 1, None),), 2, 0)
