import keras
import numpy as np
import pytest
from conftest import compiled, tiny_network

import rsr_tf
from rsr_tf import pruning
from rsr_tf.layers import noisy_layers

HAND_MADE = np.array([[0.5, -0.1, 0.0], [-0.3, 0.2, 0.4]])


def network_of(*kernels):
    """A chain of dense layers with given kernels."""
    inputs = x = keras.Input((kernels[0].shape[0],))
    layers = [rsr_tf.NoisyDense(kernel.shape[1], use_bias=False, name=f"dense{i}") for i, kernel in enumerate(kernels)]
    for layer in layers:
        x = layer(x)
    for layer, kernel in zip(layers, kernels, strict=True):
        layer.kernel.assign(kernel)
    return keras.Model(inputs, x)


def masks(model):
    return [np.array(layer.mask) for layer in noisy_layers(model)]


# The pure functions, by hand


@pytest.mark.parametrize(
    ("gamma", "expected"),
    [
        (0.0, [[1, 1, 0], [1, 1, 1]]),  # what is zero already goes: it must lose its noise
        (0.2, [[1, 0, 0], [1, 1, 1]]),  # |w| < gamma goes, |w| = gamma stays
        (0.35, [[1, 0, 0], [0, 0, 1]]),
        (9.0, [[1, 0, 0], [0, 0, 0]]),  # the largest survives any gamma
        (np.inf, [[1, 0, 0], [0, 0, 0]]),
    ],
)
def test_threshold_mask_by_hand(gamma, expected):
    np.testing.assert_array_equal(pruning.threshold_mask(HAND_MADE, gamma), np.array(expected, bool))


def test_all_zero_kernel_keeps_one_weight():
    np.testing.assert_array_equal(pruning.threshold_mask(np.zeros((2, 2)), 0.0), [[True, False], [False, False]])


def test_equal_weights_live_or_die_together():
    kernel = np.full((2, 3), -0.5)
    assert pruning.threshold_mask(kernel, 0.5).all()
    assert pruning.threshold_mask(kernel, 0.51).sum() == 1


@pytest.mark.parametrize(
    ("sparsity", "gamma"),
    [(0.0, 0.0), (1 / 6, 0.1), (0.5, 0.3), (5 / 6, 0.5), (1.0, np.inf)],
)
def test_gamma_is_the_smallest_surviving_magnitude(sparsity, gamma):
    assert pruning.gamma_for_sparsity(np.abs(HAND_MADE), sparsity) == gamma


def test_ties_never_prune_more_than_was_wanted():
    magnitudes = np.array([0.1, 0.2, 0.2, 0.2, 0.3])
    gamma = pruning.gamma_for_sparsity(magnitudes, 0.4)
    assert gamma == 0.2
    assert (magnitudes < gamma).sum() == 1


# On a network


def test_prune_by_gamma_against_hand_made_kernels():
    model = network_of(HAND_MADE, np.array([[0.15, 0.25], [1.0, -0.05], [0.21, 0.0]]))
    rsr_tf.prune(model, gamma=0.2)
    first, second = (np.array(layer.kernel) for layer in noisy_layers(model)[::1])
    kernels = {kernel.shape: kernel for kernel in (first, second)}
    np.testing.assert_allclose(kernels[2, 3], [[0.5, 0, 0], [-0.3, 0.2, 0.4]], atol=1e-7)
    np.testing.assert_allclose(kernels[3, 2], [[0, 0.25], [1.0, 0], [0.21, 0]], atol=1e-7)
    for layer in noisy_layers(model):
        np.testing.assert_array_equal(layer.mask, np.array(layer.kernel) != 0)


def test_global_scope_compares_all_layers_and_layer_scope_each():
    small, large = np.full((2, 2), 0.1) * [[1, 2], [3, 4]], np.full((2, 2), 1.0) * [[1, 2], [3, 4]]
    model = network_of(small, large)
    rsr_tf.prune(model, sparsity=0.5)
    assert sorted(int(mask.sum()) for mask in masks(model)) == [1, 4]  # the small layer keeps its one weight
    model = network_of(small, large)
    gammas = rsr_tf.prune(model, sparsity=0.5, scope="layer")
    assert [int(mask.sum()) for mask in masks(model)] == [2, 2]
    assert sorted(gammas.values()) == pytest.approx([0.3, 3.0])


@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.6, 0.9])
def test_wanted_sparsity_is_reached(sparsity):
    model = rsr_tf.models.resnet20()
    rsr_tf.prune(model, sparsity=sparsity)
    assert rsr_tf.sparsity(model) == pytest.approx(sparsity, abs=1e-5)


@pytest.mark.parametrize("options", [{"sparsity": 1.0}, {"gamma": 1e9}])
def test_everything_pruned_keeps_one_weight_a_layer(options):
    model = rsr_tf.models.small_cnn()
    rsr_tf.prune(model, **options)
    assert [int(mask.sum()) for mask in masks(model)] == [1, 1, 1, 1]


def test_equal_weights_survive_a_wanted_sparsity_together():
    model = network_of(np.full((4, 5), 0.5))
    rsr_tf.prune(model, sparsity=0.5)
    assert rsr_tf.sparsity(model) == 0


def test_pruning_again_only_adds_zeros():
    model = network_of(np.random.default_rng(0).normal(size=(20, 20)))
    rsr_tf.prune(model, sparsity=0.6)
    before = masks(model)[0]
    rsr_tf.prune(model, sparsity=0.3)
    np.testing.assert_array_equal(masks(model)[0], before)
    rsr_tf.prune(model, sparsity=0.8)
    assert rsr_tf.sparsity(model) == pytest.approx(0.8)
    assert not np.any(masks(model)[0] & ~before)


def test_callback_prunes_at_the_end_of_its_epoch_and_the_mask_holds(images, labels):
    model = compiled(tiny_network(), keras.optimizers.SGD(0.1, momentum=0.9))
    seen = []
    watch = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(rsr_tf.sparsity(model)))
    callback = rsr_tf.PruningCallback(sparsity=0.5, epoch=1)
    model.fit(images, labels, epochs=4, verbose=0, callbacks=[callback, watch])
    assert seen == [0.0, *[pytest.approx(0.5, abs=0.005)] * 3]


def test_table_counts_exact_zeros_of_every_kernel():
    model = network_of(np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([[3.0, 4.0, 0.1], [0.1, 0.1, 0.1]]))
    rsr_tf.prune(model, gamma=0.5)
    table = rsr_tf.sparsity_table(model)
    rows = {row.path: (row.shape, row.weights, row.zeros, row.sparsity) for row in table}
    assert rows == {"dense0": ((2, 2), 4, 2, 0.5), "dense1": ((2, 3), 6, 4, 4 / 6)}
    assert (table.weights, table.zeros, table.sparsity) == (10, 6, 0.6)
    assert str(table).splitlines()[-1].split() == ["total", "10", "6", "60.00%"]


def test_stripped_network_has_the_same_sparsity():
    model = rsr_tf.models.small_cnn()
    rsr_tf.prune(model, sparsity=0.7)
    assert rsr_tf.sparsity(rsr_tf.strip(model)) == rsr_tf.sparsity(model) > 0.69


def test_nested_models_with_layers_of_one_name_are_pruned_each(images):
    def branch(scale):
        inputs = keras.Input((4,))
        layer = rsr_tf.NoisyDense(4, name="same")
        model = keras.Model(inputs, layer(inputs), name=f"branch{scale}")
        layer.kernel.assign(scale * np.arange(1.0, 17).reshape(4, 4))
        return model

    inputs = keras.Input((4,))
    model = keras.Model(inputs, branch(100)(branch(1)(inputs)))
    before = [np.array(layer.kernel) for layer in noisy_layers(model)]
    gammas = rsr_tf.prune(model, sparsity=0.0)
    for layer, kernel in zip(noisy_layers(model), before, strict=True):
        np.testing.assert_array_equal(layer.kernel, kernel)
    assert sorted(gammas) == ["same", "same#2"]
    assert rsr_tf.sparsity_table(model).weights == 32


# Mistakes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "exactly one of `sparsity` and `gamma`. Received: sparsity=None, gamma=None"),
        ({"sparsity": 0.5, "gamma": 0.1}, "exactly one of `sparsity` and `gamma`. Received: sparsity=0.5, gamma=0.1"),
        ({"sparsity": 1.5}, r"`sparsity` must be in \[0, 1\]. Received: sparsity=1.5"),
        ({"gamma": -1}, "`gamma` must not be negative. Received: gamma=-1"),
        ({"sparsity": 0.5, "scope": "block"}, "`scope` must be one of .* Received: scope='block'"),
    ],
)
@pytest.mark.parametrize(
    "function", [lambda **options: rsr_tf.prune(tiny_network(), **options), rsr_tf.PruningCallback]
)
def test_impossible_targets_are_refused(function, options, message):
    with pytest.raises(ValueError, match=message):
        function(**options)


def test_network_without_noisy_layers_is_refused_with_the_way_out():
    with pytest.raises(ValueError, match=r"must have noisy layers to prune; `rsr_tf.add_noise"):
        rsr_tf.prune(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]), sparsity=0.5)


def test_weight_that_is_no_number_is_refused_and_nothing_pruned():
    model = network_of(HAND_MADE, np.full((3, 2), np.nan))
    with pytest.raises(ValueError, match=r"layer `dense1` must be numbers to be pruned. Received: NaN"):
        rsr_tf.prune(model, gamma=0.3)
    assert all(mask.all() for mask in masks(model))
