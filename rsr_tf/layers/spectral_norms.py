"""The largest singular value of every kernel: whether a layer can expand distances."""

from typing import NamedTuple

import numpy as np

from rsr_tf.keras_internals import nested_layers
from rsr_tf.layers.conv_block import NoisyConvBlock
from rsr_tf.layers.kernels import prunable_kernels

DEPTHWISE = (-2, -1)
"""Axes of the filters in a depthwise kernel."""


class SpectralNorm(NamedTuple):
    """The largest singular value of one kernel as a matrix.

    Args:
        plain: number, that of the kernel itself, which `rsr_tf.layers.Orthogonality` bounds.
        folded: number, that of the kernel with the batch normalization of its `NoisyConvBlock` folded in, which is what
            the network applies at inference; `None` outside a block.

    Example:
        >>> rsr_tf.layers.SpectralNorm(plain=1.0, folded=2.5).folded
        2.5
    """

    plain: float
    folded: float | None


def spectral_norms(model):
    """Return the largest singular value of every conv and dense kernel, as the forward pass uses it without noise.

    A kernel is taken as the matrix `(kh * kw * channels, filters)`. A dense layer with a value of at most 1 expands no
    distance. A convolution of stride 1 may expand distances by up to sqrt(kh * kw) times the value, as every pixel is
    in kh * kw patches. Batch normalization scales each filter after the kernel, so what counts is the folded value.
    That of a separate `BatchNormalization` layer is not followed: convert with `rsr_tf.strip(model, fold=True)` first.

    Args:
        model: a built Keras model, noisy, pruned, stripped or stock.

    Returns:
        A dict from the path of each kernel, see `rsr_tf.layers.prunable_kernels`, to its `SpectralNorm`.

    Example:
        >>> for path, norm in rsr_tf.layers.spectral_norms(rsr_tf.models.small_cnn()).items():
        ...     print(path, norm.folded is not None)
        conv1/convolution True
        conv2/convolution True
        conv3/convolution True
        logits False
    """
    blocks = {id(layer.convolution): layer for layer in nested_layers(model) if isinstance(layer, NoisyConvBlock)}
    return {
        path: SpectralNorm(
            plain=_norm(kernel.value(), kernel.filter_axes),
            folded=_folded(blocks.get(id(kernel.layer)), kernel),
        )
        for path, kernel in prunable_kernels(model).items()
    }


def _folded(block, kernel):
    return None if block is None else _norm(np.asarray(block.fold(kernel.value())[0]), kernel.filter_axes)


def _norm(kernel, filter_axes):
    """Return the largest singular value; a depthwise kernel is a matrix for each channel."""
    if filter_axes == DEPTHWISE:
        channels = np.moveaxis(kernel, -2, 0)
        matrices = channels.reshape(len(channels), -1, kernel.shape[-1])
    else:
        (axis,) = filter_axes
        matrices = np.moveaxis(kernel, axis, -1).reshape(1, -1, kernel.shape[axis])
    return float(np.linalg.norm(matrices.astype(np.float64), ord=2, axis=(1, 2)).max())
