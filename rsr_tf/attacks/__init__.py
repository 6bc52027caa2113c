"""Adversarial attacks: functions from images and labels to adversarial images. They do not train, score or print.

There are two families, see `rsr_tf.attacks.base.Attack`:

- Attacks within a fixed epsilon (`PGD`, `FGSM`, `EOTPGD`, `APGD`, `Square`, `HopSkipJump`) are objects that are called
  as `attack(model_fn, x, labels, *, seed=None) -> x_adv`, where `model_fn` maps pixels in [0,1] to logits. They also
  have `name`, `description`, `uses_gradients`, `cost()` and `get_config()`. Any function with the same signature can be
  used for training.
- Attacks of minimum norm (`zoo_attack`) search for the nearest image of another class and return its distance.
"""

from rsr_tf.attacks.apgd import APGD
from rsr_tf.attacks.base import Attack, Cost
from rsr_tf.attacks.eot import average_over_draws, ensemble
from rsr_tf.attacks.eot_pgd import EOTPGD
from rsr_tf.attacks.hop_skip_jump import HopSkipJump
from rsr_tf.attacks.losses import cross_entropy
from rsr_tf.attacks.norms import project_linf, random_start, sign_step
from rsr_tf.attacks.pgd import FGSM, PGD, input_gradient
from rsr_tf.attacks.square import Square
from rsr_tf.attacks.zoo import TIERS, ZOOResult, ZOOSettings, expected_queries, zoo_attack

__all__ = [
    "APGD",
    "EOTPGD",
    "FGSM",
    "PGD",
    "TIERS",
    "Attack",
    "Cost",
    "HopSkipJump",
    "Square",
    "ZOOResult",
    "ZOOSettings",
    "average_over_draws",
    "cross_entropy",
    "ensemble",
    "expected_queries",
    "input_gradient",
    "project_linf",
    "random_start",
    "sign_step",
    "zoo_attack",
]
