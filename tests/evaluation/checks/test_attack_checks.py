import math
from types import SimpleNamespace

import numpy as np
import pytest
from rsr_tf.evaluation.checks.comparisons import broken_by_scores

from rsr_tf.evaluation.checks import attack_checks as checks


def flips(n, lost, gained=0):
    """Shares of two attacks on n images: the second leaves `lost` images fewer right, and `gained` others more."""
    first, second = np.ones(n), np.ones(n)
    second[:lost] = 0
    first[lost : lost + gained] = 0
    return first, second


def test_paired_difference_is_the_mean_and_three_deviations_of_random_signs():
    difference, limit = checks.paired_difference([1, 1, 0, 0.5], [0, 0.5, 0, 1])
    assert difference == pytest.approx(0.25)
    assert limit == pytest.approx(3 * math.sqrt(1 + 0.25 + 0 + 0.25) / 4)


def test_paired_difference_seldom_exceeds_its_limit_by_chance():
    """One-sided at three deviations: 1 in 740 for a normal sum, so 27 of 20,000 are expected; 60 is 6 deviations."""
    random = np.random.default_rng(0)
    first, second = random.binomial(20, 0.7, (2, 20_000, 100)) / 20
    exceeded = sum(np.greater(*checks.paired_difference(a, b)) for a, b in zip(first, second, strict=True))
    assert exceeded < 60


def not_stronger(weak, strong):
    return checks.not_stronger("FGSM", ("FGSM", weak), ("PGD", strong), suggests="gradients mislead")


@pytest.mark.parametrize(("lost", "gained"), [(0, 0), (0, 50), (9, 0), (20, 12), (12, 20)])
def test_weaker_attack_may_win_by_chance(lost, gained):
    strong, weak = flips(100, lost, gained)
    assert not_stronger(weak, strong).passed


@pytest.mark.parametrize(("lost", "gained"), [(10, 0), (60, 10), (100, 0)])
def test_weaker_attack_that_wins_beyond_chance_fails(lost, gained):
    strong, weak = flips(100, lost, gained)
    check = not_stronger(weak, strong)
    assert not check.passed
    assert check.value == pytest.approx((lost - gained) / 100)
    assert check.threshold == pytest.approx(3 * math.sqrt(lost + gained) / 100)


def test_one_image_alone_proves_nothing():
    assert not_stronger([0.0], [1.0]).passed


def test_sentence_of_a_comparison_has_both_numbers_and_what_a_failure_suggests():
    strong, weak = flips(100, 40)
    assert not_stronger(strong, weak).sentence == "FGSM leaves 100.0% right, PGD 60.0% (n = 100)."
    assert not_stronger(weak, strong).sentence == (
        "FGSM leaves 60.0% right, PGD 100.0% (n = 100), more than by chance: gradients mislead."
    )


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
def test_probabilities_are_told_from_logits(outputs, passed):
    assert checks.returns_logits(outputs).passed == passed


@pytest.mark.parametrize(
    ("shares", "passed", "value"),
    [([0.0, 0.5, 0.99], True, 0.0), ([1.0, 0.0], False, 0.5), ([1.0] + 99 * [0.0], True, 0.01)],
)
def test_images_without_any_gradient_are_counted(shares, passed, value):
    check = checks.gradients_are_not_zero(shares)
    assert (check.passed, check.value) == (passed, value)


def test_random_noise_that_does_as_much_as_a_useless_attack_may_be_chance():
    clean, noisy = flips(100, 3)
    check = checks.random_noise_does_little(clean, noisy, flips(100, 4)[1])
    assert (check.passed, check.value) == (True, pytest.approx(0.75))
    assert check.sentence.endswith("That is no more than chance.")
    assert "chance" not in checks.random_noise_does_little(clean, noisy, flips(100, 40)[1]).sentence


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
def test_check_says_on_which_side_of_its_threshold_the_value_should_be(check, wanted):
    assert check.wanted == wanted
    assert check.passed
    assert {"at least": check.value >= check.threshold, "at most": check.value <= check.threshold, "any": True}[wanted]


@pytest.mark.parametrize(
    ("noisy", "attacked", "passed"),
    [
        (0.90, 0.10, True),
        (0.60, 0.10, True),  # 30 points of 80
        (0.40, 0.10, False),  # 50 points of 80
        (0.85, 0.90, True),  # 5 points of none, but 5 images of 100 prove nothing
        (0.70, 0.90, False),  # an attack that does nothing where noise does
        (0.50, 0.85, False),
    ],
)
def test_random_noise_does_less_than_half_of_the_attack(noisy, attacked, passed):
    clean, *others = (np.arange(100) < 100 * share for share in (0.9, noisy, attacked))
    assert checks.random_noise_does_little(clean, *others).passed == passed


@pytest.mark.parametrize(
    ("found", "n", "passed"),
    [
        ([0.0], 1000, True),
        ([0.0, 0.30 - 0.28], 1000, True),
        ([0.021, 0.0], 1000, False),
        ([2 / 20], 20, True),  # two images
        ([3 / 20], 20, False),
    ],
)
def test_scores_find_at_most_two_images_in_a_hundred_more(found, n, passed):
    check = checks.scores_find_little_more(found, n)
    assert check.passed == passed
    assert f"broke {max(found):.1%} of all images" in check.sentence


def test_what_scores_found_is_counted_on_the_network_they_attacked_and_after_the_gradients():
    def trial(name, source, network, stripped, on="left", **parameters):
        return SimpleNamespace(
            name=name, source=source, on=on, parameters=parameters, withstood={"network": network, "stripped": stripped}
        )

    trials = [
        trial("short Square", "network", 0.9, 0.9, on="checks", queries=60),
        trial("APGD-DLR", "network", 0.5, 0.6),
        trial("Square", "network", 0.4, 0.3, queries=60),
        trial("APGD-DLR", "stripped", 0.4, 0.2),
        trial("Square", "stripped", 0.1, 0.15, queries=60),
    ]
    assert broken_by_scores(trials) == pytest.approx([0.1, 0.05])
    assert broken_by_scores(trials[:2]) == []


def falls(*accuracies):
    radii = [0.0, 2 / 255, 8 / 255, 64 / 255][: len(accuracies)]
    return checks.accuracy_falls_with_epsilon(radii, [np.arange(100) < 100 * share for share in accuracies])


def test_accuracy_that_falls_or_rises_by_chance_passes():
    assert falls(0.9, 0.6, 0.3, 0.0).passed
    assert falls(0.9, 0.3, 0.39, 0.0).passed


def test_accuracy_that_rises_with_epsilon_fails_and_the_place_is_named():
    check = falls(0.9, 0.3, 0.5, 0.0)
    assert not check.passed
    assert check.value == pytest.approx(0.2)
    assert "From 2/255 to 8/255 it rises" in check.sentence
    assert "90.0% at 0/255, 30.0% at 2/255, 50.0% at 8/255, 0.0% at 64/255" in check.sentence


def test_smaller_rise_fails_where_a_larger_one_could_be_chance():
    """From 2/255 to 8/255, 30 images turn right and 18 wrong; then 10 turn right and none wrong."""
    groups = [30, 18, 10, 42]
    shares = [np.repeat(values, groups) for values in ((0, 1, 0, 0), (1, 0, 0, 0), (1, 0, 1, 0))]
    check = checks.accuracy_falls_with_epsilon([2 / 255, 8 / 255, 64 / 255], shares)
    assert not check.passed
    assert check.value == pytest.approx(0.1)
    assert "From 8/255 to 64/255" in check.sentence


@pytest.mark.parametrize(("right", "passed"), [(0, True), (2, True), (3, False), (100, False)])
def test_accuracy_reaches_zero(right, passed):
    check = checks.accuracy_reaches_zero(64 / 255, np.arange(100) < right)
    assert check.passed == passed
    assert f"At epsilon 64/255 {right}.0% of the images" in check.sentence


@pytest.mark.parametrize(
    ("excess", "low", "high", "passed"),
    [
        (0.0, 0.0, 1.0, True),
        (5e-7, -5e-7, 1.0, True),
        (1e-4, 0.0, 1.0, False),
        (-0.01, -1e-4, 1.0, False),
        (-0.01, 0.0, 255.0, False),
        (math.nan, 0.0, 1.0, False),
    ],
)
def test_what_was_scored_stays_in_the_ball_and_the_pixel_range(excess, low, high, passed):
    fine = np.array([-0.01, -0.01])
    check = checks.stays_in_the_ball(np.append(fine, excess), np.array([0.1, low]), np.array([0.9, high]))
    assert check.passed == passed


@pytest.mark.parametrize(
    "check",
    [
        checks.returns_logits(SOFTMAX.astype("float32")),
        checks.gradients_are_not_zero(np.ones(3, "float32")),
        checks.scores_find_little_more([np.float32(0.5)], 100),
        checks.accuracy_reaches_zero(0.1, np.array([True])),
        checks.stays_in_the_ball(np.zeros(1, "float32"), np.zeros(1, "float32"), np.ones(1, "float32")),
        not_stronger(np.zeros(3, "float32"), np.ones(3, "float32")),
    ],
)
def test_check_as_dict_is_plain_values(check):
    types = {key: type(value) for key, value in check.as_dict().items()}
    assert types == {"name": str, "passed": bool, "value": float, "threshold": float, "sentence": str, "wanted": str}
