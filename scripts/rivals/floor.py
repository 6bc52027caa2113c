"""Not a rival but the limit: the convolutions of one step, each run alone, and nothing else.

Forward and input gradient in every attack step; forward, weight gradient and, but for the first layer, input gradient
in each of the two training passes.
"""

import tensorflow as tf

import rsr_tf
from rivals import ours


def build(settings):
    dtype = tf.as_dtype(settings["precision"])
    blocks = [layer for layer in ours.network(settings).layers if isinstance(layer, rsr_tf.NoisyConvBlock)]
    works = [_convolution(block, settings["batch"], dtype) for block in blocks]
    attack_steps = settings["steps"]

    def step():
        for number, work in enumerate(works):
            for _ in range(attack_steps + 2):
                work["forward"]()
            for _ in range(attack_steps + 2 if number else attack_steps):
                work["input_gradient"]()
            for _ in range(2):
                work["weight_gradient"]()

    return step


def _convolution(block, batch, dtype):
    layer = block.convolution
    strides, padding = [1, *layer.strides, 1], layer.padding.upper()
    x = tf.cast(tf.random.normal((batch, *block.input.shape[1:])), dtype)
    kernel = tf.cast(tf.random.normal(layer.kernel.shape), dtype)
    y = tf.nn.conv2d(x, kernel, strides, padding)
    options = {"strides": strides, "padding": padding}
    return {
        "forward": tf.function(lambda: tf.nn.conv2d(x, kernel, strides, padding)),
        "input_gradient": tf.function(
            lambda: tf.raw_ops.Conv2DBackpropInput(input_sizes=x.shape, filter=kernel, out_backprop=y, **options)
        ),
        "weight_gradient": tf.function(
            lambda: tf.raw_ops.Conv2DBackpropFilter(input=x, filter_sizes=kernel.shape, out_backprop=y, **options)
        ),
    }
