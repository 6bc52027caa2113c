import numpy as np
import pytest
import tensorflow as tf
from digit_networks import IMAGES, TEST, TRAIN, undefended

from rsr_tf.evaluation import substitute

pytestmark = pytest.mark.slow


@pytest.fixture
def fewer_epochs(monkeypatch):
    monkeypatch.setattr(substitute, "EPOCHS", 2)


def class_alone(x):
    return tf.one_hot(tf.argmax(undefended(x), axis=-1), 10)


def test_substitute_learns_the_answers_from_the_classes_alone():
    network = substitute.train_substitute(class_alone, IMAGES[TRAIN], epsilon=0.1)
    same = np.argmax(network(IMAGES[TEST]), axis=1) == np.argmax(undefended(IMAGES[TEST]), axis=1)
    assert same.mean() > 0.8


def test_substitute_is_a_function_of_its_seed(fewer_epochs):
    few = IMAGES[TEST][:20]
    first, again, other = (
        substitute.train_substitute(class_alone, few, epsilon=0.1, seed=seed)(few).numpy() for seed in (0, 0, 1)
    )
    np.testing.assert_allclose(first, again, rtol=1e-4, atol=1e-5)
    assert np.abs(first - other).max() > 0.1


@pytest.mark.parametrize("shape", [(2, 5, 4, 3), (1, 40, 40, 1)])
def test_images_of_any_size_are_taken(fewer_epochs, shape):
    images = np.random.default_rng(0).uniform(size=shape).astype("float32")

    def model_fn(x):
        return tf.reduce_mean(x, axis=(1, 2))[:, :1] * [[1.0, -1.0, 0.0]]

    assert substitute.train_substitute(model_fn, images, epsilon=0.1)(images).shape == (shape[0], 3)
