from types import SimpleNamespace

import pytest

from rsr_tf.evaluation.checks import twin_checks as checks


def result(source, *withstood):
    return SimpleNamespace(source=source, robust_accuracy=dict(zip(("noise_on", "noise_off"), withstood, strict=False)))


def test_each_attack_on_a_twin_counts_on_every_network_after_the_attack_before():
    results = [
        result("noise_on", 0.9, 0.8),
        result("noise_off", 0.6, 0.5),
        result("float", 0.5, 0.45),
        result("wide", 0.5, 0.35),
        result("substitute", 0.1, 0.1),
    ]
    assert checks.broken_by_twins(results, ("float", "wide")) == pytest.approx([0.1, 0.05, 0.0, 0.1])
    assert checks.broken_by_twins(results, ("float",)) == pytest.approx([0.1, 0.05])
    assert checks.broken_by_twins(results, ()) == []
    assert checks.broken_by_twins(results[:2], ("float",)) == []


@pytest.mark.parametrize(
    ("broken", "n", "passed"),
    [([0.0, 0.02], 1000, True), ([0.0, 0.03], 1000, False), ([0.1], 20, True), ([0.15], 20, False)],
)
def test_twins_find_at_most_two_images_in_a_hundred_more(broken, n, passed):
    check = checks.twins_find_little_more(broken, n)
    assert check.passed == passed
    assert f"broke {max(broken):.1%} of all images after the attacks on the network (n = {n})" in check.sentence
    assert ("gradient masking" in check.sentence) == (not passed)
