import itertools
import logging

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import compiled, tiny_network

import rsr_tf
from rsr_tf.layers import noisy_layers, prunable_kernels
from rsr_tf.pruning import ADMMPruning
from rsr_tf.pruning.admm import project, update_dual
from rsr_tf.training.callbacks import Checkpoint

W0, W1, W2 = (0.9, -0.5, 0.1, -0.2), (0.9, -0.45, 0.08, -0.3), (0.9, -0.4, 0.05, -0.35)
"""Weights at the start and at two updates; with two of four zero, the second update moves the support."""


def dense(weights=W0, regularizer=None, **options):
    """A stock layer with the given weights, as many inputs as weights and one output."""
    layer = keras.layers.Dense(1, use_bias=False, kernel_regularizer=regularizer)
    model = keras.Sequential([keras.Input((len(weights),)), layer])
    layer.kernel.assign(np.reshape(weights, (-1, 1)))
    model.compile(keras.optimizers.SGD(0.1), "mse", **options)
    return model


def started(model, sparsity=0.5, exclude=(), **options):
    callback = ADMMPruning(sparsity, exclude=exclude, **options)
    callback.set_model(model)
    callback.on_train_begin()
    return callback


def updated(model, weights, callback, epoch):
    model.layers[-1].kernel.assign(np.reshape(weights, (-1, 1)))
    callback.on_epoch_begin(epoch)
    return callback


def values(variables):
    return [np.array(variable).ravel() for variable in variables]


ATTACK = rsr_tf.attacks.PGD(epsilon=0.1, step_size=0.1, steps=1)


def rsr_model(attack=ATTACK, noise="channel", clean_weight=0.0, **options):
    network = tiny_network(noise=noise, lasso=0.01)
    model = rsr_tf.RSRModel(network.inputs, network.outputs, attack=attack, clean_weight=clean_weight, seed=0)
    return compiled(model, keras.optimizers.SGD(0.05, momentum=0.9), **options)


def fit(model, images, labels, *callbacks, epochs=1, **options):
    options = {"batch_size": 8, "shuffle": False, "verbose": 0} | options
    return model.fit(images, labels, epochs=epochs, callbacks=list(callbacks), **options).history


# The functions


@pytest.mark.parametrize(
    ("weights", "sparsity", "expected"),
    [
        ([0.5, -0.5, 0.5, -0.5], 0.5, [0.5, -0.5, 0, 0]),  # the first of equal magnitudes
        ([0.1, 0.5, -0.5, 0.5], 0.5, [0, 0.5, -0.5, 0]),
        ([0.1, -0.2, 0.3], 1.0, [0, 0, 0.3]),  # as `prune`, at least one
        ([0.1, -0.2, 0.0], 0.0, [0.1, -0.2, 0.0]),
        ([[0.1, -0.4], [0.3, 0.2]], 0.5, [[0, -0.4], [0.3, 0]]),
    ],
)
def test_projection_by_hand(weights, sparsity, expected):
    np.testing.assert_array_equal(project(np.array(weights), sparsity), expected)


@pytest.mark.parametrize("kept", range(1, 9))
def test_projection_is_the_nearest_of_all_arrays_with_so_many_zeros(kept):
    weights = np.random.default_rng(kept).normal(size=8)
    supports = itertools.combinations(range(8), kept)
    distances = [np.sum(np.square(np.delete(weights, support))) for support in supports]
    found = project(weights, 1 - kept / 8)
    assert np.count_nonzero(found) == kept
    np.testing.assert_allclose(np.sum(np.square(weights - found)), min(distances), rtol=1e-12)


@pytest.mark.parametrize("sparsity", [0.3, 0.5, 0.9375])
def test_projection_keeps_what_pruning_keeps(sparsity):
    model = dense(np.random.default_rng(0).normal(size=33))
    expected = project(np.array(model.layers[-1].kernel), sparsity)
    rsr_tf.prune(model, sparsity=sparsity, scope="layer")
    np.testing.assert_array_equal(model.layers[-1].kernel, expected)


def test_updates_by_hand():
    sparse, dual = update_dual(np.array(W1), np.zeros(4), 0.5)
    np.testing.assert_allclose([sparse, dual], [[0.9, -0.45, 0, 0], [0, 0, 0.08, -0.3]], atol=1e-12)
    sparse, dual = update_dual(np.array(W2), dual, 0.5)
    np.testing.assert_allclose([sparse, dual], [[0.9, 0, 0, -0.65], [0, -0.4, 0.13, 0]], atol=1e-12)


# The term in the loss


def test_penalty_by_hand():
    model = dense(W0)
    started(model)
    np.testing.assert_allclose(model.losses, [2.5e-5], rtol=1e-6)


def test_penalty_is_added_to_the_earlier_regularizer():
    model = dense(W0, regularizer="l1")
    (lasso,) = model.losses
    started(model)
    np.testing.assert_allclose(model.losses, [lasso + 2.5e-5], rtol=1e-6)


def test_callback_updates_by_hand():
    model = dense(W0)
    callback = started(model, frequency=1)
    np.testing.assert_allclose(values(callback.state.sparse), [[0.9, -0.5, 0, 0]])
    updated(model, W1, callback, epoch=1)
    updated(model, W2, callback, epoch=2)
    np.testing.assert_allclose(values(callback.state.sparse), [[0.9, 0, 0, -0.65]], atol=1e-7)
    np.testing.assert_allclose(values(callback.state.dual), [[0, -0.4, 0.13, 0]], atol=1e-7)
    np.testing.assert_allclose(callback.state.rho, 1e-3 * 1.3**2, rtol=1e-6)
    penalty = 0.5 * 1.69e-3 * (0.8**2 + 0.18**2 + 0.3**2)  # W - Z + U = (0, -0.8, 0.18, 0.3)
    np.testing.assert_allclose(model.losses, [penalty], rtol=1e-6)


def test_dual_is_rescaled_by_hand():
    model = dense(W0)
    callback = started(model, frequency=1, rescale_dual=True)
    updated(model, W1, callback, epoch=1)
    updated(model, W2, callback, epoch=2)
    np.testing.assert_allclose(values(callback.state.sparse), [[0.9, 0, 0, -0.35 - 0.3 / 1.3]], atol=1e-7)
    np.testing.assert_allclose(values(callback.state.dual), [[0, -0.4, 0.05 + 0.08 / 1.3, 0]], atol=1e-7)


def test_update_changes_the_loss_of_a_traced_step():
    """The same function, traced once, must read the new Z, U and rho."""
    model = dense(W0)
    callback = started(model, frequency=1)
    penalty = tf.function(lambda: model.losses[0])
    np.testing.assert_allclose(penalty(), 2.5e-5, rtol=1e-6)
    updated(model, W1, callback, epoch=1)
    np.testing.assert_allclose(penalty(), 0.5 * 1.3e-3 * (0.16**2 + 0.6**2), rtol=1e-6)


def test_updates_are_at_the_epochs_that_the_frequency_divides():
    model, seen = dense(), []
    callback = ADMMPruning(0.5, frequency=2, exclude=())
    watch = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(int(callback.state.updates)))
    model.fit(np.eye(4), np.ones(4), epochs=6, callbacks=[callback, watch], verbose=0)
    assert seen == [0, 0, 1, 1, 2, 2]


def test_epoch_that_starts_twice_is_updated_once():
    callback = started(dense(), frequency=2)
    callback.on_epoch_begin(2)
    callback.on_epoch_begin(2)
    assert int(callback.state.updates) == 1


@pytest.mark.slow
def test_loss_and_lasso_include_the_penalty(images, labels):
    """In evaluation, of an `RSRModel` without attack and noise, against NumPy."""
    network = tiny_network(noise="none", lasso=0.01)
    model = compiled(rsr_tf.RSRModel(network.inputs, network.outputs))
    plain = model.evaluate(images, labels, verbose=0, return_dict=True)
    callback = started(model, sparsity=0.8, rho=10.0, exclude=["last"])
    penalty = sum(
        5.0 * np.sum(np.square(found.value() - project(found.value(), 0.8)))
        for found in list(prunable_kernels(model).values())[:-1]
    )
    assert penalty > 0.1
    found = model.evaluate(images, labels, verbose=0, return_dict=True)
    np.testing.assert_allclose(found["loss"] - plain["loss"], penalty, rtol=1e-4)
    np.testing.assert_allclose(found["lasso"] - plain["lasso"], penalty, rtol=1e-4)
    np.testing.assert_allclose(found["clean_loss"], plain["clean_loss"], rtol=1e-5)
    assert len(callback.kernels) == 2  # the last layer is not pruned


@pytest.mark.slow
def test_one_step_moves_the_weights_by_the_gradient_of_the_penalty():
    """With inputs of zero the loss has no gradient: W - learning_rate * rho * (W - Z + U) is all that remains."""
    model = dense(W0)
    model.fit(np.zeros((1, 4)), np.zeros(1), callbacks=[ADMMPruning(0.5, rho=2.0, exclude=())], verbose=0)
    np.testing.assert_allclose(
        values(model.weights), [[0.9, -0.5, 0.1 - 0.1 * 2 * 0.1, -0.2 + 0.1 * 2 * 0.2]], rtol=1e-6
    )


@pytest.mark.slow
def test_weights_of_a_quadratic_loss_reach_its_best_sparse_point():
    """The loss is `||w - best||^2` over 6 weights, so its best point with two weights has the two largest of `best`."""
    best = np.array([0.3, -1.0, 0.2, 0.8, -0.4, 0.1])
    model = dense(np.zeros(6))
    callback = ADMMPruning(4 / 6, frequency=4, rho=0.3, rho_factor=1.1, rescale_dual=True, exclude=())
    x, y = np.sqrt(6) * np.eye(6), np.sqrt(6) * best
    distance = model.fit(x, y, epochs=120, callbacks=[callback], verbose=0).history["admm_distance"]
    np.testing.assert_allclose(values(model.weights), [[0, -1.0, 0, 0.8, 0, 0]], atol=2e-3)
    assert distance[-1] < 2e-3 < 0.1 < max(distance)


@pytest.mark.slow
def test_without_rho_it_is_adversarial_training_bitwise(images, labels):
    plain, admm = rsr_model(), rsr_model()
    admm.set_weights(plain.get_weights())
    for model in (plain, admm):
        rsr_tf.layers.reseed_noise(model, 0)
    losses = [
        fit(model, images, labels, *callbacks, epochs=2)["loss"]
        for model, callbacks in ((plain, []), (admm, [ADMMPruning(0.8, frequency=1, rho=0.0)]))
    ]
    assert losses[0] == losses[1]
    for first, second in zip(plain.weights, admm.weights, strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.slow
def test_three_steps_of_adversarial_training_and_pruning_after_them(images, labels):
    model = rsr_model()
    history = fit(model, images, labels, ADMMPruning(0.8, frequency=1, rho=0.1), batch_size=6)
    assert int(model.optimizer.iterations) == 3
    assert np.isfinite(history["loss"]).all()
    assert history["sparsity"] == [0.0]
    rsr_tf.prune(model, sparsity=0.8, scope="layer", exclude=["last"])
    np.testing.assert_allclose([row.sparsity for row in rsr_tf.sparsity_table(model)], [0.8, 0.8, 0.0], atol=0.02)
    fit(model, images, labels)
    assert rsr_tf.sparsity(model) > 0


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "bfloat16"])
def test_half_precision(policy, images, labels):
    keras.config.set_dtype_policy(policy)
    layers = [keras.layers.Conv2D(4, 3, kernel_regularizer="l2"), keras.layers.Flatten(), keras.layers.Dense(10)]
    model = compiled(keras.Sequential([keras.Input((8, 8, 1)), *layers]))
    callback = ADMMPruning(0.5, frequency=1, rho=0.1)
    history = fit(model, images, labels, callback, epochs=2)
    assert np.isfinite(history["loss"]).all()
    assert {variable.dtype for variable in (*callback.state.sparse, *callback.state.dual)} == {"float32"}
    assert history["admm_distance"][0] > 0


@pytest.mark.slow
def test_mirrored_variables():
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        model = dense(W0)
    callback = ADMMPruning(0.5, frequency=1, rho=0.1, exclude=())
    model.fit(np.eye(4), np.ones(4), epochs=2, callbacks=[callback], verbose=0)
    assert keras.ops.convert_to_numpy(callback.state.updates) == 1
    assert np.any(keras.ops.convert_to_numpy(callback.state.dual[0]))


# Before and after


@pytest.mark.slow
def test_model_is_left_as_it_was_but_for_its_weights(images, labels):
    model = rsr_model(attack=None)
    earlier = [found.kernel.regularizer for found in prunable_kernels(model).values()]
    names, config = [weight.path for weight in model.weights], model.get_config()
    fit(model, images, labels, ADMMPruning(0.8, rho=10.0))
    assert [found.kernel.regularizer for found in prunable_kernels(model).values()] == earlier
    assert not hasattr(model, "admm")
    assert [weight.path for weight in model.weights] == names
    assert str(model.get_config()) == str(config)


@pytest.mark.slow
def test_term_comes_and_goes_in_traced_steps(images, labels):
    """With a learning rate of zero, the lasso of training and of validation is that of the weights."""
    model = compiled(rsr_model(attack=None), keras.optimizers.SGD(0.0))
    first, during, last = (
        fit(model, images, labels, *callbacks, validation_data=(images, labels))
        for callbacks in ([], [ADMMPruning(0.8, rho=10.0)], [])
    )
    l1 = 0.01 * sum(np.abs(found.value()).sum() for found in prunable_kernels(model).values())
    for name in ("lasso", "val_lasso"):
        np.testing.assert_allclose([*first[name], *last[name]], l1, rtol=1e-5)
        assert during[name][0] > l1 + 0.3


@pytest.mark.parametrize("regularizer", [None, "l1"])
def test_term_goes_from_a_stock_layer_that_was_pruned_meanwhile(regularizer):
    model = dense(regularizer=regularizer)
    callback = started(model)
    rsr_tf.prune(model, sparsity=0.5)
    callback.detach()
    kernel = model.layers[0].kernel
    expected = [] if regularizer is None else [0.01 * np.abs(kernel).sum()]
    np.testing.assert_allclose(model.losses, expected, rtol=1e-6)


def test_term_of_an_interrupted_fit_is_replaced():
    model = dense(W0, regularizer="l1")
    (lasso,) = model.losses
    first = started(model)
    started(model)
    np.testing.assert_allclose(model.losses, [lasso + 2.5e-5], rtol=1e-6)
    model.layers[-1].kernel.assign(np.reshape(W1, (-1, 1)))
    first.set_model(model)  # by the next `fit` with the same callback
    np.testing.assert_allclose(values(first.state.sparse), [[0.9, -0.45, 0, 0]])
    first.detach()
    np.testing.assert_allclose(model.losses, [0.01 * 1.73], rtol=1e-6)


def test_best_weights_of_early_stopping_are_restored():
    """It counts the weights of the model, which must be as many at the end."""
    stop = keras.callbacks.EarlyStopping("loss", restore_best_weights=True, patience=1)
    model = dense()
    callbacks = [ADMMPruning(0.5, exclude=()), stop]
    model.fit(np.eye(4), np.ones(4), epochs=2, callbacks=callbacks, verbose=0)
    assert len(model.weights) == 1


# Checkpoints


class KilledError(Exception):
    pass


def kill_at(epoch):
    def begin(now, logs):
        if now == epoch:
            raise KilledError

    return keras.callbacks.LambdaCallback(on_epoch_begin=begin)


def fit_with_checkpoints(folder, images, labels, *others, network_seed=0):
    """Train for 5 epochs of two steps with two updates, from the last checkpoint; return all the state at the end."""
    keras.utils.set_random_seed(network_seed)
    model, callback = rsr_model(run_eagerly=True), ADMMPruning(0.8, frequency=2, rho=0.1)
    callback.set_model(model)
    checkpoint = Checkpoint(folder, "train", 5)
    epoch = checkpoint.restore(model)
    if not epoch:
        rsr_tf.layers.reseed_noise(model, 0)
    fit(model, images, labels, callback, *others, checkpoint, epochs=5, initial_epoch=epoch)
    state = [np.array(variable) for variable in (*model.weights, *model.optimizer.variables, *callback.state.variables)]
    return epoch, state, callback


@pytest.mark.slow
@pytest.mark.parametrize("killed_at", [1, 2, 3])  # before an update, at it, after it
def test_resumed_training_equals_an_uninterrupted_one_bitwise(images, labels, tmp_path, killed_at):
    (tmp_path / "whole").mkdir()
    _, whole, callback = fit_with_checkpoints(tmp_path / "whole", images, labels)
    assert int(callback.state.updates) == 2
    np.testing.assert_allclose(callback.state.rho, 0.169, rtol=1e-6)
    assert any(np.any(dual.numpy()) for dual in callback.state.dual)
    with pytest.raises(KilledError):
        fit_with_checkpoints(tmp_path, images, labels, kill_at(killed_at))
    epoch, resumed, _ = fit_with_checkpoints(tmp_path, images, labels, network_seed=1)
    assert epoch == killed_at
    for first, second in zip(whole, resumed, strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.slow
def test_backup_of_keras_restores_the_state(tmp_path):
    def run(*others):
        model, callback = dense(W0), ADMMPruning(0.5, frequency=1, rho=0.5, exclude=())
        backup = keras.callbacks.BackupAndRestore(tmp_path)
        model.fit(np.eye(4), np.ones(4), epochs=4, callbacks=[callback, *others, backup], shuffle=False, verbose=0)
        return values((*model.weights, *callback.state.variables))

    whole = run()
    with pytest.raises(KilledError):
        run(kill_at(3))
    for first, second in zip(whole, run(), strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.slow
def test_checkpoint_in_the_middle_of_training_is_a_plain_model(images, labels, tmp_path):
    model = rsr_model(attack=None)
    fit(model, images, labels, ADMMPruning(0.8, frequency=1, rho=0.1), Checkpoint(tmp_path, "train"), epochs=2)
    loaded = keras.saving.load_model(tmp_path / "train-0002.keras")
    assert not hasattr(loaded, "admm")
    np.testing.assert_allclose([layer.kernel_regularizer.l1 for layer in noisy_layers(loaded)], 0.01, rtol=1e-6)
    for saved, found in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(saved, found)
    fit(loaded, images, labels)
    into = rsr_model(attack=None)
    assert Checkpoint(tmp_path, "train").restore(into) == 2
    np.testing.assert_array_equal(into.weights[0], model.weights[0])


@pytest.mark.slow
def test_checkpoint_without_the_state_is_refused(images, labels, tmp_path):
    model = rsr_model(attack=None)
    fit(model, images, labels, Checkpoint(tmp_path, "train"))
    started(model)
    with pytest.raises(ValueError, match="cannot read the checkpoint"):
        Checkpoint(tmp_path, "train").restore(model)


# Arguments


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sparsity": 1.5}, r"`sparsity` must be in \[0, 1\]. Received: sparsity=1.5"),
        ({"frequency": 0}, "`frequency` must be a positive integer. Received: frequency=0"),
        ({"frequency": 2.5}, "`frequency` must be a positive integer. Received: frequency=2.5"),
        ({"rho": -1}, "`rho` must not be negative. Received: rho=-1"),
        ({"rho": float("nan")}, "`rho` must not be negative. Received: rho=nan"),
        ({"rho_factor": 0}, "`rho_factor` must be positive. Received: rho_factor=0"),
    ],
)
def test_wrong_argument_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ADMMPruning(**{"sparsity": 0.5} | options)


def test_wrong_exclude_is_refused_before_training():
    model = dense()
    with pytest.raises(ValueError, match="`exclude` must name layers"):
        model.fit(np.eye(4), np.ones(4), callbacks=[ADMMPruning(0.5, exclude=["nothing"])], verbose=0)
    assert model.losses == []


def test_updates_are_logged(caplog):
    callback = started(dense(), frequency=2)
    with caplog.at_level(logging.INFO, "rsr_tf"):
        callback.on_epoch_begin(2)
    assert caplog.messages == ["epoch 2: ADMM update 1, rho 0.0013"]
