import torch

from gesturegen_cli.models.flow_motion import FlowField, sheet_grids, sheet_maps, warp_sheets
from gesturegen_cli.models.speaker_anatomy import LAYERS, SHEET_LAYERS, SHEETS
from gesturegen_cli.nn.warp import pixel_grid


def field(logits, grids):
    empty = torch.zeros(len(logits), 1, *logits.shape[2:])
    return FlowField(grids, logits, empty, grids[:, 1], empty, empty)


def test_every_layer_lies_on_one_sheet():
    assert sorted(layer for layers in SHEET_LAYERS for layer in layers) == list(range(len(LAYERS)))
    of = {name: [LAYERS[layer] for layer in layers] for name, layers in zip(SHEETS, SHEET_LAYERS, strict=True)}
    assert of["background"] == ["background"]
    assert of["body"] == ["head", "torso"]
    assert set(of["left_arm"]) == {name for name in LAYERS if name.startswith("left")}


def test_shares_of_sheets_are_the_sums_of_their_layers():
    logits = 3 * torch.randn(2, len(LAYERS), 5, 5, generator=torch.Generator().manual_seed(0))
    shares = field(logits, torch.zeros(2, 4, 5, 5, 2)).sheet_logits.softmax(1)
    layers = logits.softmax(1)
    for sheet, own in enumerate(SHEET_LAYERS):
        torch.testing.assert_close(shares[:, sheet], layers[:, list(own)].sum(1))


def test_the_sheet_in_front_is_that_with_the_largest_share():
    logits = torch.full((1, len(LAYERS), 1, 2), -5.0)
    logits[:, LAYERS.index("torso"), :, 0], logits[:, LAYERS.index("right_thumb"), :, 1] = 2, 2
    grids = torch.arange(4.0)[None, :, None, None, None].expand(1, 4, 1, 2, 2)
    assert field(logits, grids).front_grid[0, 0, :, 0].tolist() == [1, 3]


def test_flows_of_sheets_become_maps_and_come_back():
    grids = torch.randn(2, 4, 6, 6, 2, generator=torch.Generator().manual_seed(0))
    maps = sheet_maps(grids)
    assert torch.equal(maps[:, 5], grids[:, 2, :, :, 1])
    assert torch.equal(sheet_grids(maps), grids)


def test_between_two_sheets_are_their_colours_only():
    size = 32
    picture = torch.zeros(1, 3, size, size)
    picture[:, 0, :, :8] = 1  # a red hand at the left ...
    picture[:, 1, :, 8:24] = 1  # ... and a green shirt between it and the blue wall
    picture[:, 2, :, 24:] = 1
    wall = pixel_grid(size)[None, None]
    hand = wall + torch.tensor([-1.5, 0.0])  # which moves in front of the wall
    grids = torch.cat([wall, wall, hand, wall], 1)
    shares = torch.zeros(1, 4, size, size)
    shares[:, 0, :, :25], shares[:, 2, :, 27:] = 1, 1
    shares[:, 0, :, 25:27], shares[:, 2, :, 25:27] = 0.5, 0.5  # a soft edge
    seen = warp_sheets(picture, grids, shares)[0, :, 16, 24:]
    assert torch.equal(seen[1], torch.zeros(8))
    torch.testing.assert_close(seen[0] + seen[2], torch.ones(8))
    assert torch.equal(seen[2, 1:], torch.tensor([0.5, 0.5, 0, 0, 0, 0, 0]))
