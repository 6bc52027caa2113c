import pytest

from rsr_tf.evaluation.radii import check_radius, other_radii


@pytest.mark.parametrize(
    ("epsilon", "radii"),
    [
        (1 / 255, [0.25, 0.5, 2, 4, 64, 127.5]),
        (8 / 255, [2, 4, 16, 32, 64, 127.5]),
        (51 / 255, [12.75, 25.5, 64, 102, 127.5, 204]),
        (255 / 255, [63.75, 64, 127.5]),
    ],
)
def test_sweep_goes_from_epsilon_over_4_to_at_least_a_half_and_at_most_1(epsilon, radii):
    assert other_radii(epsilon) == pytest.approx([radius / 255 for radius in radii])


def test_sweep_in_l2_ends_where_every_image_can_be_grey():
    """Images of 16x16x1 are at most 16 apart; the distance to a grey image is at most half of that."""
    largest = check_radius(0.5, "l2", (16, 16, 1))
    assert largest == 16
    assert other_radii(0.5, largest) == pytest.approx([0.125, 0.25, 1, 2, 16 * 64 / 255, 8])
    assert other_radii(10, largest)[-1] == 16


@pytest.mark.parametrize(
    ("epsilon", "norm", "message"),
    [
        (1.5, "linf", r"`epsilon` must be in \(0, 1\]. Received: epsilon=1.5"),
        (0.0, "l2", "`epsilon` must be positive. Received: epsilon=0"),
        (8.1, "l2", r"`epsilon` must be at most 8, the largest l2 distance of two images of \(8, 8, 1\). Received"),
        (float("nan"), "l2", "`epsilon` must be positive. Received: epsilon=nan"),
        (float("inf"), "l2", "`epsilon` must be positive. Received: epsilon=inf"),
        (0.1, "l1", r"`norm` must be one of \('linf', 'l2'\). Received: norm='l1'"),
    ],
)
def test_radius_that_no_attack_can_have_is_refused(epsilon, norm, message):
    with pytest.raises(ValueError, match=message):
        check_radius(epsilon, norm, (8, 8, 1))
