"""Losses that Keras does not have."""

import keras


@keras.saving.register_keras_serializable("rsr_tf")
class SmoothedCrossentropy(keras.losses.Loss):
    """Cross-entropy of integer labels with label smoothing (Szegedy et al. 2016), on logits.

        loss = (1 - s) * CE(logits, y) + s / k * sum of CE(logits, j) over all k classes j

    It is `keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=s)` of the one-hot labels; Keras'
    `SparseCategoricalCrossentropy` has no smoothing.

    An `RSRModel` that is compiled with it also raises it in its attack. The gradient by the logit of the true class is
    its probability minus `1 - s + s / k`. So on an image of which the network is more certain than that, the attack
    starts in the wrong direction, and is weaker than with the plain cross-entropy, which attacks of evaluations raise.

    Args:
        label_smoothing: s, in [0, 1). Defaults to 0.1.
        reduction: as for `keras.losses.Loss`. Defaults to `"sum_over_batch_size"`.
        name: string. Defaults to `"smoothed_crossentropy"`.
        dtype: as for `keras.losses.Loss`. Defaults to `None`.

    Raises:
        ValueError: for a `label_smoothing` outside [0, 1).

    Example:
        >>> from rsr_tf.training.losses import SmoothedCrossentropy
        >>> loss = SmoothedCrossentropy(0.2)
        >>> logits = np.array([[np.log(3.0), 0.0]])
        >>> round(float(loss(np.array([0]), logits)), 4)  # 0.9 * log(4 / 3) + 0.1 * log(4)
        0.3975
    """

    def __init__(
        self, label_smoothing=0.1, *, reduction="sum_over_batch_size", name="smoothed_crossentropy", dtype=None
    ):
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"`label_smoothing` must be in [0, 1). Received: label_smoothing={label_smoothing}")
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.label_smoothing = float(label_smoothing)

    def call(self, y_true, y_pred):
        labels = keras.ops.reshape(keras.ops.cast(y_true, "int32"), (-1,))
        one_hot = keras.ops.one_hot(labels, y_pred.shape[-1], dtype=y_pred.dtype)
        return keras.losses.categorical_crossentropy(
            one_hot, y_pred, from_logits=True, label_smoothing=self.label_smoothing
        )

    def get_config(self):
        return {**super().get_config(), "label_smoothing": self.label_smoothing}
