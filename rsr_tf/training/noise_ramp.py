"""Training that begins with little noise on pixels or features (PixelDP, Lecuyer et al. 2019)."""

import keras

from rsr_tf.layers import feature_noises


def noise_ramp(step, *, decay=0.99975, start=0.1):
    """Return the share of the noise at a step of training.

        s = 1 - decay^t, but at least start, and 1 as soon as decay^t falls to start

    Args:
        step: non-negative integer t, number of optimizer updates so far.
        decay: number in (0, 1). Defaults to 0.99975, as in PixelDP's implementation.
        start: number in (0, 1). Defaults to 0.1, as there; the noise is then whole from step 9,210.

    Returns:
        A float in [start, 1].

    Example:
        >>> from rsr_tf.training.noise_ramp import noise_ramp
        >>> [round(noise_ramp(step), 3) for step in (0, 2000, 9209, 9210)]
        [0.1, 0.393, 0.9, 1.0]
    """
    missing = decay**step
    return 1.0 if missing <= start else max(start, 1 - missing)


class NoiseRamp(keras.callbacks.Callback):
    """Sets `ramp` of every `FeatureNoise` of a model before each batch, and to 1 at the end of training.

    The step is that of the optimizer, so a resumed training goes on where it was.

    Args:
        decay, start: as for `noise_ramp`.

    Raises:
        ValueError: if `decay` or `start` is not in (0, 1).
    """

    def __init__(self, decay=0.99975, start=0.1):
        super().__init__()
        for name, value in (("decay", decay), ("start", start)):
            if not 0 < value < 1:
                raise ValueError(f"`{name}` must be in (0, 1). Received: {name}={value}")
        self.decay = decay
        self.start = start

    def on_train_batch_begin(self, batch, logs=None):
        step = int(keras.ops.convert_to_numpy(self.model.optimizer.iterations))  # also of several devices
        self._assign(noise_ramp(step, decay=self.decay, start=self.start))

    def on_train_end(self, logs=None):
        self._assign(1.0)

    def _assign(self, share):
        for layer in feature_noises(self.model):
            layer.ramp.assign(share)
