"""Settings of an `RSRModel`: changed, saved, loaded and refused."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import compiled, silence, tiny_network

import rsr_tf

PGD = rsr_tf.attacks.PGD(epsilon=0.1, step_size=0.05, steps=2, random_start=False)


def rsr_model(network=None, *, optimizer="sgd", loss=None, attack=PGD, **options):
    network = network or tiny_network(noise="none", lasso=1e-3)
    return compiled(rsr_tf.RSRModel(network.inputs, network.outputs, attack=attack, **options), optimizer, loss)


# Settings that change after construction


@pytest.mark.slow
def test_new_attack_is_used_by_the_next_step_and_by_validation(images, labels):
    model = rsr_model()
    model.fit(images, labels, validation_data=(images, labels), verbose=0)

    def unchanged(model_fn, x, y, *, seed):
        return x

    model.set_attack(unchanged)
    assert model.attack is unchanged
    logs = model.evaluate(images, labels, verbose=0, return_dict=True)
    assert logs["adversarial_loss"] == pytest.approx(logs["clean_loss"], rel=1e-6)
    logs = model.fit(images, labels, verbose=0).history
    assert logs["adversarial_loss"] == pytest.approx(logs["clean_loss"], rel=1e-3)  # batch statistics move between


@pytest.mark.slow
def test_attack_can_be_added_and_taken_away(images, labels):
    model = rsr_model(attack=None)
    assert "adversarial_loss" not in model.fit(images, labels, verbose=0).history
    model.set_attack(PGD)
    logs = model.fit(images, labels, verbose=0).history
    assert logs["adversarial_loss"][0] > logs["clean_loss"][0]
    model.set_attack(None)
    logs = model.evaluate(images, labels, verbose=0, return_dict=True)
    assert logs["loss"] == pytest.approx(logs["clean_loss"] + logs["lasso"], rel=1e-5)


@pytest.mark.slow
def test_skipped_warmup_trains_robustly_at_once(images, labels):
    model = rsr_model(warmup_steps=100)
    assert model.train_on_batch(images, labels, return_dict=True)["adversarial_loss"] == 0
    model.skip_warmup()
    assert model.get_config()["warmup_steps"] == 0
    assert model.train_on_batch(images, labels, return_dict=True)["adversarial_loss"] > 0


@pytest.mark.slow
def test_l2_attack_trains_in_fit_and_is_saved(images, labels, tmp_path):
    model = rsr_model(attack=rsr_tf.attacks.PGD(epsilon=2.0, step_size=0.5, steps=3, norm="l2"), seed=0)
    history = model.fit(images, labels, epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert history["adversarial_loss"][0] > history["clean_loss"][0]
    lengths = np.linalg.norm((model.perturb(images, labels) - images).numpy().reshape(16, -1), axis=1)
    assert 0.5 < lengths.min() <= lengths.max() <= 2 * (1 + 1e-5)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert (loaded.attack.norm, loaded.attack.epsilon) == ("l2", 2.0)


# Saving


@pytest.mark.slow
def test_model_file_keeps_settings_variables_and_training_state(images, labels, tmp_path):
    model = rsr_model(
        tiny_network(), optimizer="adam", clean_weight=0.3, attack_labels="predicted", warmup_steps=1, seed=3
    )
    model.fit(images, labels, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded) is rsr_tf.RSRModel
    for key in ("attack", "clean_weight", "attack_labels", "warmup_steps", "seed"):
        assert loaded.get_config()[key] == model.get_config()[key]
    for old, new in zip(
        [*model.variables, *model.optimizer.variables], [*loaded.variables, *loaded.optimizer.variables], strict=True
    ):
        np.testing.assert_array_equal(old, new)
    logs = [network.train_on_batch(images, labels, return_dict=True)["loss"] for network in (model, loaded)]
    assert logs[0] == pytest.approx(logs[1], rel=1e-6)  # the same noise, the same start of the attack


def test_it_wraps_a_network_without_changing_it(noisy_model, images):
    model = rsr_tf.RSRModel(noisy_model.inputs, noisy_model.outputs)
    assert len(model.get_weights()) == len(noisy_model.get_weights())
    np.testing.assert_allclose(silence(model)(images), noisy_model(images), atol=1e-6)


def test_it_loads_the_weights_of_its_plain_network(noisy_model, images, tmp_path):
    noisy_model.save_weights(tmp_path / "plain.weights.h5")
    other = tiny_network()
    model = rsr_tf.RSRModel(other.inputs, other.outputs)
    model.load_weights(tmp_path / "plain.weights.h5")
    for old, new in zip(noisy_model.weights, model.weights, strict=True):
        np.testing.assert_array_equal(old, new)


# Mistakes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clean_weight": 1.5}, r"`clean_weight` must be in \[0, 1\]. Received: clean_weight=1.5"),
        ({"attack_labels": "soft"}, "`attack_labels` must be one of .* Received: attack_labels='soft'"),
        ({"warmup_steps": -1}, "`warmup_steps` must not be negative. Received: warmup_steps=-1"),
    ],
)
def test_wrong_arguments_are_refused(noisy_model, options, message):
    with pytest.raises(ValueError, match=message):
        rsr_tf.RSRModel(noisy_model.inputs, noisy_model.outputs, **options)


def test_two_outputs_are_refused():
    inputs = keras.Input((3,))
    with pytest.raises(ValueError, match=r"takes one input and one output. Received: 1 inputs and 2 outputs"):
        rsr_tf.RSRModel(inputs, [keras.layers.Dense(2)(inputs), keras.layers.Dense(2)(inputs)])


@pytest.mark.parametrize("as_dataset", [True, False])
def test_fit_refuses_pixels_outside_the_unit_interval(images, labels, as_dataset):
    data = (255 * images, labels)
    data = (tf.data.Dataset.from_tensor_slices(data).batch(4),) if as_dataset else data
    with pytest.raises(ValueError, match=r"`images` must be in \[0, 1\]. Received: pixels from .* to 25\d"):
        rsr_model().fit(*data)


def test_fit_refuses_labels_that_have_no_logit(images, labels):
    with pytest.raises(ValueError, match=r"`labels` must be in \[0, 9\], .* Received: labels from .* to 1\d"):
        rsr_model().fit(images, labels + 5)


def test_fit_refuses_a_data_set_without_labels(images):
    with pytest.raises(ValueError, match=r"`x` must give batches of \(images, labels, ...\). Received: "):
        rsr_model().fit(tf.data.Dataset.from_tensor_slices(images).batch(4))
