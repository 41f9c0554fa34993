"""Group norms of `rotation`: the published groups at the published widths, never tiny groups in narrower models."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gesturegen_cli import registry
from gesturegen_cli.config.load import load_config


def norms(preset: str) -> dict[str, nn.GroupNorm]:
    with torch.device("meta"):
        model = registry.build("deviation_models", "rotation", load_config(preset).deviation.params)
    return {name: part for name, part in model.generator.named_modules() if isinstance(part, nn.GroupNorm)}


def test_the_paper_has_the_published_groups():
    """Section "building blocks" of docs/method.md, part by part."""
    found = {name: part.num_groups for name, part in norms("paper").items()}
    expected = {
        "first.norm": 4,
        **{f"down_blocks.{i}.norm": 8 for i in range(3)},
        **{f"res_ms.{i}.norm{j}": 16 for i in range(4) for j in (1, 2)},
        **{f"Res_Feat.{part}.norm{j}": 8 for part in ("down_0", "up_0") for j in (1, 2)},
        **{f"Res_Feat.{part}.norm{j}": 16 for part in ("down_1", "mid_0", "up_1") for j in (1, 2)},
        "Res_Feat.out_o.0": 12,
        **{f"pose_up.{part}.norm{j}": 4 for part in ("down_0", "out_0") for j in (1, 2)},
        **{f"pose_up.{part}.norm{j}": 8 for part in ("down_1", "mid_0", "up_0", "up_out") for j in (1, 2)},
        **{f"pose_up.{part}.norm{j}": 16 for part in ("res_mid.0", "res_mid.1", "res_mid.2", "up_1") for j in (1, 2)},
        **{f"decoder.res_ms.{i}.norm{j}": 16 for i in range(8) for j in (1, 2)},
        **{f"decoder.up{i}.0.norm": 8 for i in range(3)},
        **{f"decoder.up{i}.1.norm{j}": groups for i, groups in enumerate((8, 8, 4)) for j in (1, 2)},
        **{f"decoder.re_up{i}.norm{j}": 4 for i in (0, 1) for j in (1, 2)},
    }
    assert found == expected


@pytest.mark.parametrize("preset", ["small", "rotation-tiny"])
def test_narrow_models_keep_sixteen_channels_to_a_group(preset):
    for name, part in norms(preset).items():
        assert part.num_groups == 1 or part.num_channels // part.num_groups >= 16, name
