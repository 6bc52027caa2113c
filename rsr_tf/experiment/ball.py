"""The ball in which a suite attacks: that of the config, or one that the command line asks for."""

from typing import NamedTuple

from rsr_tf.attacks.norms import check_norm
from rsr_tf.errors import user_errors

L2_EPSILON = 0.5
"""Radius in l2 unless another one is given: that of the l2 rows for CIFAR-10 in RobustBench (Croce et al. 2021)."""


class Ball(NamedTuple):
    """A ball of images.

    Args:
        norm: `"linf"` or `"l2"`.
        epsilon: its radius, in units of pixels in [0,1].
        name: part of the names of files, such as `"l2_0.5"`; empty for the ball of the config.
    """

    norm: str
    epsilon: float
    name: str

    @property
    def options(self):
        """The options of `rsr_tf.evaluation.run_suite`."""
        return {"norm": self.norm, "epsilon": self.epsilon}


def choose_ball(config, norm=None, epsilon=None):
    """Return the ball that a command asks for.

    Args:
        config: a `Config`.
        norm: `"linf"`, `"l2"` or `None` (default), which stands for linf.
        epsilon: its radius. Defaults to `None`: that of the config in linf, `L2_EPSILON` in l2.

    Returns:
        A `Ball`.

    Raises:
        UserError: for a radius that is not positive or, in linf, above 1.
    """
    norm, of_config = norm or "linf", config.evaluation.epsilon
    if epsilon is None:
        epsilon = of_config if norm == "linf" else L2_EPSILON
    with user_errors():
        check_norm(norm, epsilon=epsilon)
    same = norm == "linf" and epsilon == of_config
    return Ball(norm, epsilon, "" if same else f"{norm}_{epsilon:.4g}")
