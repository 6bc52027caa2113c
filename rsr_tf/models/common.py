"""Parts that all networks share: normalization of the pixels, noisy layers with their penalties, scaled widths."""

import keras

from rsr_tf.layers import FeatureNoise, GroupLasso, NoisyConvBlock, NoisyDense, Orthogonality
from rsr_tf.models.scheme import Scheme

CIFAR10_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR10_STD = (0.2470, 0.2435, 0.2616)
"""Mean and standard deviation of the pixels of CIFAR-10's training images, per channel."""


class Parts:
    """The layers of which a network is made, with noise, penalties and scheme already set.

    Args:
        noise, noise_scale: as in `rsr_tf.layers.NoisyConv2D`.
        lasso: non-negative number, lambda of Eq. 6 for every kernel.
        group_lasso: non-negative number, lambda of the lasso over the filters of the convolutions.
        scheme: a `Scheme`, or `None` for none.

    Raises:
        ValueError: if `lasso` or `group_lasso` is negative, or `group_lasso` is combined with orthogonality.
    """

    def __init__(self, noise, noise_scale, lasso, group_lasso, scheme):
        for name, value in (("lasso", lasso), ("group_lasso", group_lasso)):
            if not value >= 0:
                raise ValueError(f"`{name}` must not be negative. Received: {name}={value}")
        self.scheme = scheme or Scheme()
        if group_lasso and self.scheme.orthogonality:
            raise ValueError(
                "`group_lasso` must be 0 with `orthogonality`, which wants no filter to be zero. "
                f"Received: group_lasso={group_lasso}"
            )
        self.dense_penalty = _penalty(lasso, self.scheme.orthogonality)
        self.penalty = GroupLasso(group_lasso, l1=lasso) if group_lasso else self.dense_penalty
        self.noise = {"noise": noise, "noise_scale": noise_scale}
        self.images = None

    def input(self, input_shape, mean, std):
        """Create the input of a network and its normalization.

        Normalization is a layer without weights inside the network, so that attacks act on pixels in [0,1] (Section
        4.1).

        Args:
            input_shape: `(h, w, channels)`.
            mean, std: mean and standard deviation of the pixels, a number or one per channel.

        Returns:
            A tuple `(inputs, normalized)` of symbolic tensors.
        """
        inputs = x = keras.Input(tuple(input_shape), name="pixels")
        if self.scheme.image_noise:
            x = FeatureNoise(self.scheme.image_noise, dtype="float32", name="image_noise")(x)
        variance = [deviation**2 for deviation in _per_channel(std, input_shape[-1])]
        normalize = keras.layers.Normalization(
            mean=_per_channel(mean, input_shape[-1]), variance=variance, dtype="float32", name="normalize"
        )
        self.images = normalize(x)
        return inputs, self.images

    def block(self, x, *args, name, layer=NoisyConvBlock, activation=True, **kwargs):
        """Apply a convolution block, and the noise of the scheme before it.

        Args:
            x: symbolic tensor.
            *args, **kwargs: for `layer`.
            name: string, name of the layer.
            layer: class of the layer. Defaults to `NoisyConvBlock`.
            activation: whether the block ends with the activation of the scheme. Defaults to `True`.
        """
        if self.scheme.feature_noise and x is not self.images:
            x = FeatureNoise(self.scheme.feature_noise, name=f"{name}_noise")(x)
        options = {"activation": self.scheme.activation} if activation else {}
        return layer(*args, kernel_regularizer=self.penalty, name=name, **options, **self.noise, **kwargs)(x)

    def dense(self, x, units, *, name, **kwargs):
        """Apply a dense layer, with float32 outputs unless told otherwise.

        Args:
            x, units, name, **kwargs: as for `NoisyDense`.
        """
        options = {"dtype": "float32", "kernel_regularizer": self.dense_penalty, **self.noise, **kwargs}
        return NoisyDense(units, name=name, **options)(x)

    def activation(self, x, name):
        """Apply the activation of the scheme as a layer of its own."""
        if self.scheme.activation == "relu":
            return keras.layers.ReLU(name=name)(x)
        return keras.layers.Activation(self.scheme.activation, name=name)(x)


def _penalty(lasso, orthogonality):
    if orthogonality:
        return Orthogonality(orthogonality, l1=lasso)
    return keras.regularizers.L1(lasso) if lasso else None


def _per_channel(value, channels):
    return [float(value)] * channels if isinstance(value, int | float) else [float(entry) for entry in value]


def scaled(filters, width):
    """Return a number of filters times `width`, rounded, at least 1; raise `ValueError` for a `width` of 0 or less."""
    if not width > 0:
        raise ValueError(f"`width` must be positive. Received: width={width}")
    return max(1, round(filters * width))
