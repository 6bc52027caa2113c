import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

import rsr_tf
from rsr_tf.layers.registry import (
    NOISY_COUNTERPARTS,
    check_functional,
    clone_layer,
    copy_vocabularies,
    inputs_and_outputs,
    is_convertible,
    is_functional,
    kernel_roles,
    stock_class,
)


def test_all_convolutions_of_keras_and_dense_have_a_counterpart():
    convolutions = {cls for name, cls in vars(keras.layers).items() if "Conv" in name and "LSTM" not in name}
    assert set(NOISY_COUNTERPARTS) == convolutions | {keras.layers.Dense}


@pytest.mark.parametrize("stock", NOISY_COUNTERPARTS)
def test_counterpart_extends_its_stock_layer_and_is_registered(stock):
    noisy = NOISY_COUNTERPARTS[stock]
    assert issubclass(noisy, stock)
    assert noisy.__name__ == f"Noisy{stock.__name__}"
    assert keras.saving.get_registered_object(f"rsr_tf>{noisy.__name__}") is noisy
    sizes = (2,) if "Dense" in stock.__name__ or "Depthwise" in stock.__name__ else (2, 3)
    assert stock_class(noisy(*sizes)) is stock


def test_roles_of_a_stock_layer_are_those_of_its_counterpart():
    names = [role.name for role in kernel_roles(keras.layers.SeparableConv2D(2, 2))]
    assert names == ["depthwise_kernel", "pointwise_kernel"]
    assert [role.attribute("mask") for role in kernel_roles(rsr_tf.NoisySeparableConv2D(2, 2))] == [
        "depthwise_mask",
        "pointwise_mask",
    ]
    assert kernel_roles(keras.layers.Dense(2))[0].attribute("mask") == "mask"


def test_only_built_layers_of_the_exact_stock_class_are_convertible():
    class Own(keras.layers.Dense):
        pass

    layers = [keras.layers.Dense(2), keras.layers.Dense(2), Own(2), keras.layers.ReLU(), rsr_tf.NoisyDense(2)]
    for layer in layers[1:]:
        layer.build((None, 3))
    assert [is_convertible(layer) for layer in layers] == [False, True, False, False, False]


def test_clone_has_the_config_with_changes_and_its_own_weights():
    layer = keras.layers.Dense(3, activation="relu", name="dense")
    layer.build((None, 2))
    clone = clone_layer(layer, units=5, name="other")
    assert (type(clone), clone.built) == (keras.layers.Dense, False)
    assert clone.get_config() == {**layer.get_config(), "units": 5, "name": "other"}


def test_python_lambda_is_cloned():
    clone = clone_layer(keras.layers.Lambda(lambda x: 2 * x))
    np.testing.assert_array_equal(clone(np.ones(3, "float32")), [2, 2, 2])


def test_functional_means_built_functional_or_sequential():
    class Own(keras.Model):
        pass

    inputs = keras.Input((2,))
    functional = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    sequential = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    models = [functional, sequential, keras.Sequential([keras.layers.Dense(1)]), Own(), keras.layers.Dense(1)]
    assert [is_functional(model) for model in models] == [True, True, False, False, False]
    check_functional(functional)
    with pytest.raises(ValueError, match=r"`model` must be a built functional or Sequential .* Received: Dense"):
        check_functional(models[-1])


def test_inputs_and_outputs_keep_their_structure_but_a_list_of_one():
    a, b = keras.Input((2,), name="a"), keras.Input((2,), name="b")
    total = keras.layers.Add()([a, b])
    assert inputs_and_outputs(keras.Model({"a": a, "b": b}, [total])) == ({"a": a, "b": b}, total)
    sequential = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    assert inputs_and_outputs(sequential) == (sequential.inputs[0], sequential.outputs[0])


SCALE = 3.0


def scaled(x):
    return x * SCALE


def shape_of_scaled(shape):
    return tuple(shape)


def mask_of_scaled(inputs, mask=None):
    return mask


class Scaling:
    def __call__(self, x):
        return x * SCALE


LAMBDAS = {
    "python lambda": lambda: keras.layers.Lambda(lambda x: x * SCALE),
    "named function": lambda: keras.layers.Lambda(scaled),
    "shape and mask by functions": lambda: keras.layers.Lambda(
        lambda x: x * SCALE, output_shape=shape_of_scaled, mask=mask_of_scaled
    ),
    "arguments": lambda: keras.layers.Lambda(lambda x, factor: tf.nn.relu(x) * factor, arguments={"factor": SCALE}),
    "partial": lambda: keras.layers.Lambda(functools.partial(lambda x, factor: x * factor, factor=SCALE)),
    "callable object": lambda: keras.layers.Lambda(Scaling()),
    "wrapped": lambda: keras.layers.TimeDistributed(keras.layers.Lambda(scaled)),
    "activation": lambda: keras.layers.Activation(lambda x: x * SCALE),
    "activation of a layer": lambda: keras.layers.Dense(4, kernel_initializer="identity", activation=scaled),
}


@pytest.mark.parametrize("name", LAMBDAS)
def test_clone_runs_the_very_functions_of_its_layer(name):
    """They refer to globals, which a function that Keras describes and reads back has lost."""
    x = np.arange(24, dtype="float32").reshape(2, 3, 4)
    layer = LAMBDAS[name]()
    clone = clone_layer(layer, name="clone")
    assert clone.name == "clone"
    for one in (layer, clone):
        np.testing.assert_array_equal(one(x), SCALE * x)


def test_clone_of_a_lambda_has_the_same_function_shape_mask_and_arguments():
    layer = keras.layers.Lambda(scaled, output_shape=shape_of_scaled, mask=mask_of_scaled, arguments={"a": 1})
    clone = clone_layer(layer)
    assert clone.function is scaled
    assert clone.mask is mask_of_scaled
    assert clone.compute_output_shape((None, 3)) == (None, 3)
    assert (clone.arguments, clone.supports_masking) == ({"a": 1}, True)


def test_clone_of_a_class_that_builds_itself_from_descriptions():
    class Own(keras.layers.Layer):
        def __init__(self, function, **kwargs):
            super().__init__(**kwargs)
            self.function = function

        def get_config(self):
            return {**super().get_config(), "function": keras.saving.serialize_keras_object(self.function)}

        @classmethod
        def from_config(cls, config):
            return cls(keras.saving.deserialize_keras_object(config.pop("function")), **config)

    assert clone_layer(Own(keras.activations.relu)).function is keras.activations.relu


def adapted(layer, data):
    layer.adapt(data)
    return layer


WORDS = ["a b", "b c", "c d"]
LOOKUPS = {
    "StringLookup": lambda: adapted(keras.layers.StringLookup(), WORDS),
    "StringLookup, multi_hot": lambda: adapted(keras.layers.StringLookup(output_mode="multi_hot"), WORDS),
    "TextVectorization": lambda: adapted(keras.layers.TextVectorization(), WORDS),
    "TextVectorization, tf_idf": lambda: adapted(keras.layers.TextVectorization(output_mode="tf_idf"), WORDS),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LOOKUPS)
def test_clone_knows_the_words_that_its_layer_has_seen(name):
    layer, words = LOOKUPS[name](), tf.constant(["b c", "d", "unknown"])
    expected = np.array(layer(words))
    assert len(np.unique(expected)) > 1
    np.testing.assert_array_equal(clone_layer(layer)(words), expected)


def test_clone_knows_the_numbers_that_its_layer_has_seen():
    lookup = adapted(keras.layers.IntegerLookup(), [[5, 7, 9, 9]])
    assert clone_layer(lookup).get_vocabulary() == lookup.get_vocabulary() == [-1, 9, 7, 5]
    bins = adapted(keras.layers.Discretization(num_bins=4), np.arange(100.0))
    np.testing.assert_array_equal(clone_layer(bins)([10.0, 90.0]), bins([10.0, 90.0]))


def test_vocabulary_is_copied_to_a_lookup_inside_another_layer():
    class Words(keras.layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.lookup = keras.layers.StringLookup()

    source, new = Words(), Words()
    source.lookup.adapt(["a", "b"])
    copy_vocabularies(source, new)
    assert new.lookup.get_vocabulary() == source.lookup.get_vocabulary()
