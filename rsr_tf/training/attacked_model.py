"""The part of a training model that knows its attack and its compilation, and looks at what it is given."""

import functools

import keras
import tensorflow as tf

from rsr_tf import keras_internals
from rsr_tf.attacks.base import Attack
from rsr_tf.layers import prunable_kernels
from rsr_tf.layers.replicas import ReplicaSeedGenerator
from rsr_tf.training.batches import as_batch, peek, range_errors, unpacked
from rsr_tf.training.callbacks import check_callbacks
from rsr_tf.training.compiled import AdversarialMetrics, Compilation, Head, head_of, per_image_loss, with_threshold
from rsr_tf.validation import check_batch


class AttackedModel(keras_internals.BuiltFromOneReplica):
    """A functional Keras model with an attack that raises its compiled loss, and compiled metrics under the attack.

    A subclass defines the steps. They take what `fit` gives from `unpacked_batch`, adversarial images from `attacked`,
    and update the metrics `clean_loss`, `lasso`, `adversarial_loss` and those of `compilation`.

    Args:
        inputs, outputs: as for `keras.Model`: one float input with pixels in [0,1], one output `(n, k)`.
        attack: as for `RSRModel`.
        seed: integer for the random starts of the attack. Defaults to a random one.
        **kwargs: as for `keras.Model`.

    Attributes:
        compilation: the `Compilation`.
    """

    def __init__(self, *args, attack=None, seed=None, **kwargs):
        super().__init__(*(unpacked(tensors) for tensors in args), **kwargs)
        _check_ends(self)
        self.seed = seed
        self.seed_generator = ReplicaSeedGenerator(seed)  # each replica starts from points of its own
        self.clean_loss = keras.metrics.Mean(name="clean_loss")
        self.lasso = keras.metrics.Mean(name="lasso")
        self.compilation = Compilation(Head(self.output_shape[-1]))
        self.set_attack(attack)

    def set_attack(self, attack):
        """Replace the attack of training and validation; takes effect at the next step, also within `fit`.

        Args:
            attack: as for the constructor.
        """
        self.attack = attack
        if attack is not None and not hasattr(self, "adversarial_loss"):
            self.adversarial_loss = keras.metrics.Mean(name="adversarial_loss")
        self.retrace()

    def retrace(self):
        """Rebuild the functions that `fit` and `evaluate` have traced: attack and warm-up are constants in them."""
        if self.train_function is not None:
            self.make_train_function(force=True)
        if self.test_function is not None:
            self.make_test_function(force=True)

    def compile(self, optimizer="rmsprop", loss=None, loss_weights=None, metrics=None, weighted_metrics=None, **kwargs):
        steps = kwargs.get("steps_per_execution", 1)
        if steps != 1 and keras_internals.is_of_several_processes(self.distribute_strategy):
            raise ValueError(
                "`steps_per_execution` must be 1 if several processes train, TensorFlow fails otherwise. "
                f"Received: steps_per_execution={steps}"
            )
        head = head_of(self, loss)
        metrics, weighted_metrics = with_threshold(metrics, head), with_threshold(weighted_metrics, head)
        super().compile(optimizer, loss, loss_weights, metrics, weighted_metrics, **kwargs)
        adversarial_metrics = AdversarialMetrics(metrics, weighted_metrics, head)
        self.compilation = Compilation(head, per_image_loss(loss), adversarial_metrics)
        self._exclude_noise_scales()

    def compile_from_config(self, config):  # Keras does not provide it for a class that overrides `compile`
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def fit(self, x=None, y=None, *args, validation_data=None, **kwargs):
        check_callbacks(kwargs.get("callbacks"), self)
        x = self._looked_at(x, y)
        if isinstance(validation_data, tuple | list):
            self._looked_at(*validation_data[:2])
        elif validation_data is not None:
            validation_data = self._looked_at(validation_data)
        with range_errors():
            return super().fit(x, y, *args, validation_data=validation_data, **kwargs)

    def evaluate(self, x=None, y=None, *args, **kwargs):
        if not keras_internals.is_validation_of_fit(kwargs):  # `fit` has looked, and Keras keeps its iterator
            x = self._looked_at(x, y)
        with range_errors():
            return super().evaluate(x, y, *args, **kwargs)

    def _looked_at(self, x, y=None):
        """Check the first images and labels, create the metrics for them, and return `x`, or what replaces it."""
        batch, x = peek(x, y)
        if batch is not None and self.compiled:
            head = self.compilation.head
            check_batch(*batch, classes=head.outputs, independent=head.independent)
            self._build_metrics(*batch)
        return x

    def make_train_function(self, force=False):
        if self.train_function is not None and not force:
            return
        super().make_train_function(force)
        step, prepare = self.train_function, functools.cache(self._prepare_optimizer)

        def train_function(iterator):
            prepare()  # at the first step: callbacks may change what is trained before it
            return step(iterator)

        self.train_function = train_function

    def _prepare_optimizer(self):
        """Create the variables of the optimizer before the first step.

        Keras would create them in the first trace of the step. TensorFlow traces a function that creates variables
        twice, and a trace takes longer than many steps.
        """
        if not self.optimizer.built:
            with self.distribute_strategy.scope():
                self.optimizer.build(self.trainable_variables)
        self._exclude_noise_scales()  # again, as what was excluded after `compile` has replaced them

    def _exclude_noise_scales(self):
        scales = [found.alpha for found in prunable_kernels(self).values() if found.alpha is not None]
        keras_internals.exclude_from_weight_decay(self.optimizer, scales)

    def _build_metrics(self, x, y):
        """Create the variables of the compiled metrics, which Keras would create in the first trace, too.

        With several replicas Keras creates its own beforehand.
        """
        with self.distribute_strategy.scope():
            self._build_adversarial_metrics(y)
        if self.distribute_strategy.num_replicas_in_sync == 1:
            outputs = tf.zeros((len(y), self.output_shape[-1]))
            self.compilation.adversarial_metrics.update_state(y, outputs)
            self.compute_metrics(x, y, outputs, sample_weight=None)
            self.reset_metrics()

    def _build_adversarial_metrics(self, y):
        metrics = self.compilation.adversarial_metrics
        if metrics is not None and not metrics.built:
            metrics.build(y, self.outputs[0])

    @property
    def metrics(self):
        own = [self.clean_loss, self.lasso]
        adversarial = []
        if self.attack is not None:
            own.append(self.adversarial_loss)
            adversarial = [each for each in (self.compilation.adversarial_metrics,) if each is not None and each.built]
        names = ("clean_loss", "lasso", "adversarial_loss")
        others = [metric for metric in super().metrics if metric.name not in names]
        return [*others, keras_internals.ListedMetrics(own), *adversarial]

    def unpacked_batch(self, data):
        """Return the `rsr_tf.training.batches.Batch` of what `fit` gives to a step."""
        batch = as_batch(*keras.utils.unpack_x_y_sample_weight(data))
        self._build_adversarial_metrics(batch.y)  # not within a branch of the graph
        return batch

    def attacked(self, model_fn, x, labels, y):
        """Attack a batch.

        Args:
            model_fn: function from images to outputs.
            x: float32 `(n, h, w, c)` in [0,1].
            labels: the labels that the attack leads away from: in the form of `y`, or probabilities `(n, k)`, whose
                cross-entropy is raised instead of the compiled loss.
            y: the labels of the batch.

        Returns:
            Adversarial images, float32 `(n, h, w, c)`.
        """
        attack = self.attack
        probabilities = labels.shape.rank == 2 and labels.shape[-1] > 1 and labels.shape[1:] != y.shape[1:]
        if isinstance(attack, Attack) and not probabilities:
            attack = attack.with_loss(self.compilation.loss_fn)
        return attack(model_fn, x, labels, seed=self.seed_generator)


def _check_ends(model):
    """Check that a model has one input of floating-point numbers, and one output `(n, k)`."""
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ValueError(
            "`RSRModel` takes one input and one output. "
            f"Received: {len(model.inputs)} inputs and {len(model.outputs)} outputs"
        )
    (x,), (outputs,) = model.inputs, model.outputs
    if not keras.backend.is_float_dtype(x.dtype):
        raise ValueError(
            "the input must be of floating-point numbers in [0, 1], as an attack needs their gradient: for pixels in "
            f"0 to 255, use `keras.Input(shape)` followed by `keras.layers.Rescaling(255)`. Received: {x.dtype}"
        )
    if len(outputs.shape) != 2:
        raise ValueError(f"the output must be of shape (n, k), one answer for an image. Received: {outputs.shape}")
