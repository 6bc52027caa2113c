"""Measure the robustness of networks given as `model_fn: (n, h, w, c) pixels in [0,1] -> (n, classes) logits`."""

from rsr_tf.attacks.apgd import APGD
from rsr_tf.attacks.cleverhans import build_attacks
from rsr_tf.attacks.eot import average_over_draws, ensemble
from rsr_tf.attacks.eot_pgd import EOTPGD
from rsr_tf.attacks.square import Square
from rsr_tf.attacks.zoo import TIERS, ZOOResult, ZOOSettings, expected_queries, zoo_attack
from rsr_tf.evaluation.certificates import (
    clopper_pearson,
    convolution_sensitivity,
    dp_radius,
    gaussian_std,
    hoeffding,
    laplace_radius,
    laplace_scale,
    smoothing_radius,
)
from rsr_tf.evaluation.certification import Certificates, certify
from rsr_tf.evaluation.checks import Check
from rsr_tf.evaluation.inputs import draw_by_class, draw_test_images
from rsr_tf.evaluation.model_fn import as_model_fn
from rsr_tf.evaluation.probabilities import with_logits
from rsr_tf.evaluation.robustness import run_suite
from rsr_tf.evaluation.runner import AttackResult, AttackRunner
from rsr_tf.evaluation.scores import MajorityScore, Score
from rsr_tf.evaluation.state import State
from rsr_tf.evaluation.suites import SUITES
from rsr_tf.evaluation.transfer import TransferMatrix, evaluate_transfer
from rsr_tf.evaluation.verdict import make_verdict
from rsr_tf.evaluation.whitebox import (
    accuracy_under,
    adversarial_examples,
    evaluate_whitebox,
)
from rsr_tf.evaluation.zoo import COLUMNS as ZOO_COLUMNS
from rsr_tf.evaluation.zoo import most_broken, run_zoo

# Names of version 0.2.0.
AdaptivePGD = EOTPGD
Bench = AttackRunner
RepeatedScore = MajorityScore
Trial = AttackResult

__all__ = [
    "APGD",
    "EOTPGD",
    "SUITES",
    "TIERS",
    "ZOO_COLUMNS",
    "AdaptivePGD",
    "AttackResult",
    "AttackRunner",
    "Bench",
    "Certificates",
    "Check",
    "MajorityScore",
    "RepeatedScore",
    "Score",
    "Square",
    "State",
    "TransferMatrix",
    "Trial",
    "ZOOResult",
    "ZOOSettings",
    "accuracy_under",
    "adversarial_examples",
    "as_model_fn",
    "average_over_draws",
    "build_attacks",
    "certify",
    "clopper_pearson",
    "convolution_sensitivity",
    "dp_radius",
    "draw_by_class",
    "draw_test_images",
    "ensemble",
    "evaluate_transfer",
    "evaluate_whitebox",
    "expected_queries",
    "gaussian_std",
    "hoeffding",
    "laplace_radius",
    "laplace_scale",
    "make_verdict",
    "most_broken",
    "run_suite",
    "run_zoo",
    "smoothing_radius",
    "with_logits",
    "zoo_attack",
]
