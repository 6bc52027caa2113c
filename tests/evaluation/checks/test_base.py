import math
from types import SimpleNamespace

import numpy as np
import pytest

from rsr_tf.evaluation.checks import base
from rsr_tf.evaluation.scores import MajorityScore


def flips(n, lost, gained=0):
    """Return shares of two attacks on n images: the second leaves `lost` images fewer correct, and `gained` more."""
    first, second = np.ones(n), np.ones(n)
    second[:lost] = 0
    first[lost : lost + gained] = 0
    return first, second


def test_paired_difference_is_mean_and_three_deviations_of_random_signs():
    difference, limit = base.paired_difference([1, 1, 0, 0.5], [0, 0.5, 0, 1])
    assert difference == pytest.approx(0.25)
    assert limit == pytest.approx(3 * math.sqrt(1 + 0.25 + 0 + 0.25) / 4)


def test_paired_difference_seldom_exceeds_its_limit_by_chance():
    """Expect 27 of 20,000: one-sided at three deviations, 1 in 740 for a normal sum; 60 is 6 deviations more."""
    random = np.random.default_rng(0)
    first, second = random.binomial(20, 0.7, (2, 20_000, 100)) / 20
    exceeded = sum(np.greater(*base.paired_difference(a, b)) for a, b in zip(first, second, strict=True))
    assert exceeded < 60


def not_stronger(weak, strong):
    return base.not_stronger("FGSM", ("FGSM", weak), ("PGD", strong), suggests="gradients mislead")


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


def test_sentence_of_a_comparison_has_both_numbers_and_a_suggestion():
    strong, weak = flips(100, 40)
    assert not_stronger(strong, weak).sentence == "FGSM leaves 100.0% correct, PGD 60.0% (n = 100)."
    assert not_stronger(weak, strong).sentence == (
        "FGSM leaves 60.0% correct, PGD 100.0% (n = 100), which is beyond chance: gradients mislead."
    )


def result(name, hits, source="noise_on", stripped=None, predictions=4):
    scores = {"noise_on": MajorityScore(np.array(hits), predictions)}
    if stripped is not None:
        scores["noise_off"] = MajorityScore(np.array(stripped), 1)
    return SimpleNamespace(name=name, source=source, scores=scores)


def test_evidence_has_the_scores_of_check_images_by_source_and_target():
    results = [result("PGD", [4, 2, 0]), result("PGD", [1, 1, 4], source="noise_off", stripped=[1, 0, 1])]
    evidence = base.Evidence(
        noise={}, logits=None, zero_gradients=None, results=results, epsilon=0.1, num_check_images=2
    )
    np.testing.assert_array_equal(evidence.shares("PGD"), [1, 0.5])
    np.testing.assert_array_equal(evidence.shares("PGD", source="noise_off"), [0.25, 0.25])
    np.testing.assert_array_equal(evidence.shares("PGD", source="noise_off", target="noise_off"), [1, 0])
    assert evidence.score("PGD").accuracy == 0.5
    assert evidence.score("PGD").num_images == 2


def test_evidence_without_the_attack_raises():
    evidence = base.Evidence(noise={}, logits=None, zero_gradients=None, results=[], epsilon=0.1, num_check_images=2)
    with pytest.raises(KeyError, match="PGD"):
        evidence.score("PGD")
