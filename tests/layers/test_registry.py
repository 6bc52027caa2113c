import keras
import numpy as np
import pytest

import rsr_tf
from rsr_tf.layers.registry import (
    NOISY_COUNTERPARTS,
    check_functional,
    clone_layer,
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
