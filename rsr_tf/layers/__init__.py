"""Keras layers with a pruning mask (Eq. 7, 8) and weight noise (Eq. 4) in training, under attack and at inference.

- `noisy_layer`: the mixin that all of them share; `noise`: its functions.
- `convolutions`, `dense`, `conv_block`: the layers; `feature_noise`: noise on pixels and features, without weights.
- `registry`: which stock layer has which noisy counterpart.
- `kernels`: the noisy layers and prunable kernels of a model.
- `prunable`, `conversion`, `copying`: from stock layers to masked or noisy ones, and back; `graphs`: to another graph.
- `regularizers`: the group lasso, and the penalty of Defensive Quantization; `constraints`: the Parseval retraction.
- `replicas`: random numbers and shares of the devices of a `tf.distribute.Strategy`.
- `quantized_relu`: the activation of Defensive Quantization; `spectral_norms`: the largest singular value of kernels.
"""

from rsr_tf.layers.constraints import Parseval
from rsr_tf.layers.conv_block import NoisyConvBlock
from rsr_tf.layers.conversion import add_noise, strip
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
from rsr_tf.layers.feature_noise import FeatureNoise
from rsr_tf.layers.kernels import (
    PrunableKernel,
    draws_noise,
    feature_noises,
    noisy_layers,
    prunable_kernels,
    reseed_noise,
    unpruned_layers,
)
from rsr_tf.layers.prunable import make_prunable
from rsr_tf.layers.quantized_relu import QuantizedReLU, float_twin, wide_twin
from rsr_tf.layers.regularizers import GroupLasso, Orthogonality
from rsr_tf.layers.spectral_norms import SpectralNorm, spectral_norms

__all__ = [
    "FeatureNoise",
    "GroupLasso",
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
    "Orthogonality",
    "Parseval",
    "PrunableKernel",
    "QuantizedReLU",
    "SpectralNorm",
    "add_noise",
    "draws_noise",
    "feature_noises",
    "float_twin",
    "make_prunable",
    "noisy_layers",
    "prunable_kernels",
    "reseed_noise",
    "spectral_norms",
    "strip",
    "unpruned_layers",
    "wide_twin",
]
