import logging

import keras
import numpy as np
import pytest
from helpers import compiled, tiny_network

import rsr_tf
from rsr_tf.training.overfitting import CatastrophicOverfittingMonitor

pytestmark = pytest.mark.slow


@pytest.fixture
def model():
    network = tiny_network(noise="none")
    return compiled(rsr_tf.RSRModel(network.inputs, network.outputs, attack=rsr_tf.attacks.FGSM(epsilon=0.1)))


def monitor_with(accuracies, images, labels, fallback=None):
    """A monitor that measures given pairs of FGSM and PGD accuracy."""
    monitor = CatastrophicOverfittingMonitor(images, labels, epsilon=0.1, fallback=fallback)
    measured = iter(accuracies)
    monitor.on_train_begin = lambda logs=None: setattr(
        monitor,
        "_measure",
        lambda: dict(zip(("watch_fgsm_accuracy", "watch_pgd_accuracy"), next(measured), strict=True)),
    )
    return monitor


HEALTHY = [(0.5, 0.4), (0.6, 0.45), (0.5, 0.2)]  # the last falls under both attacks: not the masking of one step
COLLAPSE = [(0.5, 0.4), (0.6, 0.5), (0.9, 0.1), (0.9, 0.3)]


def test_collapse_under_pgd_while_fgsm_rises_is_warned_of(model, images, labels, caplog):
    with caplog.at_level(logging.WARNING, "rsr_tf"):
        model.fit(images, labels, epochs=4, verbose=0, callbacks=[monitor_with(COLLAPSE, images, labels)])
    assert [record.getMessage() for record in caplog.records if record.name.startswith("rsr_tf")] == [
        "catastrophic overfitting in epoch 3: PGD accuracy fell from 50.0 to 10.0 %, FGSM accuracy is 90.0 %"
    ]
    assert isinstance(model.attack, rsr_tf.attacks.FGSM)


def test_healthy_training_is_not_warned_of(model, images, labels, caplog):
    with caplog.at_level(logging.WARNING, "rsr_tf"):
        model.fit(images, labels, epochs=3, verbose=0, callbacks=[monitor_with(HEALTHY, images, labels)])
    assert not [record for record in caplog.records if record.name.startswith("rsr_tf")]


def test_fallback_takes_over_the_training_after_a_collapse(model, images, labels):
    fallback = rsr_tf.attacks.PGD(epsilon=0.1, step_size=0.02, steps=3)
    used = []
    spy = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: used.append(model.attack is fallback))
    traced = []
    call = fallback.__class__.__call__

    class Spied(rsr_tf.attacks.PGD):
        def __call__(self, *args, **kwargs):
            traced.append(True)
            return call(self, *args, **kwargs)

    fallback.__class__ = Spied
    history = model.fit(
        images, labels, epochs=4, verbose=0, callbacks=[monitor_with(COLLAPSE, images, labels, fallback), spy]
    ).history
    assert used == [False, False, False, True]
    assert traced, "the new attack must be in the train function"
    assert history["multi_step"] == [0, 0, 1, 1]


def network_with_a_trap(centre, width):
    """A network of one-pixel images that answers class 1 within `width` of `centre`, and class 0 elsewhere."""
    inputs = keras.Input((1, 1, 1))
    distances = keras.layers.Dense(2, "relu")  # to the right and to the left of the centre
    difference = keras.layers.Dense(2)
    outputs = difference(distances(keras.layers.Flatten()(inputs)))
    distances.set_weights([np.array([[1.0, -1.0]]), np.array([-centre, centre])])
    difference.set_weights([np.array([[0.0, -100.0], [0.0, -100.0]]), np.array([0.0, 100 * width])])
    return rsr_tf.RSRModel(inputs, outputs)


def test_accuracies_under_both_attacks_by_hand():
    """FGSM steps from 0.5 across the trap, from 0.45 into it; PGD, in steps of a quarter of epsilon, ends in it."""
    epsilon, centre = 0.1, 0.55
    model = compiled(network_with_a_trap(centre, width=0.3 * epsilon), keras.optimizers.SGD(0.0))
    pixels, labels = np.array([0.5] * 4 + [0.45] + [0.9] * 3), np.array([0, 0, 0, 0, 0, 0, 0, 1])
    images = pixels.reshape(8, 1, 1, 1).astype("float32")
    monitor = CatastrophicOverfittingMonitor(images, labels, epsilon=epsilon)
    history = model.fit(images, labels, verbose=0, callbacks=[monitor]).history
    assert history["accuracy"] == [7 / 8]
    assert history["watch_fgsm_accuracy"] == [6 / 8]
    assert history["watch_pgd_accuracy"] == [2 / 8]


def test_labels_in_a_column_are_those_in_a_row(model, images, labels):
    found = []
    for form in (labels, labels[:, np.newaxis]):
        monitor, logs = CatastrophicOverfittingMonitor(images, form, epsilon=0.1), {}
        monitor.set_model(model)
        monitor.on_train_begin()
        monitor.on_epoch_end(0, logs)
        found.append(logs)
    assert found[0] == found[1]
