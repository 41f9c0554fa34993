"""Feature spaces: shapes, learning, and distances that grow with what is wrong with a motion."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gesturegen_cli.errors import InputError
from gesturegen_cli.evaluation.frechet import frechet_distance, moments
from gesturegen_cli.evaluation.pose_space import (
    PoseAutoencoder,
    PoseNetwork,
    PoseSpace,
    build_network,
    cut_windows,
    encoded_steps,
    fit_pose_autoencoder,
    fit_principal_space,
)

JOINTS = ("neck", "left_elbow", "right_elbow", "left_wrist", "right_wrist")
WINDOW = 34


def drawn_poses(rng_seed: int, frames: int = 150) -> Tensor:
    """Arms that swing about a posture, each at its own slow and changing pace; wrists follow their elbows."""
    generator = torch.Generator().manual_seed(rng_seed)
    time = torch.arange(frames) / 25
    pace, phase = torch.rand(2, 3, generator=generator) * 2.5 + 0.5, 6.3 * torch.rand(2, 3, generator=generator)
    swing = torch.sin(time[:, None, None] * pace + phase).mul(torch.tensor([0.4, 0.25, 0.15])).sum(dim=-1)
    poses = torch.zeros(frames, len(JOINTS), 2)
    for side, sign in ((0, 1.0), (1, -1.0)):
        upper, lower = 0.6 + 0.5 * swing[:, side], 1.2 + swing[:, side] * 1.2
        poses[:, 1 + side, 0], poses[:, 1 + side, 1] = sign * (0.5 + 0.3 * upper.sin()), upper.cos()
        poses[:, 3 + side, 0] = poses[:, 1 + side, 0] + sign * 0.8 * lower.cos()
        poses[:, 3 + side, 1] = poses[:, 1 + side, 1] - 0.8 * lower.sin()
    return poses


def drawn_windows(seeds: range) -> Tensor:
    return torch.cat([cut_windows(drawn_poses(seed), WINDOW, 4) for seed in seeds])


@pytest.fixture(scope="module")
def trained() -> PoseAutoencoder:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return fit_pose_autoencoder(drawn_windows(range(60)), joints=JOINTS, window=WINDOW, fps=25, steps=120)
    finally:
        torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def spaces(trained: PoseAutoencoder) -> dict[str, PoseSpace]:
    return {"autoencoder": trained, "principal": fit_principal_space(drawn_windows(range(100, 140)))}


@pytest.mark.parametrize(("window", "flat"), [(34, 384), (64, 864), (80, 1120)])
def test_the_encoder_has_the_layers_of_its_origin(window: int, flat: int):
    network = build_network(50, window)
    shapes = [tuple(value.shape) for name, value in network.encoder.named_parameters() if value.ndim > 1]
    convolutions = [(32, 50, 3), (64, 32, 3), (64, 64, 4), (32, 64, 3)]
    assert shapes == [*convolutions, (256, flat), (128, 256), (32, 128), (32, 32)]
    assert 32 * encoded_steps(window) == flat


@pytest.mark.parametrize("window", [12, 13, 34, 63, 64, 80])
def test_windows_come_back_in_their_own_shape(window: int):
    assert PoseNetwork(6, window).eval()(torch.zeros(2, window, 6)).shape == (2, window, 6)


def test_cut_windows_start_every_stride_and_short_clips_have_none():
    poses = torch.arange(2 * 3 * 11).reshape(11, 3, 2).float()
    windows = cut_windows(poses, 4, 3)
    assert windows.shape == (3, 4, 6)
    assert torch.equal(windows[2], poses[6:10].flatten(1))
    assert cut_windows(poses, 12, 3).shape == (0, 12, 6)
    assert cut_windows(poses, 11, 3).shape == (1, 11, 6)


def test_a_short_training_learns_poses_it_has_not_seen(trained: PoseAutoencoder):
    windows = drawn_windows(range(200, 220))
    wrong = (trained.reconstruct(windows) - windows).square().mean(dim=(0, 1)).sqrt()
    spread = windows.flatten(0, 1).std(dim=0)
    moving = spread > 0.01
    assert moving.sum() == 8  # all but the neck
    assert (wrong[moving] / spread[moving]).mean() < 0.45
    assert trained.training["error"] < 0.25
    assert trained.training["steps"] == 120


@pytest.mark.parametrize("kind", ["autoencoder", "principal"])
def test_distances_grow_with_what_is_wrong(spaces: dict[str, PoseSpace], kind: str):
    space = spaces[kind]
    reference = moments(space.features(drawn_windows(range(100, 140))))
    made = drawn_windows(range(300, 340))
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(made.shape, generator=generator)
    middle = made.mean(dim=(0, 1))
    still = made[:, :1].expand_as(made)

    def distances(sets: list[Tensor]) -> list[float]:
        return [frechet_distance(moments(space.features(part)), reference) for part in sets]

    clean = distances([made])[0]
    for worse in (
        distances([made + level * noise for level in (0.1, 0.3, 1.0)]),
        distances([torch.lerp(made, still, share) for share in (0.5, 1.0)]),
        distances([middle + factor * (made - middle) for factor in (1.5, 2.5)]),
        distances([middle + factor * (made - middle) for factor in (0.5, 0.0)]),
    ):
        assert clean < worse[0]
        assert worse == sorted(worse)


@pytest.mark.parametrize("kind", ["autoencoder", "principal"])
def test_features_are_double_and_do_not_depend_on_their_neighbours(spaces: dict[str, PoseSpace], kind: str):
    windows = drawn_windows(range(3))
    features = spaces[kind].features(windows)
    assert features.shape == (len(windows), 32)
    assert features.dtype == torch.float64
    assert torch.allclose(spaces[kind].features(windows[5:6]), features[5:6], atol=1e-5)
    assert spaces[kind].features(windows[:0]).shape == (0, 32)


def test_training_is_repeatable_and_leaves_the_global_state_alone():
    windows = drawn_windows(range(2))
    state = torch.random.get_rng_state()
    done: list[tuple[int, int]] = []
    one, other = (
        fit_pose_autoencoder(
            windows, joints=JOINTS, window=WINDOW, fps=25, steps=2, rng_seed=4, on_step=lambda *at: done.append(at)
        )
        for _ in range(2)
    )
    assert torch.equal(one.features(windows), other.features(windows))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert done == [(1, 2), (2, 2)] * 2


def test_windows_that_do_not_fit_are_refused(trained: PoseAutoencoder):
    with pytest.raises(InputError, match="windows of 20x10 numbers, expected 34x10"):
        trained.features(torch.zeros(3, 20, 10))
    with pytest.raises(InputError, match="windows of 34x8 numbers, expected 34x10"):
        fit_pose_autoencoder(torch.zeros(9, 34, 8), joints=JOINTS, window=34, fps=25, steps=1)
    with pytest.raises(InputError, match="at least 12 frames"):
        fit_pose_autoencoder(torch.zeros(9, 8, 10), joints=JOINTS, window=8, fps=25, steps=1)
    with pytest.raises(InputError, match="1 windows to train on"):
        fit_pose_autoencoder(torch.zeros(1, 34, 10), joints=JOINTS, window=34, fps=25, steps=1)


def test_principal_components_keep_the_distances_of_the_reference():
    windows = torch.randn(12, 6, 3, generator=torch.Generator().manual_seed(5)) * torch.tensor([1.0, 10.0, 0.1])
    space = fit_principal_space(windows)
    features = space.features(windows)
    assert features.shape == (12, 11)  # twelve windows span eleven directions
    standardised = ((windows.double() - space.mean) / space.scale).flatten(1)
    assert torch.allclose(torch.pdist(features), torch.pdist(standardised), rtol=1e-8)
    assert torch.allclose(space.axes.T @ space.axes, torch.eye(11).double(), atol=1e-8)


def test_principal_components_come_strongest_first_and_do_not_correlate():
    windows = drawn_windows(range(10))
    features = fit_principal_space(windows, 6).features(windows)
    covariance = torch.cov(features.T)
    spread = covariance.diagonal()
    assert torch.equal(spread, spread.sort(descending=True).values)
    assert (covariance - torch.diag(spread)).abs().max() < 1e-8 * spread[0]


def test_numbers_and_windows_that_never_change_do_no_harm():
    windows = torch.randn(8, 12, 2, generator=torch.Generator().manual_seed(6))
    windows[..., 1] = 7.0
    assert fit_principal_space(windows, 4).features(windows).isfinite().all()
    same = torch.ones(5, 12, 2)
    trained = fit_pose_autoencoder(same, joints=("neck",), window=12, fps=25, steps=1)
    assert trained.features(same).isfinite().all()


def test_windows_that_are_all_the_same_span_no_space():
    one = torch.randn(1, 12, 2, generator=torch.Generator().manual_seed(7))
    for same in (torch.ones(5, 12, 2), one.repeat(5, 1, 1)):
        assert fit_principal_space(same) is None
        rounded = same + 1e-8 * torch.randn(5, 12, 2, generator=torch.Generator().manual_seed(8))
        assert fit_principal_space(rounded) is None
    one = one.repeat(5, 1, 1)
    one[3, 4, 0] += 0.01  # a hundredth of a shoulder width in one frame
    assert fit_principal_space(one).features(one).shape == (5, 1)


def test_one_window_has_no_principal_components():
    with pytest.raises(InputError, match="1 reference windows"):
        fit_principal_space(torch.zeros(1, 4, 2))


def test_many_windows_are_thinned_evenly(monkeypatch: pytest.MonkeyPatch):
    windows = drawn_windows(range(10))
    monkeypatch.setattr("gesturegen_cli.evaluation.pose_space.MOST_FITTED", 40)
    space = fit_principal_space(windows, 4)
    assert space.axes.shape == (WINDOW * 10, 4)
    shown = space.features(windows).square().sum() / ((windows - space.mean) / space.scale).square().sum()
    assert math.isfinite(shown)
    assert shown > 0.5  # four directions found on 40 windows carry most of what all 300 do
