import keras
import numpy as np
from helpers import tiny_network

import rsr_tf
from rsr_tf.layers import make_prunable, noisy_layers, prunable_kernels, reseed_noise
from rsr_tf.layers.kernels import by_path, layers_of


def nested_network():
    """Build a model with a layer called `dense` in it and in each of two nested models."""

    def inner(name):
        return keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, name="dense")], name=name)

    inputs = keras.Input((4,))
    x = keras.layers.Dense(4, name="dense")(inner("second")(inner("first")(inputs)))
    return keras.Model(inputs, keras.layers.LayerNormalization(name="last")(x))


def test_layers_of_nested_models_are_listed_in_order_and_once():
    model = nested_network()
    outer, first, second = model.get_layer("dense"), *(model.get_layer(name).layers[0] for name in ("first", "second"))
    found = [layer for layer in layers_of(model) if isinstance(layer, keras.layers.Dense)]
    assert [id(layer) for layer in found] == [id(first), id(second), id(outer)]
    shared = keras.Sequential([keras.Input((4,)), outer, outer])
    assert layers_of(shared) == [outer]


def test_noisy_layers_of_nested_models_are_in_the_order_of_the_model():
    model = nested_network()
    make_prunable(model)
    wanted = [layer for layer in layers_of(model) if isinstance(layer, rsr_tf.NoisyDense)]
    assert len(wanted) == 3
    assert noisy_layers(model) == wanted


def test_repeated_path_gets_a_number():
    first, second, third = (keras.layers.Dense(1, name="dense") for _ in range(3))
    other = keras.layers.Dense(1, name="other")
    for layer in (first, second, other, third):
        layer.build((None, 2))
    assert by_path([first, second, other, third]) == {
        "dense": first,
        "dense#2": second,
        "other": other,
        "dense#3": third,
    }


def test_kernel_of_a_stock_layer_has_no_mask_until_it_is_made_prunable():
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(2, name="dense")(inputs))
    kernel = prunable_kernels(model)["dense"]
    assert (kernel.mask, kernel.threshold, kernel.pruning_step, kernel.alpha) == (None,) * 4
    assert (kernel.size, kernel.filter_axes) == (6, (-1,))
    np.testing.assert_array_equal(kernel.value(), model.layers[1].kernel)
    make_prunable(model)
    np.testing.assert_array_equal(kernel.mask, np.ones((3, 2), bool))
    assert (float(kernel.threshold), int(kernel.pruning_step), kernel.alpha) == (0.0, -1, None)


def test_value_of_a_kernel_is_zero_under_the_mask():
    kernel = list(prunable_kernels(tiny_network()).values())[-1]
    mask = np.random.default_rng(0).uniform(size=kernel.kernel.shape) < 0.5
    kernel.mask.assign(mask)
    np.testing.assert_array_equal(kernel.value(), np.where(mask, kernel.kernel, 0))


def test_two_kernels_of_a_layer_have_their_names_in_the_path():
    inputs = keras.Input((4, 4, 2))
    model = keras.Model(inputs, keras.layers.SeparableConv2D(3, 2, name="separable")(inputs))
    assert list(prunable_kernels(model)) == ["separable/depthwise_kernel", "separable/pointwise_kernel"]


def test_layers_without_kernels_or_of_other_classes_are_unpruned():
    inputs = keras.Input((6,), dtype="int32")
    x = keras.layers.Embedding(20, 4, name="words")(inputs)
    x = keras.layers.LayerNormalization(name="vectors only")(x)
    x = keras.layers.TimeDistributed(keras.layers.Dense(3), name="each")(x)
    model = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(x)))
    assert [layer.name for layer in rsr_tf.unpruned_layers(model)] == ["words", "each"]


def test_reseeding_repeats_the_noise_and_another_seed_changes_it(noisy_model, images):
    def draws(seed):
        reseed_noise(noisy_model, seed)
        return [noisy_model(images).numpy() for _ in range(2)]

    (first, second), again, other = draws(0), draws(0), draws(1)
    np.testing.assert_array_equal([first, second], again)
    assert not np.allclose(first, second)
    assert not np.allclose(first, other[0])


def test_reseeded_layers_do_not_share_a_seed(noisy_model):
    reseed_noise(noisy_model, 0)
    states = {tuple(np.array(layer.seed_generator.state)) for layer in noisy_layers(noisy_model)}
    assert len(states) == len(noisy_layers(noisy_model)) == 3
