"""All attacks: functions `(model_fn, x, labels, *, seed) -> x_adv`."""

from rsr_tf.attacks.pgd import (
    FGSM,
    PGD,
    cross_entropy,
    input_gradient,
    project_linf,
    random_start,
    sign_step,
)

__all__ = ["FGSM", "PGD", "cross_entropy", "input_gradient", "project_linf", "random_start", "sign_step"]
