"""Robust Sparse Regularization in `model.fit`: the loss of Eq. 5 and 6 as the `train_step` of a Keras model."""

import functools

import keras
import tensorflow as tf

from rsr_tf.layers import prunable_kernels
from rsr_tf.layers.regularizers import soft_threshold
from rsr_tf.layers.replicas import share_of_replica
from rsr_tf.training.attacked_model import AttackedModel
from rsr_tf.training.batch_norm import bounded_momentum, check_warmup, synchronize_statistics
from rsr_tf.training.objectives import OBJECTIVES, ForwardPass


@keras.saving.register_keras_serializable("rsr_tf")
class RSRModel(AttackedModel):
    """A functional Keras model that is trained by Robust Sparse Regularization (Eq. 5 and 6, Section 3).

        loss = a * CE(clean) + (1 - a) * CE(adversarial) + sum of the regularization losses

    In each step, the attack runs inside the training graph, with the network in inference mode and its noise on. Then
    the network runs on the clean and on the adversarial images in training mode. The lasso is the sum of the L1
    regularizers of the layers, and counted once. With `proximal_lasso` it is a proximal step after every update of the
    optimizer, `sign(w) * max(|w| - learning_rate * lambda, 0)` on every conv and dense kernel, which gives exact zeros.
    If the optimizer has weight decay, every `alpha` is excluded from it, beside what you exclude.

    The attack raises the compiled loss of each image. The compiled metrics are reported of the clean images, and, as
    `adversarial_NAME`, of the adversarial ones; `adversarial_accuracy` always; and `clean_loss`, `adversarial_loss` and
    `lasso`. So a head may be logits or probabilities of classes, one logit, or several labels at once.

    Args:
        inputs, outputs: as for `keras.Model`: one float input with pixels in [0,1], one output `(n, k)`.
        attack: function `(model_fn, x, y, *, seed) -> x_adv`, such as `rsr_tf.attacks.PGD()`. `None`, the default,
            trains without adversarial images.
        objective: key of `rsr_tf.training.objectives.OBJECTIVES`. Defaults to `"adversarial-training"`, Eq. 5.
        clean_weight: a of Eq. 5, in [0, 1]. Defaults to 0.5.
        attack_labels: `"true"` (default), or `"predicted"` to attack the network's own predictions, which avoids label
            leaking.
        warmup_steps: number of initial steps without attack, such as `5 * steps_per_epoch`. They are counted by the
            optimizer, so a model that is compiled with a new optimizer warms up again. In training, the adversarial
            metrics are 0 during the warm-up. Defaults to 0.
        proximal_lasso: lambda of the proximal step; use it without L1 regularizers. It is part of the metric `lasso`
            but not of the loss. With momentum m, the gradient of an L1 regularizer moves a weight `1 / (1 - m)` times
            as far for the same lambda. Defaults to 0, no proximal step.
        batch_norm_momentum: upper bound for the momentum of batch normalizations while an attack trains, as their
            moving statistics, which the attack sees, have to keep up. Defaults to 0.9; `None` leaves them alone.
        seed: integer for the random starts of the attack. Defaults to a random one.
        **kwargs: as for `keras.Model`.

    Raises:
        ValueError: for an unknown `objective` or `attack_labels`, a `clean_weight` outside [0, 1], negative
            `warmup_steps` or `proximal_lasso`, a `batch_norm_momentum` outside [0, 1), or other inputs and outputs; by
            `fit` and `evaluate`, for images outside [0,1] or labels that the loss cannot take; by `compile`, for a loss
            that does not fit the output, a metric that cannot be copied, or `proximal_lasso` with an optimizer that has
            `use_ema`.

    Example:
        >>> rsr = rsr_tf.RSRModel(model.inputs, model.outputs, attack=rsr_tf.attacks.PGD(steps=1))
        >>> rsr.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
        >>> history = rsr.fit(images, labels, verbose=0)
        >>> sorted(history.history)
        ['accuracy', 'adversarial_accuracy', 'adversarial_loss', 'clean_loss', 'lasso', 'loss']
    """

    def __init__(
        self,
        *args,
        attack=None,
        objective="adversarial-training",
        clean_weight=0.5,
        attack_labels="true",
        warmup_steps=0,
        proximal_lasso=0.0,
        batch_norm_momentum=0.9,
        seed=None,
        **kwargs,
    ):
        super().__init__(*args, attack=attack, seed=seed, **kwargs)
        if not warmup_steps >= 0:
            raise ValueError(f"`warmup_steps` must not be negative. Received: warmup_steps={warmup_steps}")
        if not proximal_lasso >= 0:
            raise ValueError(f"`proximal_lasso` must not be negative. Received: proximal_lasso={proximal_lasso}")
        if not (batch_norm_momentum is None or 0 <= batch_norm_momentum < 1):
            raise ValueError(
                f"`batch_norm_momentum` must be in [0, 1) or None. Received: batch_norm_momentum={batch_norm_momentum}"
            )
        if objective not in OBJECTIVES:
            raise ValueError(f"`objective` must be one of {tuple(OBJECTIVES)}. Received: objective={objective!r}")
        self.objective_name = objective
        self.objective = OBJECTIVES[objective](clean_weight, attack_labels)
        self.warmup_steps = int(warmup_steps)
        self.proximal_lasso = float(proximal_lasso)
        self.batch_norm_momentum = batch_norm_momentum

    def skip_warmup(self):
        """Set `warmup_steps` to 0, for further training of a network that is warmed up."""
        self.warmup_steps = 0
        self.retrace()

    def compile(self, *args, **kwargs):
        super().compile(*args, **kwargs)
        self.objective.head = self.compilation.head
        optimizer = getattr(self.optimizer, "inner_optimizer", self.optimizer)  # of a LossScaleOptimizer
        if self.proximal_lasso and getattr(optimizer, "use_ema", False):
            raise ValueError(
                "`proximal_lasso` must be 0 with `use_ema`, which replaces the weights by averages without zeros. "
                f"Received: proximal_lasso={self.proximal_lasso}"
            )

    def train_step(self, data):
        check_warmup(self)
        batch = self.unpacked_batch(data)
        if self.attack is not None:  # outside the tape: no gradient flows through the attack
            x_adv = self._unless_warmup(lambda: self.perturb(batch.x, batch.y), lambda: batch.x)
        share = share_of_replica(batch.count)
        bound = None if self.attack is None else self.batch_norm_momentum
        with tf.GradientTape() as tape, bounded_momentum(self, bound):
            logits, loss = self._loss(batch, lambda: x_adv, training=True)
            scaled_loss = self.optimizer.scale_loss(share * loss)
        weights = self.trainable_weights
        self._update(tape.gradient(scaled_loss, weights), weights)
        synchronize_statistics(self, share)
        return self._results(batch, logits, loss)

    def test_step(self, data):
        batch = self.unpacked_batch(data)
        logits, loss = self._loss(batch, lambda: self.perturb(batch.x, batch.y), training=False)
        return self._results(batch, logits, loss)

    def perturb(self, x, y):
        """Attack a batch, with the network in inference mode and its noise on.

        Args:
            x: float32 `(n, h, w, c)` in [0,1].
            y: labels, in the form that the compiled loss takes.

        Returns:
            Adversarial images, float32 `(n, h, w, c)`.
        """
        model_fn = functools.partial(self, training=False)
        y = tf.convert_to_tensor(y)
        return self.attacked(model_fn, x, self.objective.attacked_labels(model_fn, x, y), y)

    def _loss(self, batch, perturbed, *, training):
        """Run the network on clean and adversarial images, and apply the objective.

        Args:
            batch: a `Batch` with the clean images.
            perturbed: function that returns the adversarial images; called after the clean pass, if there is an attack.
            training: whether the network is in training mode, and `warmup_steps` apply.

        Returns:
            The logits of the clean images, and the loss; of several replicas, the loss of this one's images.
        """
        clean = self._clean_pass(batch, training)
        if self.attack is None:
            return clean.logits, clean.loss

        def adversarial_pass():
            return self._adversarial_pass(perturbed(), batch, training)

        adversarial = self._unless_warmup(adversarial_pass, lambda: clean) if training else adversarial_pass()
        return clean.logits, self.objective(clean, adversarial, batch.y, batch.sample_weight)

    def _clean_pass(self, batch, training):
        clean = self._forward_pass(batch.x, batch, training)
        lasso = self._regularization()
        self.clean_loss.update_state(clean.loss - lasso, batch.count)
        if self.proximal_lasso:
            lasso += self.proximal_lasso * tf.add_n([tf.reduce_sum(tf.abs(each)) for each in self._trained_kernels()])
        self.lasso.update_state(lasso)
        return clean

    def _adversarial_pass(self, x_adv, batch, training):
        adversarial = self._forward_pass(x_adv, batch, training)
        self.adversarial_loss.update_state(adversarial.loss - self._regularization(), batch.count)
        counted = map(batch.counted, (batch.y, adversarial.logits, batch.sample_weight))
        self.compilation.adversarial_metrics.update_state(*counted)
        return adversarial

    def _forward_pass(self, x, batch, training):
        logits = self(x, training=training)
        loss = self.compute_loss(x, batch.y, logits, batch.sample_weight, training=training)
        # Keras divides by the number of replicas; metrics and objectives are about the loss itself
        return ForwardPass(logits, loss * tf.distribute.get_strategy().num_replicas_in_sync)

    def _regularization(self):
        return tf.add_n([tf.cast(loss, tf.float32) for loss in self.losses]) if self.losses else tf.constant(0.0)

    def _unless_warmup(self, function, in_warmup):
        if self.warmup_steps == 0:
            return function()
        return tf.cond(self.optimizer.iterations < self.warmup_steps, in_warmup, function)

    def _update(self, gradients, weights):
        """Apply the optimizer, and then the proximal step if the optimizer updated the weights."""
        if not self.proximal_lasso:
            self.optimizer.apply_gradients(zip(gradients, weights, strict=True))
            return
        optimizer = getattr(self.optimizer, "inner_optimizer", self.optimizer)  # of a LossScaleOptimizer
        learning_rate, updates = tf.identity(optimizer.learning_rate), tf.identity(optimizer.iterations)
        self.optimizer.apply_gradients(zip(gradients, weights, strict=True))
        # it does not while it accumulates gradients, or if the loss scale was too large
        updated = tf.cast(optimizer.iterations > updates, tf.float32)
        for kernel in self._trained_kernels():
            kernel.assign(soft_threshold(kernel, updated * learning_rate * self.proximal_lasso))

    def _trained_kernels(self):
        return [found.kernel for found in prunable_kernels(self).values() if found.kernel.trainable]

    def _results(self, batch, logits, loss):
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss, batch.count)
        return self.compute_metrics(*map(batch.counted, (batch.x, batch.y, logits, batch.sample_weight)))

    def save_own_variables(self, store):
        store["seed"] = self.seed_generator.state

    def load_own_variables(self, store):
        if "seed" in store:  # a file with the weights of a plain network has none
            self.seed_generator.state.assign(store["seed"])

    def get_config(self):
        return {
            **super().get_config(),
            "attack": keras.saving.serialize_keras_object(self.attack),
            "objective": self.objective_name,
            **self.objective.get_config(),
            "warmup_steps": self.warmup_steps,
            "proximal_lasso": self.proximal_lasso,
            "batch_norm_momentum": self.batch_norm_momentum,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        attack = keras.saving.deserialize_keras_object(config["attack"], custom_objects=custom_objects)
        return super().from_config({**config, "attack": attack}, custom_objects=custom_objects)
