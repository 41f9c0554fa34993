import hashlib

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gesturegen_cli.errors import EnvironmentFault, InputError
from gesturegen_cli.evaluation import video_features
from gesturegen_cli.evaluation.video_features import WEIGHTS, load_fvd_self, load_i3d


@pytest.fixture(scope="module")
def own():
    return load_fvd_self()


def noise(seed, n=2, size=64):
    return torch.rand(n, 16, 3, size, size, generator=torch.Generator().manual_seed(seed))


def speaker(seed, n=24, size=64):
    """`n` clips of a drawn speaker: head, body and two hands that swing, other colours and pace in each."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size].astype(np.float32) / size
    found = np.empty((n, 16, 3, size, size), np.float32)
    for clip in found:
        wall, shirt, skin = rng.uniform(0.1, 0.9, (3, 3, 1, 1))
        clip[:] = wall + rng.uniform(-0.05, 0.05, (1, size, size))
        middle, pace, phase, swing = (rng.uniform(*span) for span in ((0.4, 0.6), (0.05, 0.2), (0, 6), (0.05, 0.15)))
        turn = (phase + pace * np.arange(16, dtype=np.float32)).reshape(-1, 1, 1, 1)
        spots = [(middle, 0.75, 0.16, 0.3, shirt), (middle, 0.3, 0.09, 0.12, skin)]
        for side in (-1, 1):
            left, top = middle + side * (0.15 + swing * np.sin(turn)), 0.65 + swing * np.cos(1.3 * turn + side)
            spots.append((left, top, 0.06, 0.06, skin))
        for left, top, wide, high, colour in spots:
            inside = ((1 - np.hypot((x - left) / wide, (y - top) / high)) * 6).clip(0, 1)
            clip[:] = clip * (1 - inside) + inside * colour
    return torch.from_numpy(found.clip(0, 1))


def distance(a, b):
    """Frechet distance of two sets of features, after Heusel et al. 2017."""
    a, b = a.double(), b.double()
    values, vectors = torch.linalg.eigh(a.T.cov())
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    cross = torch.linalg.eigvalsh(root @ b.T.cov() @ root).clamp(min=0).sqrt().sum()
    return float((a.mean(0) - b.mean(0)).square().sum() + a.T.cov().trace() + b.T.cov().trace() - 2 * cross)


def test_the_shipped_network_says_what_it_is(own):
    assert own.digest == hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()
    assert (own.name, own.frames) == ("FVD-self", 16)
    assert "64 x 64" in own.resizing
    assert WEIGHTS.stat().st_size < 1_500_000


def test_features_are_repeatable_and_each_clip_stands_by_itself(own):
    clips = torch.cat([noise(1, 3), speaker(1, 2)])
    found = own(clips)
    assert found.shape == (5, 64)
    assert (found.dtype, found.device.type) == (torch.float32, "cpu")
    assert torch.equal(found, own(clips))
    alone = torch.cat([own(clip[None]) for clip in clips])
    assert torch.allclose(found, alone, atol=1e-3 * float(found.abs().max()))


def test_larger_clips_are_made_smaller_first(own):
    small = speaker(2, 3)
    # smoothly enlarged, as no video shows blocks of sixteen equal pixels
    large = torch.nn.functional.interpolate(small.flatten(0, 1), (256, 256), mode="bicubic").clamp(0, 1)
    large = large.reshape(3, 16, 3, 256, 256)
    error = (own(large) - own(small)).norm(dim=1).mean()
    assert error < 0.25 * (own(speaker(3, 3)) - own(small)).norm(dim=1).mean()


def test_faults_are_farther_from_clean_clips_than_clean_ones_are(own):
    clean, other, base = own(speaker(4)), own(speaker(5)), speaker(5)
    order = torch.randperm(16, generator=torch.Generator().manual_seed(1))
    blurred = torch.nn.functional.avg_pool2d(base.flatten(0, 1), 5, 1, 2).reshape(base.shape)
    faults = {
        "frozen": base[:, :1].expand_as(base),
        "shuffled": base[:, order],
        "noisy": (base + 0.1 * torch.randn(base.shape, generator=torch.Generator().manual_seed(2))).clamp(0, 1),
        "blurred": blurred,
    }
    usual = distance(clean, other)
    found = {name: distance(clean, own(clips)) for name, clips in faults.items()}
    assert min(found.values()) > 1.5 * usual, (usual, found)


@pytest.mark.parametrize("shape", [(1, 16, 3, 64, 60), (1, 8, 3, 64, 64), (16, 3, 64, 64), (1, 3, 16, 64, 64)])
def test_clips_of_another_shape_are_refused(own, shape):
    with pytest.raises(ValueError, match="expected n 16 3 h h"):
        own(torch.zeros(shape))


def test_whole_numbers_and_values_that_are_not_finite_are_refused(own):
    with pytest.raises(ValueError, match="uint8, expected numbers in"):
        own(torch.zeros(1, 16, 3, 64, 64, dtype=torch.uint8))
    with pytest.raises(InputError, match="not finite"):
        own(torch.full((1, 16, 3, 64, 64), float("nan")))


def test_a_package_without_the_weights_is_an_incomplete_one(monkeypatch, tmp_path):
    monkeypatch.setattr(video_features, "WEIGHTS", tmp_path / "nothing.safetensors")
    with pytest.raises(EnvironmentFault, match="missing from the package"):
        load_fvd_self()


class Stand(nn.Module):
    """Called like the published I3D: its "features" are means of what it was given."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))

    def forward(self, x: Tensor, rescale: bool = True, resize: bool = True, return_features: bool = False) -> Tensor:
        if resize:
            x = nn.functional.interpolate(x, size=[x.shape[2], 32, 32], mode="trilinear", align_corners=False)
        if rescale:
            x = 2 * x / 255 - 1
        means = x.mean((3, 4))  # n 3 t
        ends = (means * self.weight[None, :, None])[:, :, 0] - means[:, :, -1]
        return torch.cat([means.mean(2), ends], 1) if return_features else means[:, :1, 0]


class Otherwise(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


class Map(nn.Module):
    def forward(self, x: Tensor, rescale: bool = True, resize: bool = True, return_features: bool = False) -> Tensor:
        return x


def scripted(module, path):
    torch.jit.script(module.eval()).save(str(path))
    return path


def test_an_i3d_file_is_called_as_its_authors_do(tmp_path):
    path = scripted(Stand(), tmp_path / "i3d.pt")
    network = load_i3d(path)
    clips = noise(6, 3, 40)
    assert network.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    found = network(clips)
    small = nn.functional.interpolate(clips.transpose(1, 2), (16, 32, 32), mode="trilinear").mean((3, 4)) * 2 - 1
    assert torch.allclose(found, torch.cat([small.mean(2), small[..., 0] - small[..., -1]], 1), atol=1e-5)
    assert all(torch.equal(network(clips), found) for _ in range(3))
    assert torch.allclose(found[1:2], network(clips[1:2]), atol=1e-6)


def test_programs_that_are_called_otherwise_or_give_no_features_are_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be called as expected") as caught:
        load_i3d(scripted(Otherwise(), tmp_path / "a.pt"))
    assert "StyleGAN-V" in caught.value.hint
    with pytest.raises(InputError, match=r"gives \(1, 3, 16, 64, 64\) for 1 clips, expected features"):
        load_i3d(scripted(Map(), tmp_path / "b.pt"))


def test_i3d_files_are_searched_before_they_are_loaded(tmp_path):
    (tmp_path / "i3d.pt").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(InputError, match="Git LFS pointer"):
        load_i3d(tmp_path / "i3d.pt")
    with pytest.raises(InputError, match="does not exist"):
        load_i3d(tmp_path / "none.pt")
