"""A substitute of a network, trained on its answers alone, whose gradients can be trusted (Papernot et al. 2017)."""

import keras
import numpy as np
import tensorflow as tf

from rsr_tf.evaluation.model_fn import as_model_fn, in_batches

MOST_IMAGES, EPOCHS, BATCH = 1000, 20, 50


def train_substitute(model_fn, images, *, epsilon, seed=0):
    """Train a small convolutional network on the classes that another network predicts.

    In each epoch, the images are shown with new random noise, and the network is asked for their classes.

    Args:
        model_fn: see `rsr_tf.evaluation.as_model_fn`; never differentiated.
        images: float32 `(n, h, w, c)` in [0,1]; the first 1000 are used.
        epsilon: largest change of a pixel by the noise.
        seed: integer, for weights, noise and order. Defaults to 0.

    Returns:
        A `model_fn` from images to logits.
    """
    images, random = np.asarray(images[:MOST_IMAGES], np.float32), np.random.default_rng(seed)
    classify = in_batches(
        tf.function(lambda x, labels: tf.argmax(model_fn(x), axis=-1, output_type=tf.int32)),
        batch_size=min(BATCH, len(images)),
    )
    classes = model_fn(tf.constant(images[:1])).shape[-1]
    network = _network(images.shape[1:], classes, seed)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(optimizer=keras.optimizers.Adam(3e-3), loss=loss)
    network.optimizer.build(network.trainable_variables)  # before the first step, which would be traced twice
    for _ in range(EPOCHS):
        shown = images[random.permutation(len(images))]
        shown = np.clip(shown + random.uniform(-epsilon, epsilon, shown.shape), 0, 1).astype(np.float32)
        answers = classify(shown, np.zeros(len(shown)))
        for first in range(0, len(shown), BATCH):  # a call of `fit` for each epoch takes twice as long
            network.train_on_batch(shown[first : first + BATCH], answers[first : first + BATCH])
    return as_model_fn(network)


def _network(shape, classes, seed):
    """Return two convolutions on images of at most 16 pixels a side, and a dense layer."""

    def seeded(number):
        return {"kernel_initializer": keras.initializers.HeNormal(seed=seed + number)}

    return keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.AveragePooling2D(max(1, min(shape[:2]) // 16)),
            keras.layers.Conv2D(32, 3, padding="same", activation="relu", **seeded(0)),
            keras.layers.Conv2D(32, 3, strides=2, padding="same", activation="relu", **seeded(1)),
            keras.layers.Flatten(),
            keras.layers.Dense(classes, **seeded(2)),
        ]
    )
