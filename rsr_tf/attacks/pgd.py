"""Attacks that run inside the training graph: FGSM (Eq. 1) and PGD (Eq. 2) in the linf ball.

An attack sees the network as `model_fn: (n, h, w, c) pixels in [0,1] -> (n, classes) logits` and differentiates with
respect to the image only. It is a loop over four small parts, each of which can be replaced.
"""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("rsr_tf")
def cross_entropy(labels, logits):
    """Cross-entropy of each example.

    Args:
        labels: integers `(n,)` or `(n, 1)`, or probabilities `(n, classes)`.
        logits: float `(n, classes)`.

    Returns:
        float32 `(n,)`.
    """
    labels, logits = tf.convert_to_tensor(labels), tf.cast(logits, tf.float32)
    if labels.shape.rank == 2 and labels.shape[-1] == logits.shape[-1]:
        return tf.nn.softmax_cross_entropy_with_logits(tf.cast(labels, tf.float32), logits)
    return tf.nn.sparse_softmax_cross_entropy_with_logits(tf.reshape(labels, [-1]), logits)


def random_start(x, epsilon, seed=None):
    """A point drawn evenly from the linf ball round each image, cut to [0,1].

    Args:
        x: float32 `(n, h, w, c)` in [0,1].
        epsilon: radius of the ball, in units of pixels in [0,1].
        seed: as for `keras.random.uniform`. Defaults to `None`.

    Returns:
        float32 of the shape of `x`.
    """
    noise = keras.random.uniform(tf.shape(x), -epsilon, epsilon, dtype="float32", seed=seed)
    return tf.clip_by_value(x + noise, 0.0, 1.0)


def input_gradient(model_fn, loss_fn, x, labels):
    """Gradient of the summed loss with respect to the images; no gradient of any weight is asked for.

    Args:
        model_fn: function from images to logits.
        loss_fn: function `(labels, logits) -> (n,)`.
        x: float32 `(n, h, w, c)`.
        labels: what `loss_fn` takes.

    Returns:
        float32 `(n, h, w, c)`.
    """
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(x)
        loss = tf.reduce_sum(loss_fn(labels, model_fn(x)))
    return tape.gradient(loss, x)


def sign_step(x, gradient, step_size):
    """A step of one length for every pixel, up where the gradient is positive and down where it is negative (Eq. 1, 2).

    Args:
        x: float32 `(n, h, w, c)`.
        gradient: of the loss, of the same shape.
        step_size: length, in units of pixels in [0,1].

    Returns:
        float32 of the same shape, not projected.
    """
    return x + step_size * tf.sign(gradient)


def project_linf(x_adv, x, epsilon):
    """The nearest images within the linf ball and within [0,1] (the projection of Eq. 2).

    Args:
        x_adv: float32 `(n, h, w, c)`.
        x: the clean images, of the same shape.
        epsilon: radius of the ball, in units of pixels in [0,1].

    Returns:
        float32 of the same shape.
    """
    return tf.clip_by_value(x + tf.clip_by_value(x_adv - x, -epsilon, epsilon), 0.0, 1.0)


@keras.saving.register_keras_serializable("rsr_tf")
class PGD:
    """Projected gradient descent in the linf ball (Eq. 2; Madry et al. 2018).

    Args:
        epsilon: radius of the ball, in units of pixels in [0,1]. Defaults to 8/255.
        step_size: length of a step, same unit. Defaults to 2/255.
        steps: number of steps. Defaults to 7.
        random_start: start from a random point of the ball instead of the image. Defaults to `True`.
        loss_fn: function `(labels, logits) -> (n,)` to climb. Defaults to `cross_entropy`.

    Raises:
        ValueError: for an `epsilon` or a `step_size` outside (0, 1], or `steps` below 1.

    Example:
        >>> attack = PGD(epsilon=8 / 255, step_size=2 / 255, steps=7)
        >>> x_adv = attack(model_fn, x, y)
    """

    def __init__(self, *, epsilon=8 / 255, step_size=2 / 255, steps=7, random_start=True, loss_fn=cross_entropy):
        for name, value in (("epsilon", epsilon), ("step_size", step_size)):
            if not 0 < value <= 1:
                raise ValueError(f"`{name}` must be in (0, 1]. Received: {name}={value}")
        if not (isinstance(steps, int) and steps >= 1):
            raise ValueError(f"`steps` must be an integer of at least 1. Received: steps={steps}")
        self.epsilon = float(epsilon)
        self.step_size = float(step_size)
        self.steps = steps
        self.random_start = bool(random_start)
        self.loss_fn = loss_fn

    def __call__(self, model_fn, x, labels, *, seed=None):
        """Adversarial images for a batch.

        Args:
            model_fn: function from images to logits; called once a step.
            x: float32 `(n, h, w, c)` in [0,1].
            labels: true or predicted labels, as `loss_fn` takes them.
            seed: integer, `keras.random.SeedGenerator` or `None`, for the random start.

        Returns:
            float32 `(n, h, w, c)` within `epsilon` of `x` and within [0,1]; no gradient flows through it.
        """
        x = tf.convert_to_tensor(x, tf.float32)
        start = random_start(x, self.epsilon, seed) if self.random_start else x

        def step(index, x_adv):
            gradient = input_gradient(model_fn, self.loss_fn, x_adv, labels)
            return index + 1, project_linf(sign_step(x_adv, gradient, self.step_size), x, self.epsilon)

        _, x_adv = tf.while_loop(lambda index, _: index < self.steps, step, (0, start))
        return tf.stop_gradient(x_adv)

    def get_config(self):
        return {
            "epsilon": self.epsilon,
            "step_size": self.step_size,
            "steps": self.steps,
            "random_start": self.random_start,
            "loss_fn": keras.saving.serialize_keras_object(self.loss_fn),
        }

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "loss_fn": keras.saving.deserialize_keras_object(config["loss_fn"])})


@keras.saving.register_keras_serializable("rsr_tf")
class FGSM(PGD):
    """Fast gradient sign method (Eq. 1): one step of length `epsilon` from the image itself.

    Args:
        epsilon: radius of the ball, in units of pixels in [0,1]. Defaults to 8/255.
        step_size: length of the step. Defaults to `epsilon`.
        steps, random_start, loss_fn: as for `PGD`; default to 1, `False` and `cross_entropy`.

    Raises:
        ValueError: as `PGD`.

    Example:
        >>> x_adv = FGSM(epsilon=8 / 255)(model_fn, x, y)
    """

    def __init__(self, *, epsilon=8 / 255, step_size=None, steps=1, random_start=False, loss_fn=cross_entropy):
        super().__init__(
            epsilon=epsilon,
            step_size=epsilon if step_size is None else step_size,
            steps=steps,
            random_start=random_start,
            loss_fn=loss_fn,
        )
