import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import compiled, tiny_network

import rsr_tf
from rsr_tf.choices import OPTIMIZERS
from rsr_tf.keras_internals import weight_averages
from rsr_tf.training.averaging import AveragedValidation, averaged_weights

CLASSES = {name.lower(): member for name, member in vars(keras.optimizers).items()}


def averaged_model(optimizer="sgd", momentum=0.5, **options):
    network = tiny_network(noise="none")
    model = rsr_tf.RSRModel(network.inputs, network.outputs, seed=0)
    optimizer = CLASSES[optimizer](learning_rate=0.05, use_ema=True, ema_momentum=momentum, **options)
    return compiled(model, optimizer)


def test_average_is_that_of_the_definition(images, labels):
    """Three steps; the average is the first weights that a step left, then half of itself and half of the next."""
    model, seen = averaged_model(), []
    record = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(weights_of(model)))
    model.fit(images[:12], labels[:12], batch_size=4, verbose=0, callbacks=[record])
    for (first, second, third), found in zip(zip(*seen, strict=True), weights_of(model), strict=True):
        np.testing.assert_allclose(found, 0.25 * first + 0.25 * second + 0.5 * third, atol=1e-6)


def weights_of(model):
    return [weight.numpy() for weight in model.trainable_weights]


@pytest.mark.parametrize("scaled", [False, True])
def test_weights_are_averages_within_the_block_and_as_they_were_after_it(images, labels, scaled):
    model = averaged_model()
    if scaled:
        compiled(model, keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1, use_ema=True)))
    model.fit(images, labels, batch_size=8, verbose=0)
    for weight in model.trainable_weights:
        weight.assign_add(keras.random.normal(weight.shape, seed=1))
    before = weights_of(model)
    averages = [average.numpy() for _, average in weight_averages(model.optimizer)]
    assert len(averages) == len(before)
    with averaged_weights(model):
        inside = weights_of(model)
    for old, found, average, now in zip(before, inside, averages, weights_of(model), strict=True):
        np.testing.assert_array_equal(found, average)
        np.testing.assert_array_equal(now, old)
    assert any(not np.array_equal(old, average) for old, average in zip(before, averages, strict=True))


def test_model_without_average_stays_as_it_is(noisy_model):
    compiled(noisy_model)
    before = weights_of(noisy_model)
    with averaged_weights(noisy_model):
        inside = weights_of(noisy_model)
    for old, found in zip(before, inside, strict=True):
        np.testing.assert_array_equal(found, old)


def test_what_is_validated_is_what_fit_leaves(images, labels):
    """The layers have no moving statistics, which nothing averages."""
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
    compiled(model, keras.optimizers.SGD(0.5, use_ema=True, ema_momentum=0.9))
    options = {"batch_size": 4, "epochs": 2, "verbose": 0, "validation_data": (images, labels)}
    history = model.fit(images, labels, callbacks=[AveragedValidation()], **options).history
    final = model.evaluate(images, labels, verbose=0, return_dict=True)
    assert history["val_loss"][-1] == pytest.approx(final["loss"], rel=1e-6)
    assert history["loss"][-1] != pytest.approx(final["loss"], rel=1e-3)


def test_validation_does_not_touch_what_is_trained(images, labels):
    def trained(**options):
        keras.utils.set_random_seed(0)
        model = averaged_model()
        model.fit(images, labels, batch_size=8, epochs=3, verbose=0, shuffle=False, **options)
        return weights_of(model)

    validated = trained(validation_data=(images, labels), callbacks=[AveragedValidation()])
    for ours, theirs in zip(validated, trained(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(OPTIMIZERS) - {"muon"}))
def test_average_of_a_network_that_is_pruned_in_training_keeps_its_zeros(images, labels, name):
    """Muon moves every weight, and the constraint puts the zeros back only after the average is taken."""
    model = averaged_model(name, momentum=0.9, **({"weight_decay": 0.01} if name != "muon" else {}))
    schedule = rsr_tf.schedules.PolynomialDecay(0.2, 0.6, begin_step=2, end_step=6, frequency=2)
    callbacks = [rsr_tf.PruningCallback(schedule), AveragedValidation()]
    model.fit(images, labels, batch_size=8, epochs=5, verbose=0, callbacks=callbacks, validation_data=(images, labels))
    assert rsr_tf.sparsity(model) == pytest.approx(0.6, abs=0.01)
    assert all(tf.reduce_all(tf.math.is_finite(weight)) for weight in model.trainable_weights)
