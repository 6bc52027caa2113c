import numpy as np
import pytest

from rsr_tf.pruning import thresholds

HAND_MADE = np.array([[0.5, -0.1, 0.0], [-0.3, 0.2, 0.4]])


@pytest.mark.parametrize(
    ("gamma", "expected"),
    [
        (0.0, [[1, 1, 0], [1, 1, 1]]),  # what is zero already goes: it must lose its noise
        (0.2, [[1, 0, 0], [1, 1, 1]]),  # |w| < gamma goes, |w| = gamma stays
        (0.35, [[1, 0, 0], [0, 0, 1]]),
        (9.0, [[1, 0, 0], [0, 0, 0]]),  # the largest survives any gamma
        (np.inf, [[1, 0, 0], [0, 0, 0]]),
    ],
)
def test_threshold_mask_by_hand(gamma, expected):
    np.testing.assert_array_equal(thresholds.threshold_mask(HAND_MADE, gamma), np.array(expected, bool))


def test_all_zero_kernel_keeps_one_weight():
    np.testing.assert_array_equal(thresholds.threshold_mask(np.zeros((2, 2)), 0.0), [[True, False], [False, False]])


def test_equal_weights_live_or_die_together():
    kernel = np.full((2, 3), -0.5)
    assert thresholds.threshold_mask(kernel, 0.5).all()
    assert thresholds.threshold_mask(kernel, 0.51).sum() == 1


@pytest.mark.parametrize(
    ("sparsity", "gamma"),
    [(0.0, 0.0), (1 / 6, 0.1), (0.5, 0.3), (5 / 6, 0.5), (1.0, np.inf)],
)
def test_gamma_is_the_smallest_surviving_magnitude(sparsity, gamma):
    assert thresholds.gamma_for_sparsity(np.abs(HAND_MADE), sparsity) == gamma


def test_ties_never_prune_more_than_was_wanted():
    magnitudes = np.array([0.1, 0.2, 0.2, 0.2, 0.3])
    gamma = thresholds.gamma_for_sparsity(magnitudes, 0.4)
    assert gamma == 0.2
    assert (magnitudes < gamma).sum() == 1
