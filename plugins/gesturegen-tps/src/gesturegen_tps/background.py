"""Motion of the camera: an affine map of the background between two frames (Zhao & Zhang 2022)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gesturegen_tps.resnet import ResNet18


class BackgroundPredictor(nn.Module):
    """Two frames to the affine map that takes places of the driving frame to places of the source."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.bg_encoder = ResNet18(6, 6, width)
        nn.init.zeros_(self.bg_encoder.fc.weight)
        with torch.no_grad():  # starts at the identity
            self.bg_encoder.fc.bias.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]))

    def forward(self, source: Tensor, driving: Tensor) -> Tensor:
        """Frames `b 3 h w` in [0, 1] -> matrices `b 3 3` for columns (x, y, 1), float32; the last row is 0 0 1."""
        rows = self.bg_encoder(torch.cat([source, driving], 1)).float().view(-1, 2, 3)
        last = rows.new_tensor([0.0, 0.0, 1.0]).expand(len(rows), 1, 3)
        return torch.cat([rows, last], 1)


def map_points(matrices: Tensor, points: Tensor) -> Tensor:
    """Affine matrices `b 3 3` and points `m 2` -> points `b m 2`."""
    x, y = points[:, 0, None], points[:, 1, None]
    # Sums and not a matrix product, which may run in TF32.
    columns = matrices[:, None, :2].unbind(-1)
    return columns[0] * x + columns[1] * y + columns[2]
