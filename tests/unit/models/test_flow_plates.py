"""Plates: the background and the torso of a picture without what covers them, shown where an arm uncovers them."""

import pytest
import torch

from gesturegen_cli.models.flow_plates import BEHIND, fill_around, hidden_shares, layer_plates
from gesturegen_cli.models.speaker_anatomy import LAYERS

from .test_flow_deviation import build, pictures


@pytest.mark.parametrize("size", [64, 96, 192])
def test_filling_keeps_what_is_known_and_continues_a_gradient(size):
    ramp = torch.linspace(0, 1, size).expand(1, 2, size, size)
    known = torch.ones(1, 1, size, size)
    known[..., size // 4 : size // 2, size // 4 : size // 2] = 0
    filled = fill_around(ramp * known, known)
    torch.testing.assert_close(filled * known, ramp * known)
    assert (filled - ramp).abs().max() < 0.12


def test_filling_one_colour_gives_that_colour_and_filling_from_nothing_gives_black():
    known = (torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0)) < 0.02).float()
    filled = fill_around(torch.full((1, 3, 64, 64), 0.7) * known, known)
    torch.testing.assert_close(filled, torch.full((1, 3, 64, 64), 0.7))
    assert fill_around(torch.ones(1, 3, 64, 64), torch.zeros(1, 1, 64, 64)).abs().max() == 0


def test_a_plate_shows_its_layer_and_no_trace_of_what_covers_it():
    picture = torch.zeros(1, 3, 128, 128)
    picture[:, 0] = 1.0  # red background
    picture[:, :, 40:, 40:88] = torch.tensor([0.0, 1.0, 0.0])[:, None, None]  # green torso
    picture[:, :, 70:90, 30:98] = torch.tensor([0.0, 0.0, 1.0])[:, None, None]  # a blue arm across both
    logits = torch.full((1, 13, 32, 32), -8.0)
    blue, green = picture[:, 2, ::4, ::4] > 0, picture[:, 1, ::4, ::4] > 0
    for layer, place in (("left_forearm", blue), ("torso", green), ("background", ~blue & ~green)):
        logits[:, LAYERS.index(layer)] = torch.where(place, 8.0, -8.0)
    plates = layer_plates(picture, logits)
    assert plates.shape == (1, 2, 3, 128, 128)
    expected = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])[None, :, :, None, None]
    assert (plates - expected).abs().max() < 1e-4
    assert not plates.requires_grad


def test_only_hidden_places_of_their_layers_are_taken_from_plates():
    logits = torch.full((1, 13, 1, 4), -30.0)
    for column, layer in enumerate((BEHIND[0], BEHIND[1], LAYERS.index("head"), BEHIND[0])):
        logits[:, layer, :, column] = 30.0
    visibility = torch.tensor([-30.0, -30.0, -30.0, 30.0])[None, None, None]
    shares = hidden_shares(logits, visibility)
    torch.testing.assert_close(shares[0, :, 0], torch.tensor([[1.0, 0, 0, 0], [0, 1.0, 0, 0]]))


def test_what_is_hidden_takes_the_plates_colour_and_the_parts_still_give_the_image():
    model = build()
    frames = pictures(2)
    with torch.inference_mode():
        source = model.encode_source(frames[:1])
        field = model.motion(source.layers, model.encode(frames))
        field.visibility_logits.fill_(-30.0)
        field.layer_logits[:, BEHIND[0]] = 60.0
        grey = torch.full_like(source.plates, 0.25)
        hidden = model.decode(frames[:1], source.pyramid, grey, field)
        image = model.animate_parts(source, model.encode(frames))
    torch.testing.assert_close(hidden.image, torch.full_like(hidden.image, 0.25))
    mixed = image.mask * image.warped + (1 - image.mask) * image.synthetic
    torch.testing.assert_close(mixed, image.image, atol=1e-5, rtol=0)
    assert image.synthetic.min() >= 0
    assert image.synthetic.max() <= 1 + 1e-5
