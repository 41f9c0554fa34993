from gesturegen_cli.models.speaker_anatomy import (
    BONES,
    CODE_JOINTS,
    CODE_WIDTHS,
    CODES,
    JOINTS,
    LAYERS,
    MIRRORED_JOINTS,
    MIRRORED_LAYERS,
    averaging_weights,
)


def test_every_layer_but_the_background_has_a_bone():
    assert (len(JOINTS), len(LAYERS), len(BONES)) == (25, 13, 12)
    assert len(CODES) == len(CODE_JOINTS) == len(CODE_WIDTHS) == 3


def test_mirroring_swaps_sides_and_is_its_own_inverse():
    for names, mirrored in ((JOINTS, MIRRORED_JOINTS), (LAYERS, MIRRORED_LAYERS)):
        assert [names[mirrored[mirrored[i]]] for i in range(len(names))] == list(names)
    assert JOINTS[MIRRORED_JOINTS[JOINTS.index("left_wrist")]] == "right_wrist"
    assert JOINTS[MIRRORED_JOINTS[JOINTS.index("neck")]] == "neck"
    assert LAYERS[MIRRORED_LAYERS[LAYERS.index("right_palm")]] == "left_palm"


def test_averages_weigh_to_one():
    weights = averaging_weights(CODE_JOINTS)
    assert weights.sum(1).allclose(weights.new_ones(3))
    assert weights[0].count_nonzero() == 3
