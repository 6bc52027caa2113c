import numpy as np
import pytest

from rsr_tf.evaluation.distances import ROUNDING, distances, rounding


@pytest.mark.parametrize(("norm", "expected"), [("linf", [0.5, 0.0]), ("l2", [np.sqrt(0.25 + 0.09), 0.0])])
def test_distance_of_each_image_is_that_of_its_norm(norm, expected):
    x = np.full((2, 2, 2, 1), 0.5, "float32")
    x_adv = x.copy()
    x_adv[0, 0, 0, 0], x_adv[0, 1, 1, 0] = 1.0, 0.2
    np.testing.assert_allclose(distances(x_adv, x, norm), expected, atol=1e-7)


def test_many_small_differences_are_summed_in_float64():
    x = np.zeros((1, 1000, 1000, 3), "float32")
    found = distances(x + np.float32(1e-3), x, "l2")
    np.testing.assert_allclose(found, np.sqrt(3e6) * np.float64(np.float32(1e-3)), rtol=1e-12)


def test_allowance_grows_with_radii_above_1():
    assert rounding(8 / 255) == ROUNDING
    assert rounding(5.0) == 5 * ROUNDING
