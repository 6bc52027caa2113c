"""Layers whose weights are noisy in training, in the attack and at inference (Eq. 4), and can be pruned (Eq. 7, 8).

`weight_noise` holds what they have in common, `convolutions` and `dense` the layers, `block` the fast block of a
convolution and its normalization, `network` finds them in a model, and `prunable` gives a stock model its masks.
"""

from rsr_tf.layers.conv_block import NoisyConvBlock
from rsr_tf.layers.convolutions import (
    NoisyConv1D,
    NoisyConv1DTranspose,
    NoisyConv2D,
    NoisyConv2DTranspose,
    NoisyConv3D,
    NoisyConv3DTranspose,
    NoisyDepthwiseConv1D,
    NoisyDepthwiseConv2D,
    NoisySeparableConv1D,
    NoisySeparableConv2D,
)
from rsr_tf.layers.dense import NoisyDense
from rsr_tf.layers.kernels import (
    NOISY_COUNTERPARTS,
    PrunableKernel,
    by_path,
    check_functional,
    copied,
    inputs_and_outputs,
    is_convertible,
    is_functional,
    layers_of,
    noisy_layers,
    prunable_kernels,
    reseed_noise,
    stock_class,
    unpruned_layers,
)
from rsr_tf.layers.noisy_layer import FRESH, KernelRole, WeightNoise
from rsr_tf.layers.prunable import make_prunable

__all__ = [
    "FRESH",
    "NOISY_COUNTERPARTS",
    "KernelRole",
    "NoisyConv1D",
    "NoisyConv1DTranspose",
    "NoisyConv2D",
    "NoisyConv2DTranspose",
    "NoisyConv3D",
    "NoisyConv3DTranspose",
    "NoisyConvBlock",
    "NoisyDense",
    "NoisyDepthwiseConv1D",
    "NoisyDepthwiseConv2D",
    "NoisySeparableConv1D",
    "NoisySeparableConv2D",
    "PrunableKernel",
    "WeightNoise",
    "by_path",
    "check_functional",
    "copied",
    "inputs_and_outputs",
    "is_convertible",
    "is_functional",
    "layers_of",
    "make_prunable",
    "noisy_layers",
    "prunable_kernels",
    "reseed_noise",
    "stock_class",
    "unpruned_layers",
]
