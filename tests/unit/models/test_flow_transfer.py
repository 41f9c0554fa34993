import pytest
import torch

from gesturegen_cli.models.flow_extractor import pack_motion, unpack_motion
from gesturegen_cli.models.flow_transfer import neutralize_motion, retarget_motion
from gesturegen_cli.models.speaker_anatomy import SMALLEST_BODY, arm_joints, body_scale, joint_index

ARMS = {side: arm_joints(side) for side in ("left", "right")}
SHOULDERS = {side: joint_index(f"{side}_shoulder") for side in ("left", "right")}


def person(seed, frames=6):
    draw = torch.Generator().manual_seed(seed)
    joints = 0.5 * torch.randn(1, 25, 2, generator=draw) + 0.1 * torch.randn(frames, 25, 2, generator=draw)
    return pack_motion(joints, torch.tanh(torch.randn(frames, 3, 4, generator=draw)))


def study_transfer(own, start, frames):
    """The anchored transfer in one step, as the study of this model defines it."""
    kp, code = unpack_motion(frames)
    start_kp, start_code = unpack_motion(start[None])
    own_kp, own_code = unpack_motion(own[None])
    ratio = (body_scale(own_kp) / body_scale(start_kp))[:, None, None]
    result = own_kp + ratio * (kp - start_kp)
    for side, arm in ARMS.items():
        shoulder = [SHOULDERS[side]]
        result[:, arm] = result[:, shoulder] + ratio * (kp[:, arm] - kp[:, shoulder])
    face = own_code[:, :1] + code[:, :1] - start_code[:, :1]
    return pack_motion(result, torch.cat([face, code[:, 1:]], 1))


def test_there_and_back_is_the_identity():
    motion = person(0)
    back = retarget_motion(neutralize_motion(motion, motion[2]), motion[2])
    torch.testing.assert_close(back, motion, atol=1e-5, rtol=0)


def test_two_halves_equal_the_anchored_transfer_between_people():
    driver, own = person(0), person(1)[0]
    halves = retarget_motion(neutralize_motion(driver, driver[0]), own)
    torch.testing.assert_close(halves, study_transfer(own, driver[0], driver), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("scale", "shift"), [(1.7, (0.2, -0.3)), (0.6, (0.0, 0.5))])
def test_size_and_place_of_the_driver_do_not_matter(scale, shift):
    motion = person(0)
    joints, codes = unpack_motion(motion)
    moved = pack_motion(scale * joints + torch.tensor(shift), codes)
    torch.testing.assert_close(
        neutralize_motion(moved, moved[0]), neutralize_motion(motion, motion[0]), atol=1e-5, rtol=1e-5
    )


def test_the_body_scale_is_the_mean_of_its_two_lengths():
    joints = torch.zeros(1, 25, 2)
    joints[0, SHOULDERS["left"], 0], joints[0, SHOULDERS["right"], 0] = 0.4, -0.4
    joints[0, joint_index("head_top"), 1] = -0.4
    assert body_scale(joints).item() == pytest.approx((0.8 + 1.5 * 0.4) / 2)


def test_a_person_whose_joints_were_not_found_gives_finite_motion():
    motion = torch.zeros(3, 62)
    assert body_scale(unpack_motion(motion)[0]).eq(SMALLEST_BODY).all()
    assert neutralize_motion(person(0), motion[0]).isfinite().all()


def test_inputs_are_left_as_they_were():
    motion = person(0)
    kept = motion.clone()
    retarget_motion(neutralize_motion(motion, motion[0]), motion[0])
    assert motion.equal(kept)
