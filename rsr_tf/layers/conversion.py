"""Convert a network between stock Keras layers and noisy ones."""

import logging

import keras

from rsr_tf.keras_internals import nested_layers
from rsr_tf.layers.conv_block import NoisyConvBlock
from rsr_tf.layers.copying import copy_model
from rsr_tf.layers.feature_noise import FeatureNoise
from rsr_tf.layers.kernels import draws_noise, layers_of, noisy_layers, unpruned_layers
from rsr_tf.layers.noise import check_kind
from rsr_tf.layers.noisy_layer import FRESH, WeightNoise, draw_from_system
from rsr_tf.layers.registry import (
    NOISY_COUNTERPARTS,
    check_functional,
    clone_layer,
    is_convertible,
    live_config,
    stock_class,
)
from rsr_tf.layers.regularizers import sparsity_penalty

log = logging.getLogger(__name__)

NOISY_ONLY = ("noise", "noise_scale", "seed")
STOCK_ONLY = ("lora_rank", "lora_alpha", "quantization_config")
"""Config keys that noisy layers have and stock layers do not, and the other way round."""


def add_noise(model, kind="channel", *, lasso=None, group_lasso=0.0, noise_scale=0.25):
    """Copy a functional or Sequential model, with conv and dense layers that are noisy (Eq. 4) and can be pruned.

    All convolutions of Keras are converted: plain, transposed, depthwise and separable, in 1, 2 and 3 dimensions,
    grouped or dilated. Weights and masks are kept. Other layers are copied, and a warning is logged with the names of
    those that have weights (see `rsr_tf.unpruned_layers`). The result computes the same function as `model`, plus
    noise. A shared layer stays shared: it has one mask, and draws new noise at each call.

    Args:
        model: a built functional or Sequential Keras model, stock or pruned.
        kind: granularity of the noise: `"channel"` (as in the paper), `"layer"`, `"element"`, or `"none"` for layers
            that can be pruned but draw no noise. Defaults to `"channel"`.
        lasso: non-negative number, lambda of Eq. 6: an L1 regularizer on every converted kernel, which replaces an
            existing regularizer. Defaults to `None`, which keeps the regularizers.
        group_lasso: non-negative number, lambda of the lasso over whole filters of the convolutions (depthwise ones
            aside, whose filters are single channels), beside the lasso; see `rsr_tf.GroupLasso`. Defaults to 0.
        noise_scale: non-negative number, initial value of `alpha`. Defaults to 0.25.

    Returns:
        A functional `keras.Model`.

    Raises:
        ValueError: if `model` is subclassed or already noisy, `kind` is unknown, or `lasso`, `group_lasso` or
            `noise_scale` is negative.

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
        >>> noisy = rsr_tf.add_noise(model, kind="channel", lasso=5e-5)
        >>> type(noisy.layers[-1]).__name__, tuple(noisy.layers[-1].alpha.shape)
        ('NoisyDense', (4,))
    """
    check_kind(kind, name="kind")
    for name, value in (("lasso", lasso or 0), ("group_lasso", group_lasso), ("noise_scale", noise_scale)):
        if not value >= 0:
            raise ValueError(f"`{name}` must not be negative. Received: {name}={value}")
    check_functional(model)
    if any(layer.noise != "none" for layer in noisy_layers(model)):
        raise ValueError(
            "`model` must be without noise; to change its noise, use `add_noise(strip(model), ...)`. "
            f"Received: noisy model {model.name!r}"
        )
    changes = {"noise": kind, "noise_scale": noise_scale}

    def convert(layer):
        if isinstance(layer, NoisyConvBlock | WeightNoise):
            cls, roles = type(layer), getattr(layer, "kernel_roles", WeightNoise.kernel_roles)
        elif is_convertible(layer):
            cls = NOISY_COUNTERPARTS[type(layer)]
            roles = cls.kernel_roles
        else:
            return [(layer, clone_layer(layer))]
        config = {key: value for key, value in live_config(layer).items() if key not in STOCK_ONLY}
        if lasso is not None or group_lasso:
            group = 0 if issubclass(cls, keras.layers.Dense) else group_lasso
            config.update((role.regularizer, sparsity_penalty(lasso or 0, group, role.filter_axes)) for role in roles)
        return [(layer, cls.from_config({**config, **changes}))]

    unchanged = unpruned_layers(model)
    if unchanged:
        names = ", ".join(f"{layer.name} ({type(layer).__name__})" for layer in unchanged)
        log.warning("layers that stay without noise and cannot be pruned: %s", names)
    return copy_model(model, convert)


def strip(model, *, fold=False):
    """Copy a network with stock Keras layers only and no noise ("without inference noise" in Table 5).

    Pruned weights are zero in the copy. It can be loaded without this package. In place of a `FeatureNoise` stands a
    `keras.layers.Identity` of the same name. Layers inside a layer of another class, such as `TimeDistributed`, stay as
    they are, and must draw no noise.

    Args:
        model: a built functional or Sequential model, `RSRModel` included.
        fold: bool, whether to fold the normalization of every `NoisyConvBlock` into the kernel and a bias. This
            computes the same function at inference, about twice as fast on a CPU. Defaults to `False`, which keeps
            `BatchNormalization` layers.

    Returns:
        A functional `keras.Model` with the same inputs, outputs and names, not compiled.

    Raises:
        ValueError: if `model` is subclassed, or has noise inside a layer that is no model.

    Example:
        >>> stripped = rsr_tf.strip(rsr_tf.models.small_cnn(), fold=True)
        >>> type(stripped.layers[-1]).__name__
        'Dense'
        >>> stripped.count_params()
        28714
    """

    def convert(layer):
        if isinstance(layer, NoisyConvBlock):
            activation = keras.layers.Activation(
                layer.activation, dtype=layer.dtype_policy, name=f"{layer.name}_activation"
            )
            if fold:
                return [(layer, _stock(layer.convolution, layer.name, use_bias=True)), (None, activation)]
            return [
                (layer.convolution, _stock(layer.convolution, layer.name)),
                (layer.normalization, clone_layer(layer.normalization, name=f"{layer.name}_normalization")),
                (None, activation),
            ]
        if isinstance(layer, WeightNoise):
            return [(layer, _stock(layer, layer.name))]
        if isinstance(layer, FeatureNoise):
            return [(None, keras.layers.Identity(name=layer.name, dtype=layer.dtype_policy.name))]
        return [(layer, clone_layer(layer))]

    _refuse(enclosed_noise(model))
    return copy_model(model, convert)


def without_weight_noise(model):
    """Copy a network whose layers draw no noise for their weights; masks and `FeatureNoise` are kept.

    Args:
        model: a built functional or Sequential model, `RSRModel` included.

    Returns:
        A functional `keras.Model`, not compiled.

    Raises:
        ValueError: if `model` is subclassed, or has noisy weights inside a layer that is no model.
    """

    def convert(layer):
        changes = {"noise": "none"} if isinstance(layer, NoisyConvBlock | WeightNoise) else {}
        return [(layer, clone_layer(layer, **changes))]

    _refuse([layer for layer in enclosed_noise(model) if isinstance(layer, WeightNoise)])
    return copy_model(model, convert)


def with_fresh_noise(model, source=FRESH):
    """Copy a network with noise from the operating system, whatever its seed was; for export.

    Args:
        model: a built functional or Sequential model, `RSRModel` included.
        source: `"fresh"` for noise that nobody can foresee, or `"tflite"` for the weaker noise that TFLite can draw.
            Defaults to `"fresh"`.

    Returns:
        A functional `keras.Model`, not compiled.

    Raises:
        ValueError: if `model` is subclassed.
    """

    def convert(layer):
        if isinstance(layer, NoisyConvBlock | WeightNoise | FeatureNoise):
            return [(layer, clone_layer(layer, seed=source))]
        return [(layer, clone_layer(layer))]

    copy = copy_model(model, convert)
    for layer in nested_layers(copy):  # the config of a layer of another class does not tell of those inside it
        if isinstance(layer, WeightNoise | FeatureNoise):
            draw_from_system(layer, source)
    return copy


def enclosed_noise(model):
    """List the layers that draw noise inside a layer of another class, where conversions cannot replace them.

    Args:
        model: a built functional or Sequential model.

    Returns:
        A list of `WeightNoise` and `FeatureNoise` layers, each once.

    Raises:
        ValueError: if `model` is subclassed.
    """
    check_functional(model)
    noisy = NoisyConvBlock | WeightNoise | FeatureNoise
    others = [layer for layer in layers_of(model) if not isinstance(layer, noisy)]
    inside = [one for layer in others for one in nested_layers(layer, include_self=False)]
    found = [one for one in inside if isinstance(one, WeightNoise | FeatureNoise) and draws_noise(one)]
    return list(dict.fromkeys(found))


def _refuse(enclosed):
    """Raise `ValueError` if there is a layer whose noise cannot be removed."""
    if enclosed:
        names = ", ".join(f"{layer.path} ({type(layer).__name__})" for layer in enclosed)
        raise ValueError(
            "`model` has noise inside layers of other classes, where it cannot be removed. Build such a layer as a "
            "functional model, or without noise inside: `noise='none'`, or `std=0` of a `FeatureNoise`. "
            f"Received: noise in {names}"
        )


def in_float32(model):
    """Copy a network so that it computes in float32, whatever its dtype policy is.

    bfloat16 rounds away small differences between pixels, which black-box attacks depend on.

    Args:
        model: a built functional or Sequential model, `RSRModel` included.

    Returns:
        A functional `keras.Model`, not compiled.

    Raises:
        ValueError: if `model` is subclassed.
    """

    def convert(layer):
        new = clone_layer(layer)
        for one in nested_layers(new):
            if "float" in one.compute_dtype:  # not that of words and whole numbers
                one.dtype_policy = "float32"
        return [(layer, new)]

    return copy_model(model, convert)


def _stock(layer, name, **changes):
    """Create the stock counterpart of a noisy layer, with changes to its config; without constraints of this package.

    Without the mask a constraint would act on pruned weights, and a file with it needs this package.
    """
    config = {key: value for key, value in live_config(layer).items() if key not in NOISY_ONLY}
    config.update((key, None) for key in config if key.endswith("_constraint") and _is_own(config[key]))
    return stock_class(layer).from_config({**config, "name": name, **changes})


def _is_own(serialized):
    """Return whether a serialized object is of a class of this package."""
    return isinstance(serialized, dict) and str(serialized.get("registered_name")).startswith("rsr_tf>")
