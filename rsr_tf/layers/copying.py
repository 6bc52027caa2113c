"""Copy a functional model with some of its layers replaced; weights and frozen layers are kept."""

import keras

from rsr_tf.keras_internals import nested_layers, own_variables
from rsr_tf.layers.conv_block import NoisyConvBlock
from rsr_tf.layers.feature_noise import FeatureNoise
from rsr_tf.layers.noise import masked_kernel
from rsr_tf.layers.noisy_layer import UNSEEDED, WeightNoise, draw_from_system
from rsr_tf.layers.registry import check_functional, copy_tf_variables, inputs_and_outputs, is_functional


def copy_model(model, convert):
    """Clone a model layer by layer and copy the weights; one layer may be replaced by several in a row.

    A model of a subclass, such as `RSRModel`, becomes a plain `keras.Model`, also where it is nested in another.

    Args:
        model: a functional or Sequential model; models nested in it are copied too.
        convert: function from a layer to the list of its replacements, tuples
            `(layer to copy weights from, or None, new layer)`.

    Returns:
        A functional `keras.Model`, not compiled.
    """
    check_functional(model)
    pairs_to_copy, rows, copies = [], {}, {}

    def replaced(layer):
        pairs = convert(layer)
        pairs_to_copy.extend(pairs)
        new_layers = [new for _, new in pairs]
        if len(new_layers) == 1:
            return new_layers[0]
        row = keras.Sequential(new_layers, name=layer.name)
        rows[id(row)] = new_layers
        return row

    def clone(layer):
        """Return the copy of a layer or nested model, which is one and the same wherever it is shared."""
        if id(layer) not in copies:
            copies[id(layer)] = copy_of_network(layer) if is_functional(layer) else replaced(layer)
        return copies[id(layer)]

    def call(layer, *args, **kwargs):
        """Call the layers of a row one by one, so that a functional model contains them without a `Sequential`."""
        first, *rest = rows.get(id(layer), [layer])
        outputs = first(*args, **kwargs)
        for next_layer in rest:
            outputs = next_layer(outputs)
        return outputs

    def copy_of_network(network):
        if isinstance(network, keras.Sequential):
            return keras.models.clone_model(network, clone_function=clone)
        return copy_between(network.input, network.output, network.name)

    def copy_between(inputs, outputs, name):
        plain = keras.Model(inputs, outputs, name=name)  # without the class of the network, such as `RSRModel`
        return keras.models.clone_model(plain, clone_function=clone, call_function=call)

    new_model = copy_between(*inputs_and_outputs(model), model.name)
    for source, new in pairs_to_copy:
        _copy_weights(source, new)
        keep_inner_state(source, new)
    return new_model


def keep_inner_state(source, new):
    """Freeze the layers inside a copy that are frozen in its source, and let those with fresh noise draw it there too.

    The config of a layer tells of itself alone, and its weights tell nothing of variables of TensorFlow.

    Args:
        source: a layer.
        new: a layer built from its config; one of another class is unchanged.
    """
    if type(source) is not type(new):
        return
    copy_tf_variables(source, new)
    for old, copy in zip(nested_layers(source), nested_layers(new), strict=True):
        if copy.trainable != old.trainable:
            copy.trainable = old.trainable
        if isinstance(old, WeightNoise | FeatureNoise) and old.seed in UNSEEDED:
            draw_from_system(copy, old.seed)


def _copy_weights(source, new):
    """Copy the variables of a layer to its replacement: all of them, folded ones, or those with the same name."""
    if not getattr(new, "weights", None):
        return
    if len(source.weights) == len(new.weights):
        new.set_weights(source.get_weights())
        if hasattr(new, "finalize_state"):  # preprocessing layers derive constants from their weights
            new.finalize_state()
        return
    if isinstance(source, NoisyConvBlock) and isinstance(new, keras.layers.Conv2D):
        kernel, bias = source.fold(masked_kernel(source.convolution.kernel, source.convolution.mask))
        new.kernel.assign(kernel)
        new.bias.assign(bias)
        return
    for old, replacement in zip(nested_layers(source), nested_layers(new), strict=True):
        values = {variable.name: variable for variable in own_variables(old)}
        if isinstance(old, WeightNoise):
            values.update((kernel.name, masked_kernel(kernel, mask)) for kernel, mask, _ in old.pruning_vars)
        for variable in own_variables(replacement):
            if variable.name in values:
                variable.assign(values[variable.name])
