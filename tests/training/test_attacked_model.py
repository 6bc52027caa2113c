"""What `fit` and `evaluate` may be given, and what is refused before or during the steps."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import compiled, tiny_network

import rsr_tf
from rsr_tf.training import attacked_model
from rsr_tf.training.batches import peek

PGD = rsr_tf.attacks.PGD(epsilon=0.1, step_size=0.05, steps=1)
OUT_OF_RANGE = r"`images` must be in \[0, 1\]. Received: pixels from .* to 2"


def rsr_model():
    network = tiny_network(noise="none")
    return compiled(rsr_tf.RSRModel(network.inputs, network.outputs, attack=PGD, seed=0))


class Batches(keras.utils.PyDataset):
    """Four batches of four images."""

    def __init__(self, images, labels):
        super().__init__()
        self.images, self.labels = images, labels

    def __len__(self):
        return 4

    def __getitem__(self, index):
        part = slice(4 * index, 4 * index + 4)
        return self.images[part], self.labels[part]


def generated(images, labels):
    yield from Batches(images, labels)


def data_set(images, labels):
    return tf.data.Dataset.from_tensor_slices((images, labels)).batch(4)


SOURCES = {"PyDataset": Batches, "generator": generated, "Dataset": data_set}


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_every_source_trains_like_arrays(source, images, labels):
    first, second = rsr_model(), rsr_model()
    second.set_weights(first.get_weights())
    first.fit(images, labels, batch_size=4, shuffle=False, verbose=0)
    second.fit(source(images, labels), steps_per_epoch=4, shuffle=False, verbose=0)
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_pixels_out_of_range_are_refused_from_every_source(source, images, labels):
    with pytest.raises(ValueError, match=OUT_OF_RANGE):
        rsr_model().fit(source(255 * images, labels), verbose=0)


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_pixels_out_of_range_are_refused_in_a_later_batch(source, images, labels):
    """The first batch is black, and so in every range."""
    images = np.concatenate([np.zeros_like(images[:4]), 255 * images[4:]])
    with pytest.raises(ValueError, match=OUT_OF_RANGE + ".* in a later batch"):
        rsr_model().fit(source(images, labels), steps_per_epoch=4, shuffle=False, verbose=0)


@pytest.mark.parametrize("as_data_set", [True, False])
def test_validation_images_out_of_range_are_refused_before_the_training(as_data_set, images, labels):
    validation = (255 * images, labels)
    steps = []
    count = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: steps.append(batch))
    with pytest.raises(ValueError, match=OUT_OF_RANGE):
        rsr_model().fit(
            images,
            labels,
            validation_data=data_set(*validation) if as_data_set else validation,
            verbose=0,
            callbacks=[count],
        )
    assert steps == []


def test_images_out_of_range_are_refused_by_evaluate(images, labels):
    with pytest.raises(ValueError, match=OUT_OF_RANGE):
        rsr_model().evaluate(255 * images, labels, verbose=0)


@pytest.mark.slow
@pytest.mark.parametrize("wrap", [lambda x: {"image": x}, lambda x: [x], lambda x: (x,)])
def test_structures_of_one_are_taken(wrap, images, labels):
    history = rsr_model().fit(wrap(images), {"logits": labels}, verbose=0).history
    assert history["adversarial_loss"][0] > history["clean_loss"][0]


def test_input_of_whole_numbers_is_refused_with_the_remedy():
    inputs = keras.Input((8, 8, 1), dtype="uint8")
    outputs = keras.layers.Dense(3)(keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(inputs)))
    with pytest.raises(ValueError, match=r"floating-point numbers .*Rescaling\(255\)`. Received: uint8"):
        rsr_tf.RSRModel(inputs, outputs, attack=PGD)


def test_dense_prediction_is_refused():
    inputs = keras.Input((8, 8, 1))
    with pytest.raises(ValueError, match=r"of shape \(n, k\), one answer for an image. Received: \(None, 6, 6, 3\)"):
        rsr_tf.RSRModel(inputs, keras.layers.Conv2D(3, 3)(inputs), attack=PGD)


@pytest.mark.slow
def test_labels_of_an_objective_in_another_form_are_attacked_by_cross_entropy(images, labels):
    model = rsr_model()
    probabilities = tf.nn.softmax(model(images))
    attack = rsr_tf.attacks.PGD(epsilon=0.1, step_size=0.05, steps=1, random_start=False)
    model.set_attack(attack)
    found = model.attacked(model, tf.constant(images), probabilities, tf.constant(labels))
    np.testing.assert_allclose(found, attack(model, images, probabilities), atol=1e-6)


@pytest.mark.slow
def test_fit_looks_at_its_validation_data_once(images, labels, monkeypatch):
    """Keras reads one iterator in all epochs; a batch that is read from the generator in between would be lost."""
    looked_at = []
    monkeypatch.setattr(attacked_model, "peek", lambda x, y: looked_at.append(x) or peek(x, y))
    validation = (batch for batch in itertools.repeat((images[:4], labels[:4])))
    rsr_model().fit(images, labels, validation_data=validation, validation_steps=2, epochs=3, verbose=0)
    assert len(looked_at) == 2  # training and validation data
