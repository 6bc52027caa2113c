import logging

import keras
import pytest
from helpers import compiled, tiny_network

import rsr_tf
from rsr_tf.training.callbacks import OverfittingWatch


@pytest.fixture
def model():
    network = tiny_network(noise="none")
    return compiled(rsr_tf.RSRModel(network.inputs, network.outputs, attack=rsr_tf.attacks.FGSM(epsilon=0.1)))


def watch_with(accuracies, images, labels, fallback=None):
    """A watch that measures what it is told: pairs of FGSM and PGD accuracy."""
    watch = OverfittingWatch(images, labels, epsilon=0.1, fallback=fallback)
    measured = iter(accuracies)
    watch.on_train_begin = lambda logs=None: setattr(
        watch,
        "_measure",
        lambda: dict(zip(("watch_fgsm_accuracy", "watch_pgd_accuracy"), next(measured), strict=True)),
    )
    return watch


HEALTHY = [(0.5, 0.4), (0.6, 0.45), (0.5, 0.2)]  # the last falls under both attacks: not the masking of one step
COLLAPSE = [(0.5, 0.4), (0.6, 0.5), (0.9, 0.1), (0.9, 0.3)]


def test_collapse_under_pgd_while_fgsm_rises_is_warned_of(model, images, labels, caplog):
    with caplog.at_level(logging.WARNING, "rsr_tf"):
        model.fit(images, labels, epochs=4, verbose=0, callbacks=[watch_with(COLLAPSE, images, labels)])
    assert [record.getMessage() for record in caplog.records if record.name.startswith("rsr_tf")] == [
        "catastrophic overfitting in epoch 3: PGD accuracy fell from 50.0 to 10.0 %, FGSM accuracy is 90.0 %"
    ]
    assert isinstance(model.attack, rsr_tf.attacks.FGSM)


def test_healthy_training_is_not_warned_of(model, images, labels, caplog):
    with caplog.at_level(logging.WARNING, "rsr_tf"):
        model.fit(images, labels, epochs=3, verbose=0, callbacks=[watch_with(HEALTHY, images, labels)])
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
        images, labels, epochs=4, verbose=0, callbacks=[watch_with(COLLAPSE, images, labels, fallback), spy]
    ).history
    assert used == [False, False, False, True]
    assert traced, "the new attack must be in the train function"
    assert history["multi_step"] == [0, 0, 1, 1]


def test_watch_measures_accuracy_under_both_attacks(model, images, labels):
    logs = model.fit(images, labels, verbose=0, callbacks=[OverfittingWatch(images, labels, epsilon=0.1)]).history
    assert 0 <= logs["watch_pgd_accuracy"][0] <= logs["watch_fgsm_accuracy"][0] + 1 / 16
