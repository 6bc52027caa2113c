"""How robust is a network, seen only as `model_fn: (n, h, w, c) pixels in [0,1] -> (n, classes) logits`."""

from rsr_tf.evaluation.adaptive import AdaptivePGD
from rsr_tf.evaluation.apgd import APGD
from rsr_tf.evaluation.expectation import average_over_draws
from rsr_tf.evaluation.scores import Score
from rsr_tf.evaluation.square import Square
from rsr_tf.evaluation.transfer import TransferMatrix, draw_heat_map, evaluate_transfer
from rsr_tf.evaluation.whitebox import (
    accuracy_under,
    adversarial_examples,
    as_model_fn,
    build_attacks,
    evaluate_whitebox,
    survivors_of,
    worst_case,
)
from rsr_tf.evaluation.zoo import TIERS, ZOOResult, ZOOSettings, draw_test_images, expected_queries, zoo_attack

__all__ = [
    "APGD",
    "TIERS",
    "AdaptivePGD",
    "Score",
    "Square",
    "TransferMatrix",
    "ZOOResult",
    "ZOOSettings",
    "accuracy_under",
    "adversarial_examples",
    "as_model_fn",
    "average_over_draws",
    "build_attacks",
    "draw_heat_map",
    "draw_test_images",
    "evaluate_transfer",
    "evaluate_whitebox",
    "expected_queries",
    "survivors_of",
    "worst_case",
    "zoo_attack",
]
