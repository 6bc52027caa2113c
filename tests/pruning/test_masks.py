"""A pruned weight is exactly zero, in the variable and in the forward pass, whatever `fit` does with it."""

import keras
import numpy as np
import pytest
from helpers import compiled, tiny_network

import rsr_tf
from rsr_tf.layers import make_prunable, noisy_layers, prunable_kernels

optimizers = keras.optimizers
TRAININGS = {
    "momentum, decay and clipnorm": lambda: optimizers.SGD(
        0.1, momentum=0.9, nesterov=True, weight_decay=0.1, clipnorm=1.0
    ),
    "Adam and global_clipnorm": lambda: optimizers.Adam(0.1, global_clipnorm=1.0),
    "AdamW": lambda: optimizers.AdamW(0.1, weight_decay=0.1),
    "gradient accumulation": lambda: optimizers.Adam(0.1, gradient_accumulation_steps=2),
    "average at the end": lambda: optimizers.SGD(0.1, momentum=0.9, use_ema=True),
    "average again and again": lambda: optimizers.Adam(0.1, use_ema=True, ema_overwrite_frequency=2),
    "Ftrl": lambda: optimizers.Ftrl(0.1, use_ema=True),
}


def stock_network(filters=3):
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(filters, 3, strides=2, activation="relu", kernel_regularizer="l2")(inputs)
    x = keras.layers.Flatten()(x)
    return keras.Model(inputs, keras.layers.Dense(10, dtype="float32", kernel_regularizer="l1")(x))


def noisy_network(filters=3):
    noisy = rsr_tf.add_noise(stock_network(filters))
    return rsr_tf.RSRModel(noisy.inputs, noisy.outputs, attack=None)


@pytest.fixture(params=[stock_network, noisy_network], ids=["stock", "noisy"])
def build(request):
    return request.param


@pytest.fixture
def train(images, labels):
    return lambda model, epochs=1: model.fit(images, labels, batch_size=4, epochs=epochs, verbose=0, shuffle=False)


def masks(model):
    return [np.array(kernel.mask) for kernel in prunable_kernels(model).values()]


def assert_zero(model, masks):
    """Every bit of a pruned weight is 0, in the variable and in the kernel of the forward pass."""
    assert 0.4 < 1 - np.mean(np.concatenate([mask.ravel() for mask in masks])) < 0.6
    for layer, mask in zip(noisy_layers(model), masks, strict=True):
        for kernel in (layer.kernel, layer.sample_kernel()):
            assert not np.any(np.array(kernel).view("uint32")[~mask])
        assert np.all(np.array(layer.kernel)[mask] != 0)


@pytest.mark.slow
@pytest.mark.parametrize("training", TRAININGS)
def test_no_training_revives_a_pruned_weight(build, training, train):
    model = compiled(build(), TRAININGS[training]())
    train(model)  # gives the optimizer momenta and averages to revive weights with
    rsr_tf.prune(model, sparsity=0.5)
    pruned = masks(model)
    train(model)
    assert_zero(model, pruned)


@pytest.mark.slow
@pytest.mark.parametrize("training", ["momentum, decay and clipnorm", "average at the end", "average again and again"])
def test_removed_filters_stay_zero_too(training, train):
    model = compiled(noisy_network(filters=4), TRAININGS[training]())
    train(model)
    rsr_tf.prune_filters(model, share=0.5)
    pruned = masks(model)
    assert {int(kernel.pruning_step) for kernel in prunable_kernels(model).values()} == {4}
    train(model)
    assert_zero(model, pruned)


@pytest.mark.slow
def test_mask_from_elsewhere_holds_against_momentum_too(build, train):
    """Nobody tells the optimizer of such a mask; the constraint of the kernel alone stands in its way."""
    model = compiled(build(), optimizers.SGD(0.1, momentum=0.9, weight_decay=0.1))
    make_prunable(model)
    train(model)
    pruned = [np.random.default_rng(0).uniform(size=layer.mask.shape) < 0.5 for layer in noisy_layers(model)]
    for layer, mask in zip(noisy_layers(model), pruned, strict=True):
        layer.mask.assign(mask)
    train(model)
    assert_zero(model, pruned)


@pytest.mark.slow
def test_all_weights_in_place_before_the_first_compile(build, train):
    model = build()
    rsr_tf.prune(model, sparsity=0.5)
    pruned = masks(model)
    train(compiled(model, optimizers.AdamW(0.1, use_ema=True)))
    assert_zero(model, pruned)


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_revives_no_pruned_weight(build, policy, train):
    keras.config.set_dtype_policy(policy)
    model = compiled(build(), optimizers.SGD(0.1, momentum=0.9, use_ema=True))
    assert isinstance(model.optimizer, optimizers.LossScaleOptimizer) == (policy == "mixed_float16")
    rsr_tf.prune(model, sparsity=0.5)
    pruned = masks(model)
    train(model)
    assert_zero(model, pruned)


@pytest.mark.slow
def test_several_steps_an_execution_revive_no_pruned_weight(build, train):
    model = compiled(build(), optimizers.Adam(0.1), steps_per_execution=2)
    rsr_tf.prune(model, sparsity=0.5)
    pruned = masks(model)
    train(model)
    assert_zero(model, pruned)


@pytest.mark.slow
def test_keras_file_resumes_with_the_zeros(build, train, tmp_path):
    model = compiled(build(), optimizers.Adam(0.1, use_ema=True))
    rsr_tf.prune(model, sparsity=0.5)
    pruned = masks(model)
    train(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for before, after in zip(model.variables, loaded.variables, strict=True):
        np.testing.assert_array_equal(before, after)
    train(loaded)
    train(model)
    assert_zero(loaded, pruned)
    for before, after in zip(model.trainable_weights, loaded.trainable_weights, strict=True):
        np.testing.assert_allclose(before, after, rtol=1e-4, atol=1e-6)  # it went on as if never stopped


@pytest.mark.slow
def test_weights_file_resumes_with_the_zeros(build, train, tmp_path):
    model = compiled(build(), optimizers.SGD(0.1, momentum=0.9))
    rsr_tf.prune(model, sparsity=0.5)
    pruned = masks(model)
    train(model)
    model.save_weights(tmp_path / "model.weights.h5")
    fresh = compiled(build(), optimizers.SGD(0.1, momentum=0.9))
    make_prunable(fresh)
    fresh.optimizer.build(fresh.trainable_variables)
    fresh.load_weights(tmp_path / "model.weights.h5")
    assert_zero(fresh, pruned)
    train(fresh)
    assert_zero(fresh, pruned)


class PullToOnes(keras.regularizers.Regularizer):
    """A penalty with a slope at zero."""

    def __call__(self, kernel):
        return 0.5 * keras.ops.sum(keras.ops.square(kernel - 1.0))


def pulled_network(make=rsr_tf.NoisyDense, pull=None):
    regularizer = PullToOnes() if pull is None else pull
    return keras.Sequential([keras.Input((64,)), make(10, kernel_regularizer=regularizer)])


@pytest.mark.parametrize("make", [keras.layers.Dense, rsr_tf.NoisyDense])
@pytest.mark.parametrize("pull", [PullToOnes(), rsr_tf.layers.Orthogonality(0.1)], ids=["ones", "orthogonality"])
def test_average_revives_no_weight_that_a_regularizer_pulls_at(make, pull, images, labels):
    model = compiled(pulled_network(make, pull), optimizers.SGD(0.1, momentum=0.9, use_ema=True, ema_momentum=0.5))
    rsr_tf.prune(model, sparsity=0.5)
    pruned = masks(model)
    model.fit(images.reshape(16, 64), labels, batch_size=4, verbose=0)
    assert_zero(model, pruned)


@pytest.mark.skipif(not hasattr(optimizers, "MultiOptimizer"), reason="this Keras has no MultiOptimizer")
def test_each_optimizer_of_several_forgets_the_weights_that_it_trains(images, labels):
    of_kernels, of_others = optimizers.SGD(0.1, momentum=0.9, use_ema=True), optimizers.SGD(0.1)
    several = optimizers.MultiOptimizer(lambda variable: of_kernels if "kernel" in variable.path else of_others)
    model, rows = compiled(pulled_network(pull="l1"), several), images.reshape(16, 64)
    model.fit(rows, labels, batch_size=4, verbose=0)
    rsr_tf.prune(model, sparsity=0.5)
    pruned = masks(model)
    model.fit(rows, labels, batch_size=4, verbose=0)
    assert_zero(model, pruned)


# Attributes of the layers, under the names of TensorFlow Model Optimization


def test_layer_tells_its_mask_threshold_and_step(images, labels):
    model = compiled(tiny_network())
    assert [(float(layer.threshold), int(layer.pruning_step)) for layer in noisy_layers(model)] == [(0.0, -1)] * 3
    model.fit(images, labels, batch_size=4, verbose=0)
    gammas = rsr_tf.prune(model, sparsity=0.5)
    for layer in noisy_layers(model):
        ((kernel, mask, threshold),) = layer.pruning_vars
        assert (kernel is layer.kernel, mask is layer.mask, threshold is layer.threshold) == (True, True, True)
        assert float(threshold) == gammas[layer.path] > 0
        assert int(layer.pruning_step) == 4
        assert (threshold.dtype, layer.pruning_step.dtype, threshold.shape, layer.pruning_step.shape) == (
            *("float32", "int64"),
            *((), ()),
        )


def test_separable_layer_has_a_tuple_for_each_of_its_kernels():
    model = keras.Sequential([keras.Input((5, 5, 2)), keras.layers.SeparableConv2D(3, 2)])
    gammas = rsr_tf.prune(model, sparsity=0.5, scope="layer")
    (layer,) = noisy_layers(model)
    assert list(gammas) == [f"{layer.path}/depthwise_kernel", f"{layer.path}/pointwise_kernel"]
    assert [float(threshold) for _, _, threshold in layer.pruning_vars] == list(gammas.values())
    assert [tuple(mask.shape) for _, mask, _ in layer.pruning_vars] == [(2, 2, 2, 1), (1, 1, 2, 3)]
    assert not hasattr(layer, "mask")
