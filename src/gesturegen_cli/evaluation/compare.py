"""Pictures of a video against those of its reference, frame by frame."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import torch
from torch import Tensor

from gesturegen_cli.evaluation.image_quality import laplacian, psnr, psnr_of, ssim
from gesturegen_cli.evaluation.lpips import Lpips, lpips
from gesturegen_cli.evaluation.regions import box_mask, moving_mask

LEAST_MOVING = 0.001
"""Share of a clip's pixels that must move for `moving_l1` to be measured."""


@dataclass(frozen=True)
class Wanted:
    """Which metrics are to be measured, and the network for LPIPS where there is one."""

    keys: frozenset[str]
    lpips: Lpips | None = None


class Comparison:
    """Running sums over the frames of one clip; `add` batches in order, then `scores`."""

    def __init__(self, wanted: Wanted, first: Tensor) -> None:
        """`first` is the reference's first frame, `1 3 h w`."""
        self.wanted, self.first = wanted, first
        self._sums: dict[str, float] = defaultdict(float)
        self._counts: dict[str, float] = defaultdict(float)

    def add(self, made: Tensor, real: Tensor, boxes: Tensor) -> None:
        """Frames `b 3 h w` of both, and the reference's boxes `b 3 4` of left hand, right hand and mouth."""
        wanted, error = self.wanted.keys, (made - real).abs()
        if "psnr" in wanted:
            self._each("psnr", psnr(made, real))
        if "ssim" in wanted:
            self._each("ssim", ssim(made, real))
        if "l1" in wanted:
            self._each("l1", error.mean(dim=(1, 2, 3)))
        if self.wanted.lpips is not None:
            self._each("lpips", lpips(self.wanted.lpips, made, real))
        if "moving_l1" in wanted:
            self._masked("moving_l1", error, moving_mask(real, self.first))
        side, boxes = made.shape[-1], boxes.to(made.device)
        hands, mouth = box_mask(boxes[:, :2], side), box_mask(boxes[:, 2:], side)
        for key, mask in (("hand_l1", hands), ("mouth_l1", mouth)):
            if key in wanted:
                self._masked(key, error, mask)
        if "hand_psnr" in wanted:
            seen = hands.sum(dim=(1, 2, 3)) > 0
            squares = (error.square() * hands).sum(dim=(1, 2, 3)) / (3 * hands.sum(dim=(1, 2, 3)).clamp_min(1))
            self._each("hand_psnr", psnr_of(squares)[seen])
        if wanted & {"sharpness", "hand_sharpness"}:
            edges = {"made": laplacian(made).square(), "real": laplacian(real).square()}
            for name, values in edges.items():
                self._each(f"edges_{name}", values.mean(dim=(1, 2, 3)))
                self._masked(f"hand_edges_{name}", values, hands)

    def scores(self) -> dict[str, float]:
        """Metric -> score of the clip; what could not be measured is missing."""
        means = {key: total / self._counts[key] for key, total in self._sums.items() if self._counts[key] > 0}
        if self._counts["moving_l1"] < LEAST_MOVING * self._counts["pixels"]:
            means.pop("moving_l1", None)
        for key, part in (("sharpness", "edges"), ("hand_sharpness", "hand_edges")):
            if means.get(f"{part}_real", 0.0) > 0:
                means[key] = means[f"{part}_made"] / means[f"{part}_real"]
        return {key: value for key, value in means.items() if key in self.wanted.keys}

    def _each(self, key: str, values: Tensor) -> None:
        """One value per frame; the clip's score is their mean."""
        self._sums[key] += float(values.double().sum())
        self._counts[key] += len(values)

    def _masked(self, key: str, values: Tensor, mask: Tensor) -> None:
        """Values `b c h w` inside a mask `b 1 h w`; the clip's score is the mean over all pixels of all its frames."""
        self._sums[key] += float((values * mask).sum(dtype=torch.float64)) / values.shape[1]
        self._counts[key] += float(mask.sum())
        if key == "moving_l1":
            self._counts["pixels"] += mask.numel()
