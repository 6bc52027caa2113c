"""How robust is a network, seen only as `model_fn: (n, h, w, c) pixels in [0,1] -> (n, classes) logits`."""

from rsr_tf.evaluation.scores import Score
from rsr_tf.evaluation.whitebox import adversarial_examples, as_model_fn, evaluate_whitebox

__all__ = ["Score", "adversarial_examples", "as_model_fn", "evaluate_whitebox"]
