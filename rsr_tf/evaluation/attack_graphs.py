"""The graphs of attacks on a batch: attacks that differ in some numbers alone share one, as tracing takes seconds."""

import copy
import functools
import json

import keras
import tensorflow as tf

from rsr_tf.evaluation.model_fn import in_batches


class AttackGraphs:
    """Turns attacks into functions of a batch, one graph for all that `graph_key` says are alike.

    Args:
        shape: shape of a batch, `(n, h, w, c)`.

    Example:
        >>> graphs = rsr_tf.evaluation.attack_graphs.AttackGraphs(x.shape)
        >>> for epsilon in (4 / 255, 8 / 255):  # traced once
        ...     craft = graphs.crafter(rsr_tf.attacks.EOTPGD(epsilon=epsilon, steps=2), "network", model_fn)
        ...     print(round(255 * np.abs(craft(x, y, seed=0) - x).max()))
        4
        8
    """

    def __init__(self, shape):
        self._batch = (tf.TensorSpec(shape), tf.TensorSpec(shape[:1], tf.int32))
        self._generator = keras.random.SeedGenerator(0)
        self._shared = {}

    def crafter(self, attack, source, model_fn):
        """Return a function `(x, y, seed)`, any number of images, to the adversarial images of an attack.

        Args:
            attack: callable `(model_fn, x, labels, *, seed) -> x_adv` with a `get_config`.
            source: name of the network, the same for the same `model_fn`.
            model_fn: the network.
        """
        batch_size, numbers = self._batch[0].shape[0], _numbers(attack)

        @functools.cache  # traced when first called: an attack whose batches are all in the state needs no graph
        def graph():
            if not numbers:
                return self._trace(attack, model_fn, numbers)
            key = graph_key(attack, source)
            if key not in self._shared:
                self._shared[key] = self._trace(attack, model_fn, numbers)
            return self._shared[key]

        def craft(x, y, seed):
            self._generator.state.assign([seed, 0])
            return in_batches(lambda x, y: graph()(x, y, **numbers), batch_size=batch_size)(x, y)

        return craft

    def _trace(self, attack, model_fn, numbers):
        @functools.partial(tf.function, autograph=False)
        def attack_batch(x, y, **numbers):
            adjusted = copy.copy(attack)
            vars(adjusted).update(numbers)
            return adjusted(model_fn, x, y, seed=self._generator)

        signature = {name: tf.TensorSpec((), number.dtype) for name, number in numbers.items()}
        return attack_batch.get_concrete_function(*self._batch, **signature)


def graph_key(attack, source):
    """Return what attacks with the same graph have in common, hashable: all but `rsr_tf.attacks.Attack.numbers`."""
    fixed = {name: value for name, value in attack.get_config().items() if name not in _numbers(attack)}
    return source, type(attack), json.dumps(fixed, sort_keys=True)


def _numbers(attack):
    return {name: tf.constant(getattr(attack, name)) for name in getattr(attack, "numbers", ())}
