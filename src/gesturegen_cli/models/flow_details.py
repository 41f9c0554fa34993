"""Details of the `flow` model: networks that look at face and hands closely and draw them at full resolution.

The reader says what face and hands do (the latent codes); the painter, where the driving frame has them, moves the
picture a little more than the bones do. It paints in the mouth only, where no move of the source's pixels gives teeth
or darkness: painted hands and eyes are the blurred mean of all that they might be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gesturegen_cli.models.flow_crops import SIDE, Crops, by_part, paste_crops, place_crops
from gesturegen_cli.models.speaker_anatomy import LAYERS, SHEETS, SIDES, joint_index
from gesturegen_cli.nn.conv import ConvBlock, ResidualBlock, ShuffleUp, join, zeroed
from gesturegen_cli.nn.warp import exact, gaussian, pixel_grid, warp

_HAND = ("wrist", "elbow", "thumb_tip", "index_knuckle", "index_tip", "middle_tip", "little_knuckle", "little_tip")
CROP_JOINTS: tuple[tuple[str, ...], ...] = (
    ("head_top", "chin", "left_eye", "right_eye", "neck", "chest", "left_shoulder", "right_shoulder"),
    *(tuple(f"{side}_{joint}" for joint in _HAND) for side in SIDES),
)
"""The joints that the painter is shown of each crop."""
CROP_LAYERS: tuple[tuple[tuple[str, ...], ...], ...] = (
    (("background",), ("head",), ("torso",), tuple(name for name in LAYERS if "_" in name), ()),
    *(
        (("background",), ("head", "torso"), (f"{side}_upper_arm", f"{side}_forearm"), (f"{side}_palm",),
         (f"{side}_fingers", f"{side}_thumb"))
        for side in SIDES
    ),
)  # fmt: skip
"""The layers that the painter is shown of each crop, in five groups."""
CROP_SHEETS: tuple[int, ...] = (SHEETS.index("body"), *(SHEETS.index(f"{side}_arm") for side in SIDES))
"""The sheet that each crop moves."""
FACE_LABELS = HAND_LABELS = 8
"""Numbers that labels give of a face (jaw, lips, smile, lids, brows, gaze) and of a hand (fingers, roll, wrist)."""
BLOB = 0.12
"""Sigma of a joint's Gaussian, in half sides of a crop."""
REACH_OF_FLOW = 0.4
"""How far the painter may move the picture, likewise."""
FADE = 0.15
"""Width of the border over which a crop fades out, likewise."""
MOUTH_AT, MOUTH_WIDTH = 0.6, 0.22
"""Where mouths lie on the way from the eyes to the chin, and the sigma of the Gaussian around it, as shares of it."""


class CodeReader(nn.Module):
    """Crops of frames -> latent codes. Both hands are read by the same network."""

    def __init__(self, channels: Sequence[int], code_dim: int) -> None:
        super().__init__()
        self.face, self.hand = (_crop_reader(channels, code_dim) for _ in range(2))

        self.tell_face, self.tell_hand = (nn.Linear(code_dim, count) for count in (FACE_LABELS, HAND_LABELS))

    def forward(self, frames: Tensor, joints: Tensor) -> Tensor:
        """Frames `b 3 size size` in [0, 1] and their joints `b 25 2` -> codes `b 3 code_dim` in [-1, 1], float32."""
        seen = place_crops(joints).sample(frames) * 2 - 1
        face, hands = self.face(seen[:, 0]), self.hand(seen[:, 1:].flatten(0, 1))
        return torch.tanh(torch.cat([face[:, None], hands.unflatten(0, (len(frames), -1))], 1).float())

    def articulation(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Codes `b 3 code_dim` -> what labels say of faces `b 8` and hands `b 2 8`; for training only."""
        return self.tell_face(codes[:, 0]), self.tell_hand(codes[:, 1:])


def _crop_reader(channels: Sequence[int], code_dim: int) -> nn.Sequential:
    a, b, c = channels
    # What a hand does is where its fingers are: the places of a 4 x 4 map are kept apart.
    layers = (ConvBlock(3, a, 5, 2), ConvBlock(a, b, 3, 2), ResidualBlock(b), ConvBlock(b, c, 3, 2), ResidualBlock(c))
    last = nn.Linear(c * (SIDE // 16) ** 2, code_dim)
    # Without a norm, the tanh that follows is saturated after a few hundred steps, and codes never change again; with
    # one over the batch, crops that show nothing take up all of the range.
    norm = nn.LayerNorm(code_dim, elementwise_affine=False)
    return nn.Sequential(*layers, nn.AvgPool2d(2), nn.Flatten(), last, norm)


@dataclass(frozen=True)
class SourceDetails:
    """What the painter needs of the source, computed once per picture."""

    crops: Tensor
    """Its own face and hands with its joints, `b 3 c n n`."""
    codes: Tensor
    """`b 3 code_dim`."""


@dataclass(frozen=True)
class Details:
    """What the painter changes in the crops of `b` frames. All float32."""

    crops: Crops
    grid: Tensor
    """Where the sheet of each part would be sampled without any of this, `b 3 n n 2`."""
    flow: Tensor
    """Move of the places at which the sheet of each part samples the picture, `b 3 2 n n`, in picture coordinates."""
    paint: Tensor
    """Colours times their shares, `b 3 3 n n`."""
    share: Tensor
    """How much of each place is painted, `b 3 1 n n` in [0, 1]; 0 in hands."""

    def drawn(self, pictures: Tensor) -> Tensor:
        """The crops of the output, as far as sources `b 3 size size`, flow and painter make them: `b 3 3 n n`."""
        places = self.grid + self.flow.permute(0, 1, 3, 4, 2)
        return by_part(warp(pictures, places.flatten(1, 2))) * (1 - self.share) + self.paint

    def pasted(self, size: int) -> Tensor:
        """Flows of body and arms (6), paint and share of the face as maps of pictures, `b 10 size size`."""
        painted = torch.cat([self.paint, self.share], 2)[:, :1]
        flows, painted = (paste_crops(maps, self.crops, size).flatten(1, 2) for maps in (self.flow, painted))
        return torch.cat([flows, painted], 1)


class FlowDetails(nn.Module):
    """The painter: a small U-net for the face and one for both hands, told the codes at its narrowest place."""

    pixels: Tensor
    layers: Tensor
    window: Tensor

    def __init__(self, channels: Sequence[int], code_dim: int) -> None:
        super().__init__()
        self.face, self.hand = (_CropPainter(channels, code_dim, outputs) for outputs in (6, 2))
        self.joints = [[joint_index(name) for name in names] for names in CROP_JOINTS]
        groups = torch.tensor([[[float(n in g) for n in LAYERS] for g in part] for part in CROP_LAYERS])
        self.register_buffer("layers", groups, persistent=False)
        self.register_buffer("pixels", pixel_grid(SIDE), persistent=False)
        border = 1 - self.pixels.abs().amax(-1)
        self.register_buffer("window", (border / FADE).clamp(0, 1), persistent=False)

    def prepare(self, pictures: Tensor, joints: Tensor, codes: Tensor) -> SourceDetails:
        """The sources' part: pictures `b 3 size size`, their joints `b 25 2` and codes `b 3 code_dim`."""
        with exact(pictures):
            crops = place_crops(joints)
            return SourceDetails(torch.cat([crops.sample(pictures), self._blobs(self._local(crops, joints))], 2), codes)

    def forward(self, pictures: Tensor, source: SourceDetails, joints: Tensor, codes: Tensor, maps: Tensor) -> Details:
        """Source pictures (1 or `b`) and driving joints `b 25 2`, codes `b 3 d` and maps -> what changes.

        `maps` `b 22 g g` are the sheets' flows (8), layer probabilities (13) and visibility (1).
        """
        count = len(joints)
        with exact(pictures):
            crops = place_crops(joints)
            seen = crops.sample(maps)
            grid = torch.stack([seen[:, i, 2 * sheet : 2 * sheet + 2] for i, sheet in enumerate(CROP_SHEETS)], 1)
            grid = grid.permute(0, 1, 3, 4, 2)
            moved = by_part(warp(pictures, grid.flatten(1, 2)))
            layers = torch.einsum("pgl,bplhw->bpghw", self.layers, seen[:, :, 2 * len(SHEETS) : -1])
            local = self._local(crops, joints)
            own = source.crops.expand(count, -1, -1, -1, -1)
            inputs = torch.cat([moved * 2 - 1, layers, seen[:, :, -1:], self._blobs(local), own], 2)
            told = torch.cat([codes, source.codes.expand(count, -1, -1)], -1)
        face = self.face(inputs[:, 0], told[:, 0]).float()
        hands = self.hand(inputs[:, 1:].flatten(0, 1), told[:, 1:].flatten(0, 1)).float().unflatten(0, (count, -1))
        with exact(pictures):
            flow = REACH_OF_FLOW * torch.tanh(torch.cat([face[:, None, :2], hands], 1)) * self.window
            flow = crops.turn(flow.permute(0, 1, 3, 4, 2)).permute(0, 1, 4, 2, 3)
            # At first next to nothing is painted.
            share = torch.sigmoid(face[:, 5:] - 3) * self._mouth(local[:, 0])
            paint = torch.cat([torch.sigmoid(4 * face[:, 2:5]) * share, share], 1)
            paint = torch.cat([paint[:, None], paint.new_zeros(count, hands.shape[1], *paint.shape[1:])], 1)
            return Details(
                crops, grid, flow * crops.halves[:, None, None, None, None], paint[:, :, :3], paint[:, :, 3:]
            )

    def _local(self, crops: Crops, joints: Tensor) -> Tensor:
        """The joints of each part, of joints `b 25 2`, in its crop: `b 3 8 2`."""
        return crops.to_local(torch.stack([joints[:, chosen] for chosen in self.joints], 1))

    def _mouth(self, local: Tensor) -> Tensor:
        """Gaussian around the mouth of faces whose joints are at `local` `b 8 2` of their crops: `b 1 n n`."""
        chin, left, right = (local[:, CROP_JOINTS[0].index(name)] for name in ("chin", "left_eye", "right_eye"))
        down = chin - (left + right) / 2
        away = self.pixels - (chin - (1 - MOUTH_AT) * down)[:, None, None]
        width = MOUTH_WIDTH * torch.linalg.vector_norm(down, dim=-1).clamp_min(BLOB)
        return gaussian(away.square().sum(-1) / width[:, None, None] ** 2)[:, None] * self.window

    def _blobs(self, local: Tensor) -> Tensor:
        """Gaussians of joints at `local` `b 3 8 2` of the crops, `b 3 8 n n`; those outside show at the border."""
        local = local.clamp(-1, 1)
        x, y = self.pixels[0, :, 0], self.pixels[:, 0, 1]
        along, down = gaussian(((x - local[..., :1]) / BLOB) ** 2), gaussian(((y - local[..., 1:]) / BLOB) ** 2)
        return down[..., :, None] * along[..., None, :]


class _CropPainter(nn.Module):
    """U-net on crops `b c 64 64` with two codes `b 2d` -> flow (2) and, of faces, colours (3), share (1)."""

    def __init__(self, channels: Sequence[int], code_dim: int, outputs: int) -> None:
        super().__init__()
        a, b, c = channels
        count = len(CROP_JOINTS[0])
        inputs = 3 + len(CROP_LAYERS[0]) + 1 + count + 3 + count
        self.enter = nn.Sequential(ConvBlock(inputs, a, 5, 2), ResidualBlock(a))
        self.down1 = nn.Sequential(ConvBlock(a, b, 3, 2), ResidualBlock(b))
        self.down2 = nn.Sequential(ConvBlock(b, c, 3, 2), ResidualBlock(c))
        self.tell = nn.Sequential(nn.Linear(2 * code_dim, 4 * code_dim), nn.ReLU(), nn.Linear(4 * code_dim, 2 * c + b))
        self.decide = ResidualBlock(c)
        self.up1 = ShuffleUp(c, b)
        self.mix1 = nn.Sequential(ConvBlock(2 * b, b, 1), ResidualBlock(b))
        self.up0 = ShuffleUp(b, a)
        self.mix0 = nn.Sequential(ConvBlock(2 * a, a), ResidualBlock(a))
        self.paint = zeroed(nn.Conv2d(a, 4 * outputs, 3, 1, 1))

    def forward(self, x: Tensor, codes: Tensor) -> Tensor:
        """Apply the network."""
        x = x.contiguous(memory_format=torch.channels_last)
        x0 = self.enter(x)
        x1 = self.down1(x0)
        x2 = self.down2(x1)
        scale, shift, later = self.tell(codes)[..., None, None].split([x2.shape[1], x2.shape[1], x1.shape[1]], 1)
        x2 = self.decide(x2 * (1 + scale) + shift)
        y1 = self.mix1(join([self.up1(x2) + later, x1]))
        return F.pixel_shuffle(self.paint(self.mix0(join([self.up0(y1), x0]))), 2)
