"""This library, as `fit` runs it."""

import keras
import tensorflow as tf

import rsr_tf
from rivals import EPSILON, LASSO, LEARNING_RATE, STEP_SIZE


def build(settings):
    return step_of(network(settings), settings)


def network(settings, **changes):
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy("mixed_bfloat16" if settings["precision"] == "bfloat16" else "float32")
    shape = {"input_shape": image_shape(settings), "width": settings.get("width", 1.0)}
    options = {"noise": settings["noise"], "lasso": LASSO} | shape | changes
    return getattr(rsr_tf.models, settings["network"])(**options)


def step_of(model, settings):
    """One step of `RSRModel`'s train function over a network."""
    attack = rsr_tf.attacks.PGD(epsilon=EPSILON, step_size=STEP_SIZE, steps=settings["steps"])
    rsr = rsr_tf.RSRModel(model.inputs, model.outputs, attack=attack, seed=0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    rsr.compile(keras.optimizers.SGD(LEARNING_RATE, momentum=0.9, nesterov=True), loss, metrics=["accuracy"])
    rsr.optimizer.build(rsr.trainable_variables)
    iterator = iter(tf.data.Dataset.from_tensors(batch(settings)).repeat())
    rsr.make_train_function()

    def step():
        float(rsr.train_function(iterator)["loss"])

    return step


def batch(settings):
    """The same images and labels for every rival that runs on TensorFlow."""
    generator = tf.random.Generator.from_seed(0)
    count = settings["batch"]
    return generator.uniform((count, *image_shape(settings))), generator.uniform((count,), 0, 10, tf.int32)


def image_shape(settings):
    side = settings.get("image", 32)
    return side, side, 3
