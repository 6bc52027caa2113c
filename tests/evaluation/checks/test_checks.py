from dataclasses import replace

import numpy as np
import pytest

from rsr_tf.evaluation import AttackResult, MajorityScore
from rsr_tf.evaluation.checks import CHECKS, Evidence, attack_checks, network_checks, run_checks, twin_checks
from rsr_tf.evaluation.checks.base import not_stronger
from rsr_tf.evaluation.probes import Queries, Spread
from rsr_tf.evaluation.suites import SUITES, plan

EPSILON = 8 / 255
NAMES = [
    "noise on",
    "noise alike in calls of every size",
    "no noise in the stripped network",
    "noise alike along the path of an attack",
    "averaged draws are new",
    "logits and not probabilities",
    "scores change with the image",
    "gradients not zero",
    "gradients repeat where answers do",
    "FGSM not stronger than PGD",
    "black-box not stronger than white-box",
    "loss not saturated",
    "more steps do not help the defender",
    "restarts do not help the defender",
    "more draws do not help the defender",
    "transfer from the stripped network not stronger",
    "transfer to the stripped network not stronger",
    "scores find little that gradients left",
    "random noise does little",
    "accuracy falls with epsilon",
    "accuracy reaches zero",
    "within epsilon and the pixel range",
]


def evidence(suite="quick", *, stripped=True, uses_gradients=lambda step: step.name != "Square"):
    """Return the evidence of an evaluation in which every attack leaves one draw of two correct."""
    random = {"noise_on": True} | ({"noise_off": False} if stripped else {})
    noise = {"noise_on": {1: 0.2, 9: 0.2}} | ({"noise_off": {1: 0.0, 9: 0.0}} if stripped else {})
    results = [
        AttackResult(
            name=step.name,
            source=step.source,
            parameters=step.attack.get_config(),
            index=np.arange(9),
            scores={name: MajorityScore(np.ones(9, "int32"), 2) for name in noise},
            robust_accuracy=dict.fromkeys(noise, 0.5),
            distance=np.zeros(9),
            low=np.zeros(9),
            high=np.ones(9),
            seconds=1.0,
            subset=step.subset,
            uses_gradients=uses_gradients(step),
        )
        for step in plan(SUITES[suite], epsilon=EPSILON, random=random)
    ]
    return Evidence(
        noise=noise,
        along_path={name: {"clean images": Spread(0.2, 0.2, 0.4)} for name in noise} if stripped else {},
        queries=Queries(np.ones(4, bool), np.zeros(4, bool)),
        logits=np.array([[2.0, -1.0]]),
        zero_gradients=np.zeros(9),
        results=results,
        epsilon=EPSILON,
        num_check_images=5,
    )


def test_all_checks_run_in_their_order():
    assert [check.name for check in run_checks(evidence())] == NAMES
    assert len(CHECKS) == len(NAMES) + 1  # that of twins


def test_check_of_twins_comes_after_that_of_scores():
    seen = evidence()
    lower = {"noise_on": 0.4, "noise_off": 0.5}
    on_twin = replace(seen.results[-1], source="float", uses_gradients=True, robust_accuracy=lower)
    seen = replace(seen, results=[*seen.results, on_twin], twins=("float",))
    names = [check.name for check in run_checks(seen)]
    after = NAMES.index("scores find little that gradients left") + 1
    assert names == [*NAMES[:after], "twins find little that other attacks left", *NAMES[after:]]


ALONG_PATH = {"noise alike along the path of an attack", "averaged draws are new", "gradients repeat where answers do"}


def test_checks_of_the_stripped_network_and_of_what_was_not_measured_do_not_apply():
    names = [check.name for check in run_checks(evidence(stripped=False))]
    assert names == [name for name in NAMES if "stripped" not in name and name not in ALONG_PATH]


def test_check_of_attacks_by_scores_does_not_apply_without_one():
    names = [check.name for check in run_checks(evidence(uses_gradients=lambda step: True))]
    assert names == [name for name in NAMES if name != "scores find little that gradients left"]


@pytest.mark.parametrize("suite", SUITES)
def test_every_suite_has_the_attacks_that_are_compared(suite):
    checks = {check.name: check for check in run_checks(evidence(suite))}
    assert set(NAMES) - {"scores find little that gradients left"} <= set(checks)
    assert "(n = 5)" in checks["loss not saturated"].sentence


@pytest.mark.parametrize(
    "check",
    [
        network_checks.returns_logits(np.eye(2, dtype="float32")),
        network_checks.gradients_are_not_zero(np.ones(3, "float32")),
        attack_checks.scores_find_little_more([np.float32(0.5)], 100),
        twin_checks.twins_find_little_more([np.float32(0.5)], 100),
        attack_checks.accuracy_reaches_zero(0.1, np.array([True])),
        attack_checks.stays_in_the_ball(np.zeros(1, "float32"), np.zeros(1, "float32"), np.ones(1, "float32")),
        not_stronger("a", ("b", np.zeros(3, "float32")), ("c", np.ones(3, "float32")), suggests="d"),
    ],
)
def test_check_as_dict_is_json_serializable(check):
    types = {key: type(value) for key, value in check.as_dict().items()}
    assert types == {"name": str, "passed": bool, "value": float, "threshold": float, "sentence": str, "wanted": str}
