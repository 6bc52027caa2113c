"""Stock layers of every kind that has a noisy counterpart."""

import keras
import numpy as np

layers = keras.layers


STOCK = {
    "Conv1D": (layers.Conv1D(4, 3, padding="same", strides=2), (8, 6)),
    "Conv1D, causal": (layers.Conv1D(4, 3, padding="causal", dilation_rate=2), (8, 6)),
    "Conv2D, grouped": (layers.Conv2D(4, 3, groups=2), (8, 8, 6)),
    "Conv2D, dilated": (layers.Conv2D(4, 3, dilation_rate=2), (8, 8, 6)),
    "Conv3D": (layers.Conv3D(4, 2, padding="same"), (3, 4, 4, 6)),
    "Conv1DTranspose": (layers.Conv1DTranspose(4, 3, strides=2), (8, 6)),
    "Conv2DTranspose": (layers.Conv2DTranspose(4, 3, strides=2, padding="same", output_padding=1), (4, 4, 6)),
    "Conv3DTranspose": (layers.Conv3DTranspose(4, 2), (3, 3, 3, 6)),
    "DepthwiseConv1D": (layers.DepthwiseConv1D(3, depth_multiplier=2, padding="same"), (8, 6)),
    "DepthwiseConv2D": (layers.DepthwiseConv2D(3, depth_multiplier=2, strides=2), (8, 8, 6)),
    "SeparableConv1D": (layers.SeparableConv1D(4, 3, depth_multiplier=2), (8, 6)),
    "SeparableConv2D": (layers.SeparableConv2D(4, 3, padding="same"), (8, 8, 6)),
    "Dense": (layers.Dense(4), (8, 6)),
}


def inputs_for(model):
    return np.random.default_rng(0).normal(size=(5, *model.input_shape[1:])).astype("float32")
