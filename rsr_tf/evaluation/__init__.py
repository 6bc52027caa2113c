"""How robust is a network, seen only as `model_fn: (n, h, w, c) pixels in [0,1] -> (n, classes) logits`."""

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

__all__ = [
    "Score",
    "Square",
    "TransferMatrix",
    "accuracy_under",
    "adversarial_examples",
    "as_model_fn",
    "build_attacks",
    "draw_heat_map",
    "evaluate_transfer",
    "evaluate_whitebox",
    "survivors_of",
    "worst_case",
]
