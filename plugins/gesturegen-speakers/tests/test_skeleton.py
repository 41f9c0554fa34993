from gesturegen_speakers.skeleton import JOINTS, PARTS, part_of_bone


def test_joint_order_is_the_published_one() -> None:
    body = "head^ jaw^ eye.L eye.R neck01 spine01 spine05 upperarm01.L upperarm01.R lowerarm01.L lowerarm01.R"
    left = "finger1-3^.L finger2-1.L finger2-3^.L finger3-3^.L finger5-1.L finger5-3^.L"
    assert " ".join(JOINTS) == f"{body} wrist.L wrist.R {left} {left.replace('.L', '.R')}"


def test_part_order_is_the_published_one() -> None:
    arms = "uarm.L uarm.R farm.L farm.R palm.L palm.R fing.L fing.R thumb.L thumb.R"
    assert " ".join(PARTS) == f"bg head torso {arms}"


def test_bones_belong_to_the_part_they_move() -> None:
    expected = {
        "upperarm02.L": "uarm.L",
        "lowerarm01.R": "farm.R",
        "wrist.L": "palm.L",
        "metacarpal3.R": "palm.R",
        "finger1-2.L": "thumb.L",
        "finger4-3.R": "fing.R",
        "clavicle.L": "torso",
        "shoulder01.R": "torso",
        "neck02": "torso",
        "neck03": "head",
        "head": "head",
        "eye.L": "head",
        "upperleg01.L": "torso",
    }
    assert {bone: PARTS[part_of_bone(bone)] for bone in expected} == expected
