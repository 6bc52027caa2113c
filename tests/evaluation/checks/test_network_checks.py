import numpy as np
import pytest

from rsr_tf.evaluation.checks import network_checks as checks


@pytest.mark.parametrize(
    ("spread", "expected", "passed", "words"),
    [
        (0.2, True, True, "The network is random"),
        (0.2, None, True, "The network is random"),
        (0.2, False, False, "It should not be"),
        (0.0, True, False, "its noise is off"),
        (0.0, None, True, "is not random"),
        (0.0, False, True, "is not random"),
        (1e-6, False, True, "is not random"),
    ],
)
def test_network_is_random_if_it_should_be(spread, expected, passed, words):
    check = checks.noise_is_on({1: 0.0, 250: spread}, expected=expected)
    assert check.passed == passed
    assert words in check.sentence
    assert check.value == spread


@pytest.mark.parametrize(
    ("spreads", "passed"),
    [
        ({1: 0.2, 257: 0.2}, True),
        ({1: 0.1, 257: 0.2}, True),
        ({1: 0.2, 257: 0.0}, False),
        ({1: 0.05, 257: 0.2}, False),
        ({1: 0.0, 257: 0.0}, True),
        ({1: 1e-9, 257: 1e-6}, True),
    ],
)
def test_noise_is_the_same_for_every_batch_size(spreads, passed):
    assert checks.noise_does_not_depend_on_batch_size(spreads).passed == passed


def test_batch_size_at_which_the_noise_stops_is_named():
    check = checks.noise_does_not_depend_on_batch_size({1: 0.2, 250: 0.3, 257: 0.0})
    assert "In calls of 257 images the noise is 0 of what it is in calls of 250" in check.sentence
    assert check.value == 0


@pytest.mark.parametrize(("spread", "passed"), [(0.0, True), (1e-6, True), (0.1, False)])
def test_stripped_network_is_not_random(spread, passed):
    assert checks.stripped_is_not_random({1: 0.0, 250: spread}).passed == passed


SOFTMAX = np.array([[0.7, 0.2, 0.1], [0.0, 1.0, 0.0]])


@pytest.mark.parametrize(
    ("outputs", "passed"),
    [
        (SOFTMAX, False),
        (SOFTMAX + 1e-6, False),
        (np.log(SOFTMAX + 1e-9), True),
        (np.array([[2.0, -0.5, -0.5], [0.2, 0.4, 0.4]]), True),  # sums to 1, but is not in [0,1]
        (np.array([[0.7, 0.2, 0.1], [0.3, 0.3, 0.3]]), True),  # in [0,1], but one does not sum to 1
        (10 * SOFTMAX, True),
    ],
)
def test_probabilities_are_distinguished_from_logits(outputs, passed):
    assert checks.returns_logits(outputs).passed == passed


@pytest.mark.parametrize(
    ("shares", "passed", "value"),
    [([0.0, 0.5, 0.99], True, 0.0), ([1.0, 0.0], False, 0.5), ([1.0] + 99 * [0.0], True, 0.01)],
)
def test_images_without_any_gradient_are_counted(shares, passed, value):
    check = checks.gradients_are_not_zero(shares)
    assert (check.passed, check.value) == (passed, value)


@pytest.mark.parametrize(
    ("check", "wanted"),
    [
        (checks.noise_is_on({1: 0.2}, expected=True), "at least"),
        (checks.noise_is_on({1: 0.0}, expected=False), "at most"),
        (checks.noise_is_on({1: 0.2}, expected=None), "any"),
        (checks.noise_does_not_depend_on_batch_size({1: 0.2, 9: 0.2}), "at least"),
        (checks.stripped_is_not_random({1: 0.0}), "at most"),
        (checks.returns_logits(np.array([[3.0, -1.0]])), "at least"),
        (checks.gradients_are_not_zero([0.0]), "at most"),
    ],
)
def test_check_names_the_side_of_the_threshold_it_wants(check, wanted):
    assert check.wanted == wanted
    assert check.passed
    assert {"at least": check.value >= check.threshold, "at most": check.value <= check.threshold, "any": True}[wanted]
