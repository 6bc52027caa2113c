"""How robust is a network, seen only as `model_fn: (n, h, w, c) pixels in [0,1] -> (n, classes) logits`."""

from rsr_tf.evaluation.adaptive import AdaptivePGD
from rsr_tf.evaluation.apgd import APGD
from rsr_tf.evaluation.expectation import average_over_draws
from rsr_tf.evaluation.scores import Score
from rsr_tf.evaluation.whitebox import (
    accuracy_under,
    adversarial_examples,
    as_model_fn,
    build_attacks,
    evaluate_whitebox,
    survivors_of,
    worst_case,
)

__all__ = [
    "APGD",
    "AdaptivePGD",
    "Score",
    "accuracy_under",
    "adversarial_examples",
    "as_model_fn",
    "average_over_draws",
    "build_attacks",
    "evaluate_whitebox",
    "survivors_of",
    "worst_case",
]
