"""The default objective by hand, and that another one docks as a small class."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import compiled, tiny_network

import rsr_tf
from rsr_tf.training.objectives import OBJECTIVES, AdversarialTraining, ForwardPass


class TRADES(AdversarialTraining):
    """Clean loss plus a multiple of the divergence from clean to adversarial predictions (Zhang et al. 2019)."""

    def attacked_labels(self, model_fn, x, y):
        return tf.nn.softmax(model_fn(x))

    def __call__(self, clean, adversarial, y, sample_weight):
        p = tf.nn.softmax(clean.logits)
        log_ratio = tf.nn.log_softmax(clean.logits) - tf.nn.log_softmax(adversarial.logits)
        return clean.loss + 6.0 * tf.reduce_mean(tf.reduce_sum(p * log_ratio, axis=-1))


def log_softmax(logits):
    logits = np.array(logits, "float64")
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_default_objective_is_the_weighted_sum(weight):
    clean, adversarial = ForwardPass(None, tf.constant(2.0)), ForwardPass(None, tf.constant(5.0))
    loss = AdversarialTraining(weight)(clean, adversarial, None, None)
    assert float(loss) == pytest.approx(weight * 2 + (1 - weight) * 5)


def test_attacked_labels_are_the_true_or_the_predicted_ones():
    def model_fn(x):
        return tf.constant([[0.0, 1.0], [1.0, 0.0]])

    y = tf.constant([0, 0])
    assert AdversarialTraining().attacked_labels(model_fn, None, y) is y
    assert AdversarialTraining(attack_labels="predicted").attacked_labels(model_fn, None, y).numpy().tolist() == [1, 0]


@pytest.fixture(autouse=True)
def trades(monkeypatch):
    monkeypatch.setitem(OBJECTIVES, "trades", TRADES)


def trades_model():
    network = tiny_network(noise="none", lasso=1e-3)
    attack = rsr_tf.attacks.PGD(epsilon=0.1, step_size=0.05, steps=2)
    return compiled(rsr_tf.RSRModel(network.inputs, network.outputs, attack=attack, objective="trades", seed=0))


@pytest.mark.slow
def test_another_objective_makes_the_loss_of_validation(images, labels):
    model = trades_model()
    start = model.seed_generator.state.numpy()
    x_adv = model.perturb(tf.constant(images), tf.constant(labels))
    model.seed_generator.state.assign(start)
    clean, adversarial = (log_softmax(model(x)) for x in (images, x_adv))
    divergence = (np.exp(clean) * (clean - adversarial)).sum(-1).mean()
    logs = model.evaluate(images, labels, verbose=0, return_dict=True)
    assert divergence > 0.01
    assert logs["clean_loss"] == pytest.approx(-clean[np.arange(16), labels].mean(), rel=1e-4)
    assert logs["loss"] == pytest.approx(logs["clean_loss"] + logs["lasso"] + 6 * divergence, rel=1e-3)


@pytest.mark.slow
def test_another_objective_trains_in_one_trace(images, labels):
    model = trades_model()
    traces = []
    train_step = model.train_step
    model.train_step = lambda data: traces.append(1) or train_step(data)
    compiled(model, keras.optimizers.SGD(0.05))
    history = model.fit(images, labels, epochs=8, verbose=0).history
    assert len(traces) == 1
    assert history["loss"][-1] < history["loss"][0]


def test_objective_is_saved_with_the_model(tmp_path):
    model = trades_model()
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(loaded.objective, TRADES)


def test_unknown_objective_is_refused(noisy_model):
    with pytest.raises(ValueError, match=r"`objective` must be one of .* Received: objective='mart'"):
        rsr_tf.RSRModel(noisy_model.inputs, noisy_model.outputs, objective="mart")
