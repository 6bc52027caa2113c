import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import compiled, tiny_network

import rsr_tf
from rsr_tf.training.losses import SmoothedCrossentropy

LOGITS = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
LABELS = np.array([0, 3, 1, 1, 2, 0])


def smoothed(logits, labels, s):
    """The definition, image by image."""
    log_shares = logits - np.log(np.sum(np.exp(logits), axis=-1, keepdims=True))
    true = log_shares[np.arange(len(labels)), labels]
    return -(1 - s) * true - s * np.mean(log_shares, axis=-1)


@pytest.mark.parametrize("s", [0, 0.1, 0.5])
@pytest.mark.parametrize("shape", [(6,), (6, 1)])
def test_loss_is_that_of_numpy(s, shape):
    found = SmoothedCrossentropy(s, reduction=None)(LABELS.reshape(shape), LOGITS)
    np.testing.assert_allclose(found, smoothed(LOGITS, LABELS, s), rtol=1e-6)


def test_loss_is_that_of_keras_for_one_hot_labels():
    ours = SmoothedCrossentropy(0.2)(LABELS, LOGITS)
    theirs = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.2)(np.eye(4)[LABELS], LOGITS)
    assert float(ours) == pytest.approx(float(theirs), rel=1e-6)


@pytest.mark.parametrize("value", [-0.1, 1.0, float("nan")])
def test_impossible_smoothing_is_refused(value):
    with pytest.raises(ValueError, match=r"`label_smoothing` must be in \[0, 1\). Received: label_smoothing="):
        SmoothedCrossentropy(value)


def test_gradient_by_the_true_logit_changes_its_sign_at_the_smoothed_label():
    """The probabilities of the true class are 0.85 and 0.95, its smoothed label is 0.9."""
    shares = np.array([[0.85, 0.15], [0.95, 0.05]], "float32")
    logits = tf.Variable(np.log(shares))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(SmoothedCrossentropy(0.2, reduction=None)([0, 0], logits))
    np.testing.assert_allclose(tape.gradient(loss, logits)[:, 0], [-0.05, 0.05], atol=1e-6)


def recorded_attack(model, images, labels):
    """Compile a model with smoothing; the loss that its attack raises, and the logits that it is a loss of."""
    compiled(model, loss=SmoothedCrossentropy(0.3))
    logits = model(images, training=False)
    return model.compilation.loss_fn(tf.constant(labels), logits), logits


def test_attack_of_the_training_raises_the_smoothed_loss(images, labels):
    network = tiny_network(noise="none")
    model = rsr_tf.RSRModel(network.inputs, network.outputs, attack=rsr_tf.attacks.FGSM(epsilon=0.1))
    found, logits = recorded_attack(model, images, labels)
    np.testing.assert_allclose(found, smoothed(np.array(logits), labels, 0.3), rtol=1e-5)
    adversarial = model.attacked(model, tf.constant(images), tf.constant(labels), tf.constant(labels))
    with tf.GradientTape() as tape:
        x = tf.constant(images)
        tape.watch(x)
        loss = keras.losses.categorical_crossentropy(
            np.eye(10, dtype="float32")[labels], model(x, training=False), from_logits=True, label_smoothing=0.3
        )
    expected = np.clip(images + 0.1 * np.sign(tape.gradient(loss, x)), 0, 1)
    np.testing.assert_allclose(adversarial, expected, atol=1e-6)


@pytest.mark.slow
def test_model_that_trains_with_it_is_loaded_with_it(images, labels, tmp_path):
    network = tiny_network()
    model = compiled(rsr_tf.RSRModel(network.inputs, network.outputs, seed=0), loss=SmoothedCrossentropy(0.3))
    history = model.fit(images, labels, verbose=0).history
    assert 0 <= history["accuracy"][0] <= 1
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.loss.label_smoothing == 0.3
    assert loaded.evaluate(images, labels, verbose=0, return_dict=True)["loss"] > 0


@pytest.mark.slow
def test_keras_knows_the_loss_as_soon_as_the_package_is_imported():
    script = """
import keras, rsr_tf
print(keras.saving.get_registered_object("rsr_tf>SmoothedCrossentropy").__module__)
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "rsr_tf.training.losses"
