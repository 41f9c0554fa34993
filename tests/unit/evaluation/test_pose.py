"""Poses do not depend on where in the picture a person is or how large; boxes and masks follow the joints."""

from __future__ import annotations

import pytest
import torch

from gesturegen_cli.bundle import open_bundle
from gesturegen_cli.errors import ConfigError
from gesturegen_cli.evaluation.pose import (
    Estimator,
    as_pose,
    hand_squares,
    head_squares,
    load_estimator,
    part_boxes,
    person_mask,
    shoulder_width,
)

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def estimator(tiny_bundle):
    return load_estimator(open_bundle(tiny_bundle), CPU)


def person(names, frames=6):
    """A person with arms down, shoulders 0.5 apart; joints `t k 2`."""
    places = {
        "head_top": (0.0, -0.8), "chin": (0.0, -0.4), "left_eye": (0.06, -0.6), "right_eye": (-0.06, -0.6),
        "neck": (0.0, -0.3), "chest": (0.0, -0.1), "waist": (0.0, 0.7),
    }  # fmt: skip
    for side, sign in (("left", 1), ("right", -1)):
        places[f"{side}_shoulder"] = (sign * 0.25, -0.25)
        places[f"{side}_elbow"] = (sign * 0.32, 0.15)
        places[f"{side}_wrist"] = (sign * 0.3, 0.45)
        hand = {"thumb_tip": (-0.03, 0.06), "index_knuckle": (0.0, 0.07), "index_tip": (0.0, 0.13)}
        hand |= {"middle_tip": (0.02, 0.14), "little_knuckle": (0.05, 0.06), "little_tip": (0.06, 0.1)}
        for name, (x, y) in hand.items():
            places[f"{side}_{name}"] = (sign * (0.3 + x), 0.45 + y)
    return torch.tensor([places[name] for name in names]).expand(frames, -1, -1).clone()


def test_a_pose_forgets_place_and_size(estimator):
    joints = person(estimator.joints)
    joints[:, estimator.joints.index("left_wrist"), 0] += torch.linspace(0, 0.3, len(joints))
    pose = as_pose(joints, estimator.joints)
    assert torch.allclose(pose, as_pose(0.4 * joints + torch.tensor([0.3, -0.2]), estimator.joints), atol=1e-5)
    assert torch.allclose(pose[:, estimator.joints.index("neck")], torch.zeros(2), atol=1e-6)
    shoulders = pose[:, [estimator.joints.index(f"{side}_shoulder") for side in ("left", "right")]]
    assert torch.allclose((shoulders[:, 0] - shoulders[:, 1]).norm(dim=-1), torch.ones(len(joints)), atol=1e-5)


def test_smoothing_keeps_still_poses_and_takes_jitter_out(estimator):
    still = person(estimator.joints, 40)
    assert torch.allclose(as_pose(still, estimator.joints)[7], as_pose(still, estimator.joints)[0], atol=1e-5)
    noise = 0.01 * torch.randn(still.shape, generator=torch.Generator().manual_seed(0))
    rough = as_pose(still + noise, estimator.joints).diff(dim=0).norm(dim=-1).mean()
    assert rough < 0.5 * (noise.diff(dim=0).norm(dim=-1).mean() / shoulder_width(still, estimator.joints))


def test_boxes_hold_the_joints_of_hands_and_lie_on_the_mouth(estimator):
    joints = person(estimator.joints)
    boxes = part_boxes(joints, estimator.joints)
    for index, side in enumerate(("left", "right")):
        for name in ("wrist", "middle_tip", "little_tip"):
            x, y = joints[0, estimator.joints.index(f"{side}_{name}")]
            x0, y0, x1, y1 = boxes[0, index]
            assert x0 < x < x1
            assert y0 < y < y1
    x0, y0, x1, y1 = boxes[0, 2]
    assert x0 < 0 < x1
    assert -0.6 < y0 < y1 < -0.35  # between eyes and chin
    assert hand_squares(joints, estimator.joints).shape == (6, 2, 3)
    assert head_squares(joints, estimator.joints)[0].tolist() == pytest.approx([0.0, -0.6, 0.24])


def test_the_person_is_inside_the_mask_and_the_corners_are_background(estimator):
    joints = person(estimator.joints)
    mask = person_mask(joints, estimator.joints, 32)
    assert mask.shape == (6, 32, 32)
    for name in ("head_top", "neck", "chest", "left_wrist", "right_elbow"):
        x, y = ((joints[0, estimator.joints.index(name)] + 1) * 16).long().clamp(0, 31).tolist()
        assert mask[0, y, x], name
    assert not mask[0, 0, 0]
    assert not mask[0, 0, 31]
    assert 0.1 < mask.float().mean() < 0.75


def test_joints_come_for_pictures_of_any_size(estimator):
    frames = torch.rand(2, 3, 100, 100, generator=torch.Generator().manual_seed(1))
    found = estimator.locate(frames)
    assert found.shape == (2, len(estimator.joints), 2)
    assert found.abs().max() <= 1.5


class Unsure:
    """A model of 64 x 64 pictures, sure of the left hand as `sure` says, and of the right one not at all."""

    size = 64

    def __init__(self, names, sure):
        self.sure = torch.zeros(len(sure), len(names))
        self.sure[:, [name.startswith("left_") for name in names]] = torch.tensor(sure)[:, None]

    def joint_certainty(self, frames):
        return self.sure[: len(frames)]


def test_hands_are_seen_where_the_model_is_sure_of_them_over_a_stretch(estimator):
    frames = torch.zeros(16, 3, 100, 100)

    def seen(*sure):
        return Estimator(Unsure(estimator.joints, sure), "", "", estimator.joints).sees_hands(frames).tolist()

    assert seen(0.9, 0.9, 0.3, 0.9) == [True, False]  # one blurred frame of those asked
    assert seen(0.3, 0.9, 0.3, 0.3) == [False, False]  # one lucky frame
    assert estimator.model.joint_certainty(torch.zeros(2, 3, 64, 64)).shape == (2, len(estimator.joints))
    silent = Estimator(object(), "", "", estimator.joints)  # a model that does not tell
    assert silent.sees_hands(frames).tolist() == [True, True]


def test_a_bundle_that_finds_no_joints_is_no_estimator(tiny_bundle, monkeypatch):
    from gesturegen_cli.models.flow_deviation import FlowDeviation

    monkeypatch.delattr(FlowDeviation, "joint_names")
    with pytest.raises(ConfigError, match="finds no joints"):
        load_estimator(open_bundle(tiny_bundle), CPU)
