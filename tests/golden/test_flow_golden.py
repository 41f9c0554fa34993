"""Numbers of a fixed tiny flow model: they change only when the architecture or its geometry does."""

import torch

from gesturegen_cli.models.flow_deviation import FlowDeviation
from gesturegen_cli.nn.warp import pixel_grid

TINY = FlowDeviation.Config(
    size=64,
    code_dim=4,
    extractor_channels=(8, 8, 12, 12),
    head_channels=8,
    feature_channels=4,
    motion_channels=(8, 8, 12),
    code_channels=4,
    decoder_channels=(8, 8, 12),
)


EXPECTED = {
    "motion": [0.37366, 0.26902, 0.4644],
    "grids": [0.22033, 0.5736, 0.2122],
    "shares": [0.03312, 0.22698, 0.03293],
    "image": [0.58338, 0.25712, 0.7528],
    "mask": [0.96928, 0.0109, 0.97694],
}


def wavy_model():
    """Weights by formula, so that no random number generator stands between two versions of torch."""
    model = FlowDeviation(TINY).eval()
    with torch.no_grad():
        for place, parameter in enumerate(model.parameters()):
            wave = torch.sin(torch.arange(parameter.numel(), dtype=torch.float64) * 1.7 + place).reshape(
                parameter.shape
            )
            fan = max(1, parameter[0].numel())
            scaled = wave * (2 / fan) ** 0.5 if parameter.ndim > 1 else 1 + 0.1 * wave
            parameter.copy_(scaled)
    return model


def test_motion_flow_and_image_of_a_fixed_model():
    model = wavy_model()
    grid = pixel_grid(64).permute(2, 0, 1)
    waves = [torch.sin(3 * grid[0]), torch.cos(2 * grid[1]), torch.sin(4 * grid.sum(0))]
    frames = torch.stack([0.5 + 0.4 * torch.stack(waves), 0.5 + 0.4 * torch.stack(waves[::-1])])
    with torch.inference_mode():
        motion = model.encode(frames)
        image = model.animate_parts(model.encode_source(frames[:1]), motion)
    found = {
        "motion": [motion.mean().item(), motion.std().item(), motion[1, 7].item()],
        "grids": [image.grids.mean().item(), image.grids.std().item(), image.grids[1, 2, 20, 30, 0].item()],
        "shares": [image.shares[:, 1].mean().item(), image.shares.std().item(), image.shares[1, 1, 20, 30].item()],
        "image": [image.image.mean().item(), image.image.std().item(), image.image[1, 0, 20, 30].item()],
        "mask": [image.mask.mean().item(), image.mask.std().item(), image.mask[1, 0, 20, 30].item()],
    }
    for name, values in EXPECTED.items():
        torch.testing.assert_close(torch.tensor(found[name]), torch.tensor(values), atol=2e-4, rtol=1e-3)
