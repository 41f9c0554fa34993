import pytest
import torch

from gesturegen_cli.models.flow_deviation import FlowDeviation
from gesturegen_cli.models.flow_losses import (
    SMALLEST_HAND,
    exchange_sides,
    flow_losses,
    own_hands,
    random_similarity,
    random_window,
)
from gesturegen_cli.models.speaker_anatomy import JOINTS, LAYERS

from .flow_maker import pairs

CONFIG = FlowDeviation.Config(
    size=64, code_dim=4, extractor_channels=(8, 8, 8, 8), head_channels=8, feature_channels=4,
    motion_channels=(8, 8, 8), code_channels=4, decoder_channels=(8, 8, 8),
)  # fmt: skip
WEIGHTS = {"equivariance": 1.0, "hand_weight": 3.0}


@pytest.fixture(scope="module")
def model() -> FlowDeviation:
    torch.manual_seed(0)
    return FlowDeviation(CONFIG).train()


@pytest.mark.parametrize("labelled", [False, True])
def test_every_parameter_learns(model, labelled):
    model.zero_grad()
    # The last layers start at zero, behind which nothing is learned in the first step: give them something to pass on.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    terms = flow_losses(model, pairs(labelled), WEIGHTS, torch.Generator().manual_seed(0))
    sum(term for term in terms.values() if term.requires_grad).backward()
    assert all(torch.isfinite(term) for term in terms.values())
    still = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert still == []


def test_label_terms_are_there_with_labels_only(model):
    generator = torch.Generator().manual_seed(0)
    labels = {"joints", "heatmap", "layers", "composed", "flow", "visibility", "blend", "texture"}
    labels |= {"joint_px", "flow_px"}
    with_labels = flow_losses(model, pairs(True), WEIGHTS, generator).keys()
    without = flow_losses(model, pairs(False), WEIGHTS, generator).keys()
    assert with_labels - without == labels
    assert without - with_labels == {"equivariance"}


def test_terms_stay_finite_and_close_in_bfloat16(model):
    exact = flow_losses(model, pairs(True), WEIGHTS, torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        rough = flow_losses(model, pairs(True), WEIGHTS, torch.Generator().manual_seed(0))
    for name, value in exact.items():
        assert rough[name].dtype == torch.float32
        assert rough[name].item() == pytest.approx(value.item(), rel=0.2, abs=0.1), name


def test_left_and_right_are_exchanged_in_mirrored_pairs_only():
    batch = pairs(True)
    exchanged = exchange_sides(batch)
    left, right = JOINTS.index("left_wrist"), JOINTS.index("right_wrist")
    joints = batch["driving_joints"]
    assert torch.equal(exchanged["driving_joints"][0], joints[0])
    assert torch.equal(exchanged["driving_joints"][1, left], joints[1, right])
    palm, other = LAYERS.index("left_palm"), LAYERS.index("right_palm")
    assert torch.equal(exchanged["driving_parts"][1] == palm, batch["driving_parts"][1] == other)
    assert torch.equal(exchanged["driving_parts"][0], batch["driving_parts"][0])


def test_a_random_similarity_moves_points_as_it_says():
    picture = torch.zeros(4, 3, 64, 64)
    picture[:, :, 20, 40] = 1
    point = torch.tensor([(2 * 40 + 1) / 64 - 1, (2 * 20 + 1) / 64 - 1])
    moved, scale, shift = random_similarity(picture, torch.Generator().manual_seed(0))
    expected = (point * scale + shift)[:, 0]
    weights = moved[:, 0] / moved[:, 0].sum((1, 2), keepdim=True)
    centres = (torch.arange(64) * 2 + 1) / 64 - 1
    found = torch.stack([(weights.sum(1) * centres).sum(1), (weights.sum(2) * centres).sum(1)], 1)
    assert (found - expected).abs().max() < 0.5 * 2 / 64


def test_hands_are_the_sources_where_it_shows_them():
    parts = torch.zeros(2, 16, 16, dtype=torch.long)
    source, driving = parts.clone(), parts.clone()
    source.view(2, -1)[0, :SMALLEST_HAND] = LAYERS.index("left_palm")
    source.view(2, -1)[1, : SMALLEST_HAND - 1] = LAYERS.index("left_palm")
    driving[:, 8, 8], driving[:, 9, 9] = LAYERS.index("left_thumb"), LAYERS.index("right_thumb")
    shown = own_hands({"source_parts": source, "driving_parts": driving})
    assert shown[0, 0, 8, 8] == 1
    assert shown.sum() == 1


def test_windows_lie_inside_the_picture():
    generator = torch.Generator().manual_seed(0)
    windows = [random_window(256, generator) for _ in range(300)]
    assert {window.cells for window in windows} == {16}
    assert {window.top for window in windows} == set(range(17))
    assert min(w.left for w in windows) >= 0
    assert max(w.left for w in windows) <= 16
