import numpy as np
import pytest

from gesturegen_cli.media.framing import CropBox
from gesturegen_cli.media.person_crop import better_crop

FIRST = CropBox(160, 0, 320)
"""The middle square of a picture of 640 x 320."""


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([(190, 20), (460, 310)], None),
        ([(290, 150), (350, 250)], CropBox(235, 115, 170)),
        ([(390, 40), (560, 200)], CropBox(330, 0, 289)),
        ([(320, 160), (322, 161)], None),
        ([(320, 160), (320, np.nan)], None),
    ],
    ids=["fills the crop", "small", "off the middle", "nobody found", "not a number"],
)
def test_only_small_or_off_centre_people_are_cropped_again(points, expected):
    found = better_crop(lambda box: np.array(points, float), FIRST, 640, 320)
    assert found == expected or (
        abs(found.left - expected.left) <= 1
        and abs(found.top - expected.top) <= 1
        and abs(found.side - expected.side) <= 1
    )


def test_person_seen_elsewhere_in_the_new_crop_is_not_believed():
    """An extractor that answers with the same place of whatever crop it gets."""
    place = np.array([(0.1, 0.1), (0.4, 0.3)])
    assert better_crop(lambda box: (box.left, box.top) + place * box.side, FIRST, 640, 320) is None
