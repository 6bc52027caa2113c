"""FGSM and PGD of cleverhans, the reference implementations that the accuracies of Table 1 are measured with."""

import numpy as np

from rsr_tf.errors import require

PIXEL_RANGE = {"clip_min": 0.0, "clip_max": 1.0}


def build_attacks(model_fn, *, epsilon, step_size, steps):
    """Build cleverhans' attacks on a network in the linf ball, with true labels.

    Args:
        model_fn: function from float32 `(n, h, w, c)` in [0,1] to logits; see `rsr_tf.as_model_fn`.
        epsilon: radius of the linf ball, in units of pixels in [0,1].
        step_size: length of a PGD step, at most `epsilon`.
        steps: number of PGD steps, from a random start.

    Returns:
        A dict of functions `(images, labels) -> x_adv`: `"clean"`, which returns the images, `"fgsm"` and `"pgd"`.

    Raises:
        MissingPackageError: if cleverhans is not installed.

    Example:
        >>> attacks = rsr_tf.evaluation.build_attacks(model_fn, epsilon=8 / 255, step_size=2 / 255, steps=7)
        >>> attacks["fgsm"](x, y).shape
        TensorShape([16, 8, 8, 1])
    """
    package = "cleverhans.tf2.attacks"
    fast_gradient_method, projected_gradient_descent = (
        getattr(require(f"{package}.{name}", extra="evaluation"), name)
        for name in ("fast_gradient_method", "projected_gradient_descent")
    )
    return {
        "clean": lambda x, y: x,
        "fgsm": lambda x, y: fast_gradient_method(model_fn, x, epsilon, np.inf, y=y, **PIXEL_RANGE),
        "pgd": lambda x, y: projected_gradient_descent(
            model_fn, x, epsilon, step_size, steps, np.inf, y=y, rand_init=True, **PIXEL_RANGE
        ),
    }
