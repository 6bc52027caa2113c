"""Robust Sparse Regularization inside `model.fit`: the loss of Eq. 5 and 6 as the `train_step` of a Keras model."""

import functools

import keras
import numpy as np
import tensorflow as tf

from rsr_tf.layers import prunable_kernels
from rsr_tf.layers.regularizers import soft_threshold

LABEL_SOURCES = ("true", "predicted")


@keras.saving.register_keras_serializable("rsr_tf")
class RSRModel(keras.Model):
    """A functional Keras model that trains by Robust Sparse Regularization (Eq. 5 and 6, Section 3).

        loss = a * CE(clean) + (1 - a) * CE(adversarial) + sum of the regularization losses

    `fit` attacks every batch in the graph, with the network in inference mode and its noise on; then clean and
    adversarial images pass in training mode. The lasso is whatever L1 regularizers the layers carry, and is counted
    once; or it is a proximal step after every update of the optimizer, `sign(w) * max(|w| - learning_rate * lambda, 0)`
    on every conv and dense kernel, which leaves exact zeros. Weight decay, if the optimizer has any, is kept away from
    `alpha`; `compile` wants an optimizer that is new.

    Beside the compiled metrics (which see the clean images), `fit` and `evaluate` report `adversarial_accuracy` (as
    unweighted as Keras' `metrics`), `clean_loss`, `adversarial_loss` and `lasso`.

    Args:
        inputs, outputs: as for `keras.Model`: one image input with pixels in [0,1], one output of logits.
        attack: function `(model_fn, x, y, *, seed) -> x_adv`, such as `rsr_tf.attacks.PGD()`. `None`, the default,
            trains without adversarial images.
        clean_weight: a of Eq. 5, in [0, 1]. Defaults to 0.5.
        attack_labels: `"true"` (default) or `"predicted"`, the network's own labels, which avoids label leaking.
        warmup_steps: number of steps of plain training at the start, such as `5 * steps_per_epoch`, counted by the
            optimizer: compiled with a new one, the model warms up again.
            Adversarial metrics of training stay at 0 meanwhile; those of validation do not. Defaults to 0.
        proximal_lasso: lambda of the proximal step, beside which layers should carry no L1 regularizer. It is not in
            the loss, but in the metric `lasso`. Under momentum m the gradient of a lasso moves a weight `1 / (1 - m)`
            times as far for the same lambda. Defaults to 0, no such step.
        seed: integer for the random starts of the attack. Defaults to a random one.
        **kwargs: as for `keras.Model`.

    Raises:
        ValueError: for a `clean_weight` outside [0, 1], unknown `attack_labels`, negative `warmup_steps` or
            `proximal_lasso`, or more than one input or output; by `fit`, for images outside [0,1] or labels out of
            range in the first batch of arrays or of a `tf.data.Dataset`; by `compile`, for `proximal_lasso` with an
            optimizer that has `use_ema`.

    Example:
        >>> model = rsr_tf.models.resnet20(noise="channel", lasso=5e-5)
        >>> rsr = RSRModel(model.inputs, model.outputs, attack=rsr_tf.attacks.PGD())
        >>> rsr.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
        >>> rsr.fit(train, validation_data=validation, epochs=160)
    """

    def __init__(
        self,
        *args,
        attack=None,
        clean_weight=0.5,
        attack_labels="true",
        warmup_steps=0,
        proximal_lasso=0.0,
        seed=None,
        **kwargs,
    ):
        super().__init__(*(_unpack(tensors) for tensors in args), **kwargs)
        if len(self.inputs) != 1 or len(self.outputs) != 1:
            raise ValueError(
                "`RSRModel` takes one input and one output. "
                f"Received: {len(self.inputs)} inputs and {len(self.outputs)} outputs"
            )
        if not 0 <= clean_weight <= 1:
            raise ValueError(f"`clean_weight` must be in [0, 1]. Received: clean_weight={clean_weight}")
        if attack_labels not in LABEL_SOURCES:
            raise ValueError(
                f"`attack_labels` must be one of {LABEL_SOURCES}. Received: attack_labels={attack_labels!r}"
            )
        if not warmup_steps >= 0:
            raise ValueError(f"`warmup_steps` must not be negative. Received: warmup_steps={warmup_steps}")
        if not proximal_lasso >= 0:
            raise ValueError(f"`proximal_lasso` must not be negative. Received: proximal_lasso={proximal_lasso}")
        self.attack = attack
        self.clean_weight = float(clean_weight)
        self.attack_labels = attack_labels
        self.warmup_steps = int(warmup_steps)
        self.proximal_lasso = float(proximal_lasso)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.clean_loss = keras.metrics.Mean(name="clean_loss")
        self.lasso = keras.metrics.Mean(name="lasso")
        if attack is not None:
            self.adversarial_loss = keras.metrics.Mean(name="adversarial_loss")
            self.adversarial_accuracy = keras.metrics.Mean(name="adversarial_accuracy")

    def compile(self, *args, **kwargs):
        super().compile(*args, **kwargs)
        optimizer = getattr(self.optimizer, "inner_optimizer", self.optimizer)  # of a LossScaleOptimizer
        if self.proximal_lasso and getattr(optimizer, "use_ema", False):
            raise ValueError(
                "`proximal_lasso` must be 0 with `use_ema`, whose averages take the place of the weights and have no "
                f"zeros. Received: proximal_lasso={self.proximal_lasso}"
            )
        if getattr(optimizer, "weight_decay", None) and not optimizer.built:
            # the TensorFlow optimizer asks by the name of the inner variable, such as "layer/alpha:0"
            optimizer.exclude_from_weight_decay(var_names=[r"(^|/)alpha(:0)?$"])

    def compile_from_config(self, config):  # Keras leaves it to whoever overrides `compile`
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def fit(self, x=None, y=None, *args, **kwargs):
        batch = first_batch(x, y)
        if batch is not None:
            check_batch(*batch, classes=self.output_shape[-1])
            self._build_metrics(*batch)
        return super().fit(x, y, *args, **kwargs)

    def _build_metrics(self, x, y):
        """Make the variables of the compiled metrics, which Keras leaves to the first trace of the training step.

        A function that makes variables is traced a second time, and the trace takes longer than many steps. For several
        replicas Keras makes them itself.
        """
        if self.distribute_strategy.num_replicas_in_sync > 1:
            return
        self.compute_metrics(x, y, tf.zeros((len(y), self.output_shape[-1])), sample_weight=None)
        self.reset_metrics()

    def train_step(self, data):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        x = tf.cast(x, tf.float32)
        if self.attack is not None:
            x_adv = self._unless_warmup(lambda: self.perturb(x, y), lambda: x)
        with tf.GradientTape() as tape:
            logits, loss = self._clean_loss(x, y, sample_weight, training=True)
            if self.attack is not None:
                adversarial_loss = self._unless_warmup(
                    lambda: self._adversarial_loss(x_adv, y, sample_weight, training=True), lambda: loss
                )
                loss = self.clean_weight * loss + (1 - self.clean_weight) * adversarial_loss
            scaled_loss = self.optimizer.scale_loss(loss)
        weights = self.trainable_weights
        self._update(tape.gradient(scaled_loss, weights), weights)
        return self._results(x, y, logits, loss, sample_weight)

    def _update(self, gradients, weights):
        """Let the optimizer work, and after an update that it made the proximal step, if there is one."""
        optimizer = getattr(self.optimizer, "inner_optimizer", self.optimizer)  # of a LossScaleOptimizer
        learning_rate, updates = tf.identity(optimizer.learning_rate), tf.identity(optimizer.iterations)
        self.optimizer.apply_gradients(zip(gradients, weights, strict=True))
        if self.proximal_lasso:
            # it makes none while it gathers gradients, nor where the loss scale was too large
            updated = tf.cast(optimizer.iterations > updates, tf.float32)
            for kernel in self._trained_kernels():
                kernel.assign(soft_threshold(kernel, updated * learning_rate * self.proximal_lasso))

    def _trained_kernels(self):
        return [found.kernel for found in prunable_kernels(self).values() if found.kernel.trainable]

    def test_step(self, data):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        x = tf.cast(x, tf.float32)
        logits, loss = self._clean_loss(x, y, sample_weight, training=False)
        if self.attack is not None:
            adversarial_loss = self._adversarial_loss(self.perturb(x, y), y, sample_weight, training=False)
            loss = self.clean_weight * loss + (1 - self.clean_weight) * adversarial_loss
        return self._results(x, y, logits, loss, sample_weight)

    def perturb(self, x, y):
        """Adversarial images for a batch: the network in inference mode, noise on.

        Args:
            x: float32 `(n, h, w, c)` in [0,1].
            y: labels, integers or one-hot.

        Returns:
            float32 `(n, h, w, c)`.
        """
        model_fn = functools.partial(self, training=False)
        labels = tf.argmax(model_fn(x), axis=-1) if self.attack_labels == "predicted" else y
        return self.attack(model_fn, x, labels, seed=self.seed_generator)

    def _unless_warmup(self, function, in_warmup):
        if self.warmup_steps == 0:
            return function()
        return tf.cond(self.optimizer.iterations < self.warmup_steps, in_warmup, function)

    def _clean_loss(self, x, y, sample_weight, training):
        logits = self(x, training=training)
        loss = self.compute_loss(x, y, logits, sample_weight, training=training)
        lasso = self._regularization()
        self.clean_loss.update_state(_unscaled(loss) - lasso, tf.shape(x)[0])
        if self.proximal_lasso:
            lasso += self.proximal_lasso * tf.add_n([tf.reduce_sum(tf.abs(each)) for each in self._trained_kernels()])
        self.lasso.update_state(lasso)
        return logits, loss

    def _adversarial_loss(self, x_adv, y, sample_weight, training):
        """Holds the regularization losses as `_clean_loss` does: the weights a and 1 - a count them once in all."""
        logits = self(x_adv, training=training)
        loss = self.compute_loss(x_adv, y, logits, sample_weight, training=training)
        self.adversarial_loss.update_state(_unscaled(loss) - self._regularization(), tf.shape(x_adv)[0])
        correct = tf.argmax(logits, axis=-1) == class_indices(y, classes=logits.shape[-1])
        self.adversarial_accuracy.update_state(correct)
        return loss

    def _regularization(self):
        return tf.add_n([tf.cast(loss, tf.float32) for loss in self.losses]) if self.losses else tf.constant(0.0)

    def _results(self, x, y, logits, loss, sample_weight):
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(_unscaled(loss), tf.shape(x)[0])
        return self.compute_metrics(x, y, logits, sample_weight)

    def save_own_variables(self, store):
        store["seed"] = self.seed_generator.state

    def load_own_variables(self, store):
        if "seed" in store:  # weights of the plain network have none
            self.seed_generator.state.assign(store["seed"])

    def get_config(self):
        return {
            **super().get_config(),
            "attack": keras.saving.serialize_keras_object(self.attack),
            "clean_weight": self.clean_weight,
            "attack_labels": self.attack_labels,
            "warmup_steps": self.warmup_steps,
            "proximal_lasso": self.proximal_lasso,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        attack = keras.saving.deserialize_keras_object(config["attack"], custom_objects=custom_objects)
        return super().from_config({**config, "attack": attack}, custom_objects=custom_objects)


def _unscaled(loss):
    """`compute_loss` divides by the number of replicas of a `tf.distribute` strategy; metrics want the loss itself."""
    return loss * tf.distribute.get_strategy().num_replicas_in_sync


def _unpack(tensors):
    """`model.inputs` is a list even of one; the new model is to be called with a tensor."""
    return tensors[0] if isinstance(tensors, list | tuple) and len(tensors) == 1 else tensors


def class_indices(labels, classes):
    """Labels as class numbers.

    Args:
        labels: tensor of integers `(n,)` or `(n, 1)`, or of probabilities `(n, classes)`.
        classes: number of logits.

    Returns:
        int64 `(n,)`.
    """
    if labels.shape.rank == 2 and labels.shape[-1] == classes:
        return tf.argmax(labels, axis=-1)
    return tf.cast(tf.reshape(labels, [-1]), tf.int64)


def first_batch(x, y):
    """The first images and labels that `fit(x, y)` would see.

    Args:
        x: array of images, or a `tf.data.Dataset` of `(images, labels, ...)`, whose first batch is read one time more.
        y: array of labels, beside an array of images.

    Returns:
        `(images, labels)`, or `None` for a generator and the like, where looking would use them up.

    Raises:
        ValueError: for a data set without labels.
    """
    if isinstance(x, tf.data.Dataset):
        batch = next(iter(x.take(1)))
        if not (isinstance(batch, tuple) and len(batch) >= 2):
            raise ValueError(f"the data set must give (images, labels, ...). Received: {x.element_spec}")
        x, y, *_ = batch
    return (x[:256], y[:256]) if hasattr(x, "shape") and hasattr(y, "shape") else None


def check_batch(images, labels, *, classes):
    """Look for the two mistakes that training would not notice.

    Args:
        images: array `(n, h, w, c)`.
        labels: integers `(n,)` or `(n, 1)`, or probabilities `(n, classes)`.
        classes: number of logits.

    Raises:
        ValueError: for pixels outside [0, 1] or integer labels outside [0, classes).
    """
    images, labels = np.asarray(images), np.asarray(labels)
    low, high = images.min(), images.max()
    if not (low >= 0 and high <= 1):
        raise ValueError(f"pixels must be in [0, 1]. Received: images from {low:g} to {high:g} in the first batch")
    if labels.ndim == 2 and labels.shape[-1] == classes:
        return
    if not (labels.min() >= 0 and labels.max() < classes):
        raise ValueError(
            f"labels must be in [0, {classes - 1}], as the network has {classes} logits. "
            f"Received: labels from {labels.min()} to {labels.max()} in the first batch"
        )
