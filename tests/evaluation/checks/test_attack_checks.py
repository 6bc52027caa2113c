import math
import re
from types import SimpleNamespace

import numpy as np
import pytest

from rsr_tf.evaluation.checks import attack_checks as checks
from rsr_tf.evaluation.checks.base import Evidence
from rsr_tf.evaluation.scores import MajorityScore


def flips(n, lost, gained=0):
    """Return shares of two attacks on n images: the second leaves `lost` images fewer correct, and `gained` more."""
    first, second = np.ones(n), np.ones(n)
    second[:lost] = 0
    first[lost : lost + gained] = 0
    return first, second


CORRECT = {
    ("FGSM", "noise_on"): 1,
    ("short PGD", "noise_on"): 2,
    ("short PGD", "noise_off"): 3,
    ("short Square", "noise_on"): 4,
    ("PGD, one draw", "noise_on"): 5,
    ("PGD, one draw", "rescaled"): 6,
    ("PGD, one draw, few steps", "noise_on"): 7,
    ("PGD, one draw, restarts", "noise_on"): 8,
}
"""Images of 20 that each attack leaves correct of the network; of the stripped network 10 more."""


@pytest.mark.parametrize(
    ("name", "weak", "strong"),
    [
        ("FGSM not stronger than PGD", 1, 2),
        ("black-box not stronger than white-box", 4, 2),
        ("loss not saturated", 6, 5),
        ("more steps do not help the defender", 7, 5),
        ("restarts do not help the defender", 5, 8),
        ("more draws do not help the defender", 5, 2),
        ("transfer from the stripped network not stronger", 3, 2),
        ("transfer to the stripped network not stronger", 12, 13),
    ],
)
def test_comparison_takes_the_weaker_and_the_stronger_attack(name, weak, strong):
    results = [
        SimpleNamespace(
            name=attack,
            source=source,
            scores={
                "noise_on": MajorityScore(np.arange(20) < correct, 1),
                "noise_off": MajorityScore(np.arange(20) < 10 + correct, 1),
            },
        )
        for (attack, source), correct in CORRECT.items()
    ]
    evidence = Evidence(
        noise={"noise_on": {}, "noise_off": {}},
        logits=None,
        zero_gradients=None,
        results=results,
        epsilon=0.1,
        num_check_images=20,
    )
    (comparison,) = (comparison for comparison in checks.COMPARISONS if comparison.name == name)
    check = comparison(evidence)
    assert check.name == name
    assert re.findall(r"([\d.]+)%", check.sentence) == [f"{5 * weak:.1f}", f"{5 * strong:.1f}"]


def test_random_noise_that_does_as_much_as_a_useless_attack_may_be_chance():
    clean, noisy = flips(100, 3)
    check = checks.random_noise_does_little(clean, noisy, flips(100, 4)[1])
    assert (check.passed, check.value) == (True, pytest.approx(0.75))
    assert check.sentence.endswith("That is no more than chance.")
    assert "chance" not in checks.random_noise_does_little(clean, noisy, flips(100, 40)[1]).sentence


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


def test_attacks_by_scores_count_on_their_network_and_after_the_gradients():
    def result(source, network, stripped, *, uses_gradients, subset="still_robust"):
        accuracy = {"noise_on": network, "noise_off": stripped}
        return SimpleNamespace(source=source, subset=subset, robust_accuracy=accuracy, uses_gradients=uses_gradients)

    results = [
        result("noise_on", 0.95, 0.95, uses_gradients=False, subset="all"),  # the clean images
        result("noise_on", 0.9, 0.9, uses_gradients=False, subset="checks"),  # random noise, or short Square
        result("noise_on", 0.5, 0.6, uses_gradients=True),
        result("noise_on", 0.4, 0.3, uses_gradients=False),
        result("noise_off", 0.4, 0.2, uses_gradients=True),
        result("noise_off", 0.1, 0.15, uses_gradients=False),
    ]
    assert checks.broken_by_scores(results) == pytest.approx([0.1, 0.05])
    assert checks.broken_by_scores(results[:3]) == []


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
    """Let 30 images turn correct and 18 wrong from 2/255 to 8/255, then 10 correct and none wrong."""
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
