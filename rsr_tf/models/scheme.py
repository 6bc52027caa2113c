"""What methods other than RSR change in the layers of a network."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Scheme:
    """What a method changes in the layers of a network, besides weight noise and lasso; by default nothing.

    Args:
        activation: activation of the hidden layers, as Keras takes it. Defaults to `"relu"`.
        orthogonality: beta of the penalty of Defensive Quantization on every kernel, see
            `rsr_tf.layers.Orthogonality`. Defaults to 0.
        image_noise: standard deviation of noise on the pixels, before their normalization. Defaults to 0.
        feature_noise: standard deviation of noise before every convolution but the first. Defaults to 0.

    Raises:
        ValueError: for a negative number.

    Example:
        >>> rse = rsr_tf.models.Scheme(image_noise=0.2, feature_noise=0.1)
        >>> dq = rsr_tf.models.Scheme(activation=rsr_tf.layers.QuantizedReLU(4), orthogonality=1e-4)
        >>> network = rsr_tf.models.small_cnn(noise="none", scheme=dq)
    """

    activation: str | Callable = "relu"
    orthogonality: float = 0.0
    image_noise: float = 0.0
    feature_noise: float = 0.0

    def __post_init__(self):
        for name in ("orthogonality", "image_noise", "feature_noise"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"`{name}` must not be negative. Received: {name}={getattr(self, name)}")
