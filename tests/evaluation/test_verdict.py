import json

import numpy as np
import pytest

from rsr_tf.evaluation import AttackResult, Check, MajorityScore, make_verdict
from rsr_tf.evaluation.scores import wilson_interval
from rsr_tf.evaluation.verdict import claim, worst_case

PARAMETERS = {"suite": "quick", "epsilon": 8 / 255, "num_images": 4, "predictions": 20, "seed": 0}


def result(name="PGD", source="noise_on", hits=(20, 20, 12, 0), robust_accuracy=0.5):
    count = len(hits)
    return AttackResult(
        name=name,
        source=source,
        parameters={"attack": "PGD", "steps": 7},
        index=np.arange(count),
        scores={"noise_on": MajorityScore(np.array(hits), 20), "noise_off": MajorityScore(np.ones(count), 1)},
        robust_accuracy={"noise_on": robust_accuracy, "noise_off": 1.0},
        distance=np.full(count, 0.03, "float32"),
        low=np.zeros(count, "float32"),
        high=np.ones(count, "float32"),
        seconds=2.5,
    )


def case(accuracy, mean, num_images=100, predictions=20):
    return {
        "accuracy": accuracy,
        "interval": [0, 1],
        "mean": mean,
        "mean_interval": [0.1, 0.9],
        "num_images": num_images,
        "predictions": predictions,
    }


def check(passed, name="gradients not zero"):
    return Check(name, passed, 1.0, 0.01, "a sentence")


CASES = {"noise_on": case(0.5, 0.4), "noise_off": case(0.6, 0.6, predictions=1)}


def verdict(checks=(), **cases):
    cases = cases or CASES
    return make_verdict([result("clean", hits=(20, 20, 20, 9)), result()], checks, cases, parameters=PARAMETERS)


@pytest.mark.parametrize(
    ("cases", "accuracy", "noise", "measure"),
    [
        ({"noise_on": case(0.5, 0.4)}, 0.4, "noise_on", "mean"),
        ({"noise_on": case(0.3, 0.4)}, 0.3, "noise_on", "majority"),
        ({"noise_on": case(0.5, 0.4), "noise_off": case(0.2, 0.2)}, 0.2, "noise_off", "majority"),
        ({"noise_on": case(0.5, 0.4), "noise_off": case(0.6, 0.6)}, 0.4, "noise_on", "mean"),
    ],
)
def test_claim_is_the_lowest_number_of_all(cases, accuracy, noise, measure):
    found = claim(cases)
    assert (found["accuracy"], found["noise"], found["measure"]) == (accuracy, noise, measure)
    assert found["interval"] == ([0, 1] if measure == "majority" else [0.1, 0.9])
    assert (found["num_images"], found["predictions"]) == (100, 20)


def test_worst_case_has_majority_over_attacks_and_mean_of_fresh_draws():
    found = worst_case(0.25, MajorityScore(np.array([20, 12, 0, 3]), 20))
    assert found == {
        "accuracy": 0.25,
        "interval": list(wilson_interval(0.25, 4)),
        "mean": pytest.approx(35 / 80),
        "mean_interval": list(wilson_interval(35 / 80, 4)),
        "num_images": 4,
        "predictions": 20,
    }


def test_sentence_has_claim_interval_number_of_images_and_draws():
    assert verdict([check(True)])["sentence"] == (
        "At most 40.0% of 20 predictions per image are correct under its worst attack at epsilon 8/255 "
        "(95 % interval 10.0% to 90.0%, n = 100; network as deployed). Every check passed."
    )


def test_sentence_of_a_network_without_noise_speaks_of_no_draws():
    assert "n = 100; network with noise off)" in verdict(noise_off=case(0.2, 0.2, predictions=1))["sentence"]


def test_failed_checks_are_counted_and_named_in_the_sentence():
    found = verdict([check(True), check(False), check(False, "noise on")])
    assert found["failed_checks"] == 2
    assert found["sentence"].endswith("Not reliable; failed checks: gradients not zero; noise on.")
    assert [row["passed"] for row in found["checks"]] == [True, False, False]


def test_every_attack_has_a_row_for_each_network_it_was_scored_on():
    rows = verdict()["attacks"]
    assert [(row["attack"], row["scored_on"]) for row in rows] == [
        *(("clean", "noise_on"), ("clean", "noise_off"), ("PGD", "noise_on"), ("PGD", "noise_off"))
    ]
    row = rows[2]
    assert row["crafted_on"] == "noise_on"
    assert row["accuracy"] == 0.75
    assert row["mean"] == pytest.approx(52 / 80)
    assert row["interval"] == list(wilson_interval(0.75, 4))
    assert (row["num_images"], row["predictions"], row["robust_accuracy"], row["seconds"]) == (4, 20, 0.5, 2.5)
    assert row["largest_distance"] == pytest.approx(0.03)
    assert row["pixels"] == [0, 1]
    assert row["parameters"] == {"attack": "PGD", "steps": 7}
    assert row["subset"] == "all"


def test_robust_accuracy_has_the_interval_of_all_images():
    row = make_verdict(
        [result("clean", hits=(20,) * 4), result(hits=(20,), robust_accuracy=0.25)], [], CASES, parameters=PARAMETERS
    )["attacks"][2]
    assert (row["num_images"], row["robust_accuracy_interval"]) == (1, list(wilson_interval(0.25, 4)))


def test_curve_has_a_score_for_each_epsilon():
    scores = {0.0: MajorityScore(np.array([20, 20]), 20), 0.1: MajorityScore(np.array([20, 5]), 20)}
    curve = make_verdict([result()], [], CASES, parameters=PARAMETERS, curve=scores)["curve"]
    assert [(point["epsilon"], point["accuracy"], point["mean"], point["num_images"]) for point in curve] == [
        *((0.0, 1.0, 1.0, 2), (0.1, 0.5, 0.625, 2))
    ]


def test_networks_have_their_accuracy_without_an_attack():
    assert verdict()["by_noise"]["noise_on"]["clean"]["accuracy"] == 0.75
    assert verdict()["by_noise"]["noise_off"]["clean"]["accuracy"] == 1.0


def test_verdict_is_json():
    found = verdict([check(False)])
    assert json.loads(json.dumps(found, allow_nan=False)) == found
