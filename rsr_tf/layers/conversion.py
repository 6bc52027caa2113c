"""Between stock Keras layers and noisy ones: `add_noise` to a network of your own, `strip` the noise off again."""

import logging

import keras

from rsr_tf.keras_internals import nested_layers, own_variables
from rsr_tf.layers import (
    FRESH,
    NOISY_COUNTERPARTS,
    NoisyConvBlock,
    WeightNoise,
    check_functional,
    copied,
    inputs_and_outputs,
    is_convertible,
    noisy_layers,
    stock_class,
    unpruned_layers,
)
from rsr_tf.layers.noise import check_kind, masked_kernel

log = logging.getLogger(__name__)

NOISY_ONLY = ("noise", "noise_scale", "seed")
STOCK_ONLY = ("lora_rank", "lora_alpha", "quantization_config")
"""Entries of a layer's config that the other side does not take."""


def add_noise(model, kind="channel", *, lasso=None, noise_scale=0.25):
    """A copy of a functional or Sequential model whose conv and dense layers are noisy (Eq. 4) and can be pruned.

    Every kind of convolution that Keras has is taken: plain, transposed, depthwise and separable, in 1, 2 and 3
    dimensions, grouped or dilated. Weights and masks are kept; other layers are copied as they are, and those with
    weights among them are named in the log (see `rsr_tf.unpruned_layers`). The result computes what `model` computes,
    plus noise. A shared layer stays shared: it has one mask, and draws noise at each of its calls.

    Args:
        model: a built functional or Sequential Keras model, stock or pruned.
        kind: granularity of the noise, one of `rsr_tf.noise.KINDS`. Defaults to `"channel"`; `"none"` makes a network
            that can be pruned but draws no noise.
        lasso: lambda of Eq. 6, as L1 regularizer on every converted kernel; replaces a regularizer that is there.
            Defaults to `None`: regularizers stay as they are.
        noise_scale: start value of `alpha`. Defaults to 0.25.

    Returns:
        A functional `keras.Model`.

    Raises:
        ValueError: for a subclassed or an already noisy model, an unknown `kind`, or a negative `lasso` or
            `noise_scale`.

    Example:
        >>> noisy = add_noise(my_keras_model, kind="channel", lasso=5e-5)
    """
    check_kind(kind, name="kind")
    for name, value in (("lasso", lasso or 0), ("noise_scale", noise_scale)):
        if not value >= 0:
            raise ValueError(f"`{name}` must not be negative. Received: {name}={value}")
    check_functional(model)
    if any(layer.noise != "none" for layer in noisy_layers(model)):
        raise ValueError(
            f"`model` must not be noisy yet; `add_noise(strip(model), ...)` changes its noise. Received: {model.name!r}"
        )
    changes = {"noise": kind, "noise_scale": noise_scale}

    def convert(layer):
        if isinstance(layer, NoisyConvBlock | WeightNoise):
            cls, roles = type(layer), getattr(layer, "kernel_roles", WeightNoise.kernel_roles)
        elif is_convertible(layer):
            cls = NOISY_COUNTERPARTS[type(layer)]
            roles = cls.kernel_roles
        else:
            return [(layer, copied(layer))]
        config = {key: value for key, value in layer.get_config().items() if key not in STOCK_ONLY}
        if lasso is not None:
            config.update((role.regularizer, keras.regularizers.L1(lasso) if lasso else None) for role in roles)
        return [(layer, cls.from_config({**config, **changes}))]

    left = unpruned_layers(model)
    if left:
        names = ", ".join(f"{layer.name} ({type(layer).__name__})" for layer in left)
        log.warning("without noise, and not to be pruned: %s", names)
    return _rebuild(model, convert)


def strip(model, *, fold=False):
    """A copy of a network without noise, made of stock Keras layers alone: "without inference noise" of Table 5.

    Pruned weights are zeros in it. It loads without this package, and it is what a deterministic export is made of.

    Args:
        model: a built functional or Sequential model, `RSRModel` included.
        fold: put the normalization of every `NoisyConvBlock` into the kernel and a bias, for inference alone: the same
            function, about twice as fast on a CPU. Defaults to `False`, which keeps `BatchNormalization` layers.

    Returns:
        A functional `keras.Model` with the same inputs, outputs and names, not compiled.

    Raises:
        ValueError: for a subclassed model.

    Example:
        >>> strip(rsr_tf.models.resnet20()).save("deterministic.keras")
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
                (layer.normalization, copied(layer.normalization, name=f"{layer.name}_normalization")),
                (None, activation),
            ]
        if isinstance(layer, WeightNoise):
            return [(layer, _stock(layer, layer.name))]
        return [(layer, copied(layer))]

    return _rebuild(model, convert)


def with_fresh_noise(model):
    """A copy of a network whose noise is new in every process, whatever seed it was trained with; made for export."""

    def convert(layer):
        if isinstance(layer, NoisyConvBlock | WeightNoise):
            return [(layer, copied(layer, seed=FRESH))]
        return [(layer, copied(layer))]

    return _rebuild(model, convert)


def in_float32(model):
    """A copy of a network that computes in float32, whatever policy it was made under.

    bfloat16 rounds small differences between pixels away, and an attack that lives on them finds nothing.

    Args:
        model: a built functional or Sequential model, `RSRModel` included.

    Returns:
        A functional `keras.Model`, not compiled.

    Raises:
        ValueError: for a subclassed model.
    """
    return _rebuild(model, lambda layer: [(layer, copied(layer, **_without_policies(layer.get_config())))])


def _without_policies(config):
    """A Keras config with every dtype policy replaced by float32."""
    if isinstance(config, dict):
        if config.get("class_name") == "DTypePolicy":
            return "float32"
        return {key: _without_policies(value) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return type(config)(_without_policies(value) for value in config)
    return config


def _stock(layer, name, **changes):
    """The Keras layer that a noisy one extends, with changes to its config."""
    config = {key: value for key, value in layer.get_config().items() if key not in NOISY_ONLY}
    return stock_class(layer).from_config({**config, "name": name, **changes})


def _rebuild(model, convert):
    """Clone a model layer by layer, where one layer may become several in a row, and carry the weights over.

    Args:
        model: a functional or Sequential model, nested ones included.
        convert: function from a layer to what stands in its place: a list of `(source of the weights, new layer)`.

    Returns:
        A functional `keras.Model`.
    """
    check_functional(model)
    carried, rows = [], {}

    def clone(layer):
        pairs = convert(layer)
        carried.extend(pairs)
        new_layers = [new for _, new in pairs]
        if len(new_layers) == 1:
            return new_layers[0]
        row = keras.Sequential(new_layers, name=layer.name)
        rows[id(row)] = new_layers
        return row

    def call(layer, *args, **kwargs):
        """Lay the layers of a row side by side in a functional model; inside a Sequential one the row stays."""
        first, *rest = rows.get(id(layer), [layer])
        outputs = first(*args, **kwargs)
        for next_layer in rest:
            outputs = next_layer(outputs)
        return outputs

    plain = keras.Model(*inputs_and_outputs(model), name=model.name)
    new_model = keras.models.clone_model(plain, clone_function=clone, call_function=call, recursive=True)
    for source, new in carried:
        _carry_weights(source, new)
    return new_model


def _carry_weights(source, new):
    if not getattr(new, "weights", None):
        return
    if len(source.weights) == len(new.weights):
        new.set_weights(source.get_weights())
        if hasattr(new, "finalize_state"):  # preprocessing layers compute with constants made from their weights
            new.finalize_state()
        return
    if isinstance(source, NoisyConvBlock) and isinstance(new, keras.layers.Conv2D):
        kernel, bias = source.fold(masked_kernel(source.convolution.kernel, source.convolution.mask))
        new.kernel.assign(kernel)
        new.bias.assign(bias)
        return
    for old, one in zip(nested_layers(source), nested_layers(new), strict=True):
        values = {variable.name: variable for variable in own_variables(old)}
        if isinstance(old, WeightNoise):
            values.update((kernel.name, masked_kernel(kernel, mask)) for kernel, mask, _ in old.pruning_vars)
        for variable in own_variables(one):
            if variable.name in values:
                variable.assign(values[variable.name])
