import hashlib

import pytest
import torch
from safetensors.torch import save_file

from gesturegen_cli.errors import InputError
from gesturegen_cli.evaluation.lpips import Lpips, load_lpips, lpips

LAYERS = {0: (64, 3, 11), 3: (192, 64, 5), 6: (384, 192, 3), 8: (256, 384, 3), 10: (256, 256, 3)}
GEOMETRY = {0: (4, 2), 3: (1, 2), 6: (1, 1), 8: (1, 1), 10: (1, 1)}


def drawn(seed=0):
    """Weights of the sizes of AlexNet, such that values keep their size from layer to layer."""
    generator = torch.Generator().manual_seed(seed)
    alex, linear = {}, {}
    for index, (number, (out, channels, kernel)) in enumerate(LAYERS.items()):
        weight = torch.randn(out, channels, kernel, kernel, generator=generator)
        alex[f"features.{number}.weight"] = weight * (2 / (channels * kernel**2)) ** 0.5
        alex[f"features.{number}.bias"] = 0.1 * torch.randn(out, generator=generator)
        linear[f"lin{index}.model.1.weight"] = torch.rand(1, out, 1, 1, generator=generator)
    return alex, linear


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lpips")
    alex, linear = drawn()
    torch.save({**alex, "classifier.1.weight": torch.zeros(2, 2)}, folder / "alexnet.pth")
    torch.save(linear, folder / "alex.pth")
    return folder / "alexnet.pth", folder / "alex.pth"


@pytest.fixture(scope="module")
def network(files):
    return load_lpips(*files)


def pictures(seed, batch=2, height=33, width=40):
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(seed))


def by_hand(alex, linear, one, other):
    """The same distance for one pair, in float64, with convolutions as sums over windows and plain loops."""

    def layers(picture):
        shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
        x = (2 * picture.double() - 1 - shift.double()[:, None, None]) / scale.double()[:, None, None]
        for number, (out, channels, kernel) in LAYERS.items():
            if number in (3, 6):
                windows = x.unfold(1, 3, 2).unfold(2, 3, 2)
                x = windows.amax((3, 4))
            stride, pad = GEOMETRY[number]
            wide = torch.zeros(channels, x.shape[1] + 2 * pad, x.shape[2] + 2 * pad, dtype=torch.float64)
            wide[:, pad : pad + x.shape[1], pad : pad + x.shape[2]] = x
            rows = (wide.shape[1] - kernel) // stride + 1
            columns = (wide.shape[2] - kernel) // stride + 1
            weight = alex[f"features.{number}.weight"].double().reshape(out, -1)
            y = torch.zeros(out, rows, columns, dtype=torch.float64)
            for r in range(rows):
                for c in range(columns):
                    patch = wide[:, r * stride : r * stride + kernel, c * stride : c * stride + kernel]
                    y[:, r, c] = weight @ patch.reshape(-1) + alex[f"features.{number}.bias"].double()
            x = y.clamp(min=0)
            yield x

    total = 0.0
    for index, (a, b) in enumerate(zip(layers(one), layers(other), strict=True)):
        weight, values = linear[f"lin{index}.model.1.weight"].double().reshape(-1), []
        for r in range(a.shape[1]):
            for c in range(a.shape[2]):
                unit = [v[:, r, c] / (sum(float(x) ** 2 for x in v[:, r, c]) ** 0.5 + 1e-10) for v in (a, b)]
                values.append(float(weight @ (unit[0] - unit[1]) ** 2))
        total += sum(values) / len(values)
    return total


def test_equals_the_definition_written_out(network):
    made, real = pictures(1), pictures(2)
    found = lpips(network, made, real)
    wanted = [by_hand(*drawn(), one, other) for one, other in zip(made, real, strict=True)]
    assert found.dtype == torch.float32
    assert found.tolist() == pytest.approx(wanted, rel=1e-4)
    assert min(wanted) > 0.1


def test_is_zero_for_equal_pictures_symmetric_and_grows(network):
    real, noise = pictures(3, height=64, width=64), pictures(4, height=64, width=64)
    assert lpips(network, real, real).tolist() == [0, 0]
    distances = [lpips(network, real + part * (noise - real), real) for part in (0.1, 0.3, 1.0)]
    assert (distances[0] < distances[1]).all()
    assert (distances[1] < distances[2]).all()
    assert torch.allclose(lpips(network, noise, real), lpips(network, real, noise))


def test_each_pair_stands_by_itself(network):
    made, real = pictures(5, 3), pictures(6, 3)
    alone = torch.cat([lpips(network, made[i : i + 1], real[i : i + 1]) for i in range(3)])
    assert torch.allclose(lpips(network, made, real), alone, atol=1e-6)


@pytest.mark.parametrize(
    ("made", "real"),
    [((1, 3, 30, 64),) * 2, ((1, 3, 64, 64), (2, 3, 64, 64)), ((1, 1, 64, 64),) * 2, ((3, 64, 64),) * 2],
)
def test_pictures_that_do_not_fit_are_refused(network, made, real):
    with pytest.raises(ValueError, match="expected twice b 3 h w"):
        lpips(network, torch.zeros(made), torch.zeros(real))


def test_one_file_with_the_names_of_the_whole_metric_gives_the_same(network, files, tmp_path):
    alex, linear = drawn()
    slices = {number: f"net.slice{index + 1}.{number}" for index, number in enumerate(LAYERS)}
    whole = {
        name.replace(f"features.{n}", slices[n]): t for n in LAYERS for name, t in alex.items() if f".{n}." in name
    }
    save_file({**whole, **linear}, tmp_path / "lpips.safetensors")
    other = load_lpips(tmp_path / "lpips.safetensors")
    assert torch.equal(lpips(other, pictures(1), pictures(2)), lpips(network, pictures(1), pictures(2)))
    assert other.digest == hashlib.sha256((tmp_path / "lpips.safetensors").read_bytes()).hexdigest()
    assert network.digest == ",".join(hashlib.sha256(file.read_bytes()).hexdigest() for file in files)


def test_missing_tensors_are_listed(files, tmp_path):
    with pytest.raises(InputError, match=r"lack lin0\.model\.1\.weight, lin1\.model\.1\.weight") as caught:
        load_lpips(files[0])
    assert "LPIPS(net='alex')" in caught.value.hint
    alex, linear = drawn()
    del alex["features.8.bias"]
    torch.save({**alex, **linear}, tmp_path / "part.pth")
    with pytest.raises(InputError, match=r"'part\.pth' lack features\.8\.bias$"):
        load_lpips(tmp_path / "part.pth")


def test_tensors_of_another_network_are_listed(tmp_path):
    alex, linear = drawn()
    linear["lin1.model.1.weight"] = torch.ones(1, 128, 1, 1)  # as in the VGG variant
    alex["features.0.bias"][3] = float("nan")
    torch.save({**alex, **linear}, tmp_path / "other.pth")
    with pytest.raises(InputError) as caught:
        load_lpips(tmp_path / "other.pth")
    assert "lin1.model.1.weight is (1, 128, 1, 1), expected (1, 192, 1, 1)" in caught.value.message
    assert "features.0.bias holds values that are not finite" in caught.value.message


def test_files_that_are_no_weights_are_refused(files, tmp_path):
    (tmp_path / "page.pth").write_text("<!doctype html><html>sign in</html>")
    with pytest.raises(InputError, match=r"LPIPS weights: .*web page"):
        load_lpips(files[0], tmp_path / "page.pth")
    with pytest.raises(InputError, match="does not exist"):
        load_lpips(tmp_path / "nothing.pth")
    assert isinstance(load_lpips(*files), Lpips)
