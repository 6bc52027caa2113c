"""A training step by hand with stock Keras layers and cleverhans' PGD, all in one tf.function; without noise."""

import keras
import numpy as np
import tensorflow as tf
from cleverhans.tf2.attacks.projected_gradient_descent import projected_gradient_descent

import rsr_tf
from rivals import EPSILON, LASSO, LEARNING_RATE, STEP_SIZE, ours


def build(settings):
    model = rsr_tf.strip(ours.network(settings))
    optimizer = keras.optimizers.SGD(LEARNING_RATE, momentum=0.9, nesterov=True)
    optimizer.build(model.trainable_variables)
    loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    kernels = [weight for weight in model.trainable_variables if weight.name == "kernel"]
    x, y = ours.batch(settings)

    def model_fn(x):
        return model(x, training=False)

    @tf.function
    def train(x, y):
        x_adv = projected_gradient_descent(
            model_fn, x, EPSILON, STEP_SIZE, settings["steps"], np.inf, y=y, rand_init=True, clip_min=0.0, clip_max=1.0
        )
        with tf.GradientTape() as tape:
            loss = 0.5 * (loss_fn(y, model(x, training=True)) + loss_fn(y, model(x_adv, training=True)))
            loss += LASSO * tf.add_n([tf.reduce_sum(tf.abs(kernel)) for kernel in kernels])
        variables = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    return lambda: float(train(x, y))
