"""What the report says of each metric fits what is measured."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from gesturegen_cli.evaluation.metrics import METRICS
from gesturegen_cli.evaluation.notes import describe_metrics
from gesturegen_cli.evaluation.stability import StabilityTrack


@pytest.fixture
def notes():
    tools = SimpleNamespace(estimator=SimpleNamespace(name="base"))
    return describe_metrics(tools, SimpleNamespace(window=64, stride=16, space=None))


def test_every_metric_is_described(notes):
    assert set(notes) == set(METRICS)
    assert all(notes[key].startswith(metric.about) for key, metric in METRICS.items())


@pytest.mark.parametrize("size", [64, 128, 256, 1024])
def test_flicker_is_measured_at_the_size_that_is_told(notes, size, monkeypatch):
    sizes = []

    def note(frames, background):
        sizes.append(tuple(frames.shape[-2:]))
        return torch.zeros(len(frames) - 1)

    monkeypatch.setattr("gesturegen_cli.evaluation.stability.background_change", note)
    names = ("head_top", "chin", "neck", "waist")
    names += tuple(
        f"{side}_{joint}" for side in ("left", "right") for joint in ("eye", "shoulder", "elbow", "wrist", "middle_tip")
    )
    StabilityTrack(names).add(torch.zeros(2, 3, size, size), torch.rand(2, len(names), 2))
    assert "averaged to 128 x 128 pixels where it is larger" in notes["flicker"]
    assert sizes == [(min(size, 128),) * 2]
