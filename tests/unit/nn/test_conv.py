import torch
from torch import nn

from gesturegen_cli.nn.conv import ConvBlock, ResidualBlock, ShuffleUp, double_nearest, fold_batch_norms, join, zeroed


def noise(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_folding_keeps_what_a_trained_network_computes():
    torch.manual_seed(0)
    network = nn.Sequential(ConvBlock(3, 8, 5, 2), ResidualBlock(8), ShuffleUp(8, 4), ConvBlock(4, 2, 1, relu=False))
    for _ in range(5):
        network(3 * noise(4, 3, 16, 16) + 1)
    network.eval()
    before = network(noise(2, 3, 16, 16))
    fold_batch_norms(network)
    torch.testing.assert_close(network(noise(2, 3, 16, 16)), before, atol=1e-5, rtol=1e-5)
    assert before.shape == (2, 2, 16, 16)
    assert not any(isinstance(part, nn.BatchNorm2d) for part in network.modules())


def test_join_is_a_concatenation_in_channels_last_memory():
    parts = [noise(2, 3, 4, 4), noise(2, 5, 4, 4).contiguous(memory_format=torch.channels_last), noise(2, 1, 4, 4)]
    joined = join(parts)
    assert joined.equal(torch.cat(parts, 1))
    assert joined.is_contiguous(memory_format=torch.channels_last)


def test_a_zeroed_layer_gives_zero():
    assert not zeroed(nn.Conv2d(2, 3, 3))(noise(1, 2, 5, 5)).any()


def test_double_nearest_repeats_pixels():
    doubled = double_nearest(torch.tensor([[[[1.0, 2.0]]]]))
    assert doubled.tolist() == [[[[1, 1, 2, 2], [1, 1, 2, 2]]]]
