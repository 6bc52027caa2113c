import numpy as np
import pytest

from rsr_tf.evaluation.checks import network_checks as checks
from rsr_tf.evaluation.probes import Spread


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


def path(clean, signs, end):
    return {"clean images": clean, "corners": signs, "the end": end}


@pytest.mark.parametrize(
    ("answers", "passed", "value"),
    [
        ((0.2, 0.2, 0.2), True, 1.0),
        ((0.1, 0.2, 0.05), True, 0.25),
        ((0.0, 0.2, 0.2), False, 0.0),
        ((0.01, 0.01, 0.5), False, 0.02),
        ((0.0, 0.0, 1e-6), True, 1.0),  # rounding
    ],
)
def test_noise_on_clean_images_is_like_that_on_the_path(answers, passed, value):
    check = checks.noise_alike_along_path(path(*answers))
    assert (check.passed, check.value) == (passed, pytest.approx(value))


def test_point_where_the_noise_stops_is_named():
    sentence = checks.noise_alike_along_path(path(0.0, 0.2, 0.1)).sentence
    assert sentence.startswith("At clean images the noise is 0 of what it is at corners")


@pytest.mark.parametrize(
    ("answers", "gradients", "passed"),
    [
        (0.0, 0.0, True),
        (0.0, 9e-4, True),
        (0.0, 0.01, False),
        (1e-7, 2e-4, True),  # rounding that depends on the order of a sum
        (0.05, 0.4, True),
        (0.003, 0.4, False),
        (0.0003, 0.05, True),
        (0.3, 1.0, True),
    ],
)
def test_gradients_are_no_more_random_than_answers_explain(answers, gradients, passed):
    spreads = {"clean images": Spread(0.0, 0.0, 0.0), "the end": Spread(answers, answers, gradients)}
    assert checks.gradients_repeat_where_answers_do(spreads).passed == passed


def test_point_of_random_gradients_is_named_with_both_numbers():
    spreads = {"clean images": Spread(0.0, 0.0, 0.0), "the end": Spread(0.0, 0.0, 0.9)}
    sentence = checks.gradients_repeat_where_answers_do(spreads).sentence
    assert "At the end the gradients differ between calls by 0.9 of their size, the answers by 0:" in sentence


@pytest.mark.parametrize(
    ("within", "between", "passed"),
    [(0.2, 0.2, True), (0.1, 0.2, True), (0.0, 0.2, False), (0.05, 0.2, False), (0.0, 0.0, True), (0.0, 1e-6, True)],
)
def test_averaged_draws_differ_as_separate_calls_do(within, between, passed):
    assert checks.averaged_draws_are_new(within, between).passed == passed


@pytest.mark.parametrize(
    ("seen", "hidden", "passed", "words"),
    [
        (10, 0, True, "100.0% of the queries"),
        (3, 0, True, "30.0% of the queries"),
        (2, 0, False, "are blind"),
        (2, 5, False, "are blind"),
        (2, 6, True, "Noise hides the others"),
        (0, 0, False, "0.0% of the queries"),
    ],
)
def test_attacks_by_scores_see_three_queries_of_ten_unless_noise_hides_them(seen, hidden, passed, words):
    check = checks.scores_change_with_the_image(np.arange(10) < seen, np.arange(10) < hidden)
    assert (check.passed, check.value) == (passed, seen / 10)
    assert words in check.sentence
