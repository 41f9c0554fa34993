import pytest
import torch

from gesturegen_cli.nn.perceptual import SLICES, WIDTHS, Vgg19, perceptual_loss

NARROW = tuple(min(width, 8) for width in WIDTHS)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Vgg19(NARROW)


def pictures(seed, size=64):
    return torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(seed))


def test_layers_are_those_of_torchvision():
    with torch.device("meta"):
        full = Vgg19()
    shapes = {name: tuple(t.shape) for name, t in full.state_dict().items()}
    assert shapes["features.0.weight"] == (64, 3, 3, 3)
    assert shapes["features.10.weight"] == (256, 128, 3, 3)
    assert shapes["features.28.weight"] == (512, 512, 3, 3)
    assert len(full.features) == max(SLICES) == 30
    assert sum(t.numel() for t in full.state_dict().values()) == 12_944_960  # of 20,024,384 in all of `features`


def test_five_features_are_compared_at_their_scales(network):
    assert [tuple(f.shape[2:]) for f in network(pictures(1))] == [(64, 64), (32, 32), (16, 16), (8, 8), (4, 4)]
    assert len(network(pictures(1, 8))) == 4  # too small for the last


def test_equal_pictures_cost_nothing_and_others_something_with_a_gradient(network):
    image = pictures(1).requires_grad_()
    assert perceptual_loss(network, pictures(1), pictures(1)) == 0
    loss = perceptual_loss(network, image, pictures(2))
    loss.backward()
    assert loss > 0
    assert image.grad.abs().sum() > 0
    assert all(not p.requires_grad for p in network.parameters())


def test_weights_are_taken_strictly(network):
    tensors = {**network.state_dict(), "classifier.0.weight": torch.zeros(1)}
    network.fill(tensors)
    with pytest.raises(KeyError, match=r"features\.0\.weight"):
        network.fill({k: v for k, v in tensors.items() if k != "features.0.weight"})
    with pytest.raises(ValueError, match=r"features\.2\.bias is \(9,\), expected \(8,\)"):
        network.fill({**tensors, "features.2.bias": torch.zeros(9)})
