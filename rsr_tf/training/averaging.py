"""The moving average of the weights, which Keras' optimizers keep with `use_ema`, in validation and in saved files."""

import contextlib

import keras
import tensorflow as tf

from rsr_tf.keras_internals import weight_averages


@contextlib.contextmanager
def averaged_weights(model):
    """Give a model the moving average of its weights within the `with` block; it gets back its own bit for bit.

    Only what the optimizer trains is averaged: batch normalization keeps its moving statistics.

    Args:
        model: a compiled Keras model. Without `use_ema` in its built optimizer, nothing changes.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False)])
        >>> model.compile(keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5), "mse")
        >>> history = model.fit(np.ones((4, 2)), np.ones((4, 1)), batch_size=1, verbose=0)
        >>> with rsr_tf.training.averaging.averaged_weights(model):
        ...     model.save("averaged.keras")
    """
    pairs = weight_averages(model.optimizer)
    own = [tf.identity(weight.value) for weight, _ in pairs]
    for weight, average in pairs:
        weight.assign(average)
    try:
        yield
    finally:
        for (weight, _), value in zip(pairs, own, strict=True):
            weight.assign(value)


class AveragedValidation(keras.callbacks.Callback):
    """Callback that validates the moving average of the weights, which `fit` leaves in the model at its end.

    `keras.callbacks.SwapEMAWeights` exchanges both by additions, which round the weights that are trained on.

    Example:
        >>> callback = rsr_tf.training.averaging.AveragedValidation()
        >>> rsr = rsr_tf.RSRModel(model.inputs, model.outputs)
        >>> rsr.compile(keras.optimizers.SGD(0.1, use_ema=True), "sparse_categorical_crossentropy")
        >>> history = rsr.fit(images, labels, validation_data=(images, labels), callbacks=[callback], verbose=0)
    """

    def on_test_begin(self, logs=None):
        self._block = contextlib.ExitStack()
        self._block.enter_context(averaged_weights(self.model))

    def on_test_end(self, logs=None):
        self._block.close()
