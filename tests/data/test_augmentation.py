import numpy as np
import pytest
import tensorflow as tf
from image_folders import random_images

from rsr_tf.data import Augmentation, Split, training_batches
from rsr_tf.data.augmentation import LAYERS

COUNT = 6
SAME_FOR_ALL = ("AutoContrast", "Equalization")
"""Layers that draw nothing."""


def split(shape=(16, 16, 3)):
    return Split(random_images(COUNT, shape), np.arange(COUNT))


def batches(names, *, start_step=0, seed=3, count=5):
    stream = training_batches(split(), batch_size=COUNT, seed=seed, augment=names, start_step=start_step)
    return [x for x, _ in stream.take(count).as_numpy_iterator()]


@pytest.mark.slow
@pytest.mark.parametrize("name", LAYERS)
def test_batch_is_a_function_of_seed_and_step_alone(name):
    first = batches([name])
    np.random.default_rng().random()
    tf.random.set_seed(5)
    np.random.seed(5)
    resumed = batches([name], start_step=3, count=2)
    np.testing.assert_array_equal(first[3:], resumed)
    plain = batches([])
    for changed, original in zip(first, plain, strict=True):
        assert changed.shape == original.shape
        assert changed.min() >= 0
        assert changed.max() <= 1
    assert any(not np.array_equal(changed, original) for changed, original in zip(first, plain, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(LAYERS.keys() - set(SAME_FOR_ALL)))
def test_draws_differ_by_step_and_seed(name):
    change, images = Augmentation([name], (16, 16, 3)), tf.constant(random_images(COUNT, (16, 16, 3)) / 255, tf.float32)
    draw = tf.function(lambda seed, step: change(images, tf.cast([seed, step], tf.int64)))
    found = {draw(tf.constant(seed), tf.constant(step)).numpy().tobytes() for seed in (0, 1) for step in range(3)}
    assert len(found) > 3


def test_crop_and_flip_by_name_is_that_of_its_own_key():
    streams = [
        training_batches(split(), batch_size=COUNT, seed=3, **options).take(3)
        for options in ({"crop_and_flip": True}, {"augment": ["crop_and_flip"]})
    ]
    for (x, _), (expected, _) in zip(*streams, strict=True):
        np.testing.assert_array_equal(x, expected)


def test_flip_mirrors_some_images_and_leaves_the_others():
    change, images = Augmentation(["RandomFlip"], (16, 16, 3)), random_images(64, (16, 16, 3)).astype("float32") / 255
    found = change(tf.constant(images), tf.constant([0, 0], tf.int64)).numpy()
    flipped = [np.array_equal(one, image[:, ::-1]) for one, image in zip(found, images, strict=True)]
    kept = [np.array_equal(one, image) for one, image in zip(found, images, strict=True)]
    assert np.add(flipped, kept).tolist() == [1] * 64
    assert 16 <= sum(flipped) <= 48  # 4 standard deviations of 4 around 32


def test_order_of_two_layers_counts_and_each_has_its_own_draws():
    orders = (["RandomErasing", "RandomZoom"], ["RandomZoom", "RandomErasing"])
    assert not np.array_equal(*(batches(names, count=1)[0] for names in orders))
    twice = Augmentation(["RandomBrightness"] * 2, (16, 16, 3))
    images, key = tf.fill((COUNT, 16, 16, 3), 0.5), tf.constant([0, 0], tf.int64)
    once = twice.steps[0](images, key)
    assert not np.allclose(twice(images, key) - once, once - images, atol=1e-4)


@pytest.mark.parametrize(
    ("names", "shape", "message"),
    [
        (["MixUp"], (8, 8, 3), r"no layers that mix labels, as .*Received: MixUp"),
        (["RandomFlip", "Dense"], (8, 8, 3), r"`augment` must be of \('crop_and_flip', .*Received: 'Dense'"),
        (["RandomHue"], (8, 8, 1), r"RandomHue must be able to take images of shape \(8, 8, 1\)"),
    ],
)
def test_layer_that_cannot_be_used_is_refused(names, shape, message):
    with pytest.raises(ValueError, match=message):
        Augmentation(names, shape)
