"""What every attack provides: how it is called, described, costed and configured."""

import abc
from typing import NamedTuple


class Cost(NamedTuple):
    """Upper bound of the calls of the network for one image.

    Args:
        gradients: calls with a gradient with respect to the image.
        classifications: calls without a gradient.

    Example:
        >>> rsr_tf.attacks.PGD(steps=7).cost()
        Cost(gradients=7, classifications=0)
    """

    gradients: int
    classifications: int


class Attack(abc.ABC):
    """Base class of attacks within a fixed epsilon.

    There are two families of attacks. Those **within a fixed epsilon** are subclasses of this class: they return, for
    each image, an adversarial image at most `epsilon` away, and the evaluation counts the errors. Those **of minimum
    norm** search for the nearest image of another class and return distances; `rsr_tf.attacks.zoo_attack` is the one
    of that family; its interface is different.

    A subclass implements `__call__`, `cost` and `get_config` and sets the first three attributes.

    Attributes:
        name: short name for tables, such as `"PGD"`.
        description: one sentence that explains the attack to the reader of a report.
        uses_gradients: whether it differentiates the network.
        numbers: names of its attributes that may be scalar tensors when it is called, so that one graph serves attacks
            that differ in these alone. Defaults to none.

    Example:
        >>> attack = rsr_tf.attacks.PGD(steps=7)
        >>> isinstance(attack, rsr_tf.attacks.Attack), attack.name, attack.uses_gradients
        (True, 'PGD', True)
    """

    name = ""
    description = ""
    uses_gradients = False
    numbers = ()

    @abc.abstractmethod
    def __call__(self, model_fn, x, labels, *, seed=None):
        """Return adversarial images for a batch.

        Args:
            model_fn: function from float32 `(n, h, w, c)` in [0,1] to logits `(n, classes)`.
            x: float32 `(n, h, w, c)` in [0,1], the clean images; for all attacks but Square, `(n, ...)` of any rank.
            labels: integers `(n,)`, usually the true labels.
            seed: integer, `keras.random.SeedGenerator` or `None`, for the random numbers of the attack.

        Returns:
            float32 of the shape of `x`, in [0,1].
        """

    def with_loss(self, loss_fn):
        """Return the attack that raises another loss, for a training that has one; itself if its loss is its own.

        Args:
            loss_fn: function `(labels, outputs) -> (n,)`.
        """
        return self

    @abc.abstractmethod
    def cost(self):
        """Return the `Cost` of one image."""

    @abc.abstractmethod
    def get_config(self):
        """Return the settings as a JSON-serializable dict."""
