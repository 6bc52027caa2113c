import pytest

from rsr_tf.radii import distance_text, radius_text


@pytest.mark.parametrize(
    ("norm", "distance", "expected", "radius"),
    [("linf", 8 / 255, "8/255", "8/255"), ("linf", 0.5, "128/255", "128/255"), ("l2", 0.5, "0.5", "0.5 in l2")],
)
def test_distances_in_linf_are_grey_levels_and_others_numbers_with_their_norm(norm, distance, expected, radius):
    assert distance_text(distance, norm) == expected
    assert radius_text(distance, norm) == radius
