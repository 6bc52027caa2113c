"""Robust Sparse Regularization for TensorFlow and Keras 3: networks that are robust to attack, and sparse.

Names are imported when they are first used, so that `rsr --help` and reading a config need no TensorFlow. Import
`rsr_tf` after `keras`, or touch any name of it, before `keras.models.load_model` meets its layers.
"""

import importlib
import sys

__version__ = "0.1.0"

_HOMES = {
    "NoisyConv2D": "layers",
    "NoisyConvBlock": "layers",
    "NoisyDense": "layers",
    "RSRModel": "training",
    "PruningCallback": "pruning",
    "prune": "pruning",
    "sparsity": "pruning",
    "sparsity_table": "pruning",
    "add_noise": "convert",
    "strip": "convert",
    "as_model_fn": "evaluation",
    "export_saved_model": "export",
}
_MODULES = ("attacks", "convert", "data", "evaluation", "export", "layers", "models", "noise", "pruning", "training")

__all__ = ["__version__", *_HOMES, *_MODULES]


def __getattr__(name):
    if name in _HOMES:
        return getattr(importlib.import_module(f"rsr_tf.{_HOMES[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"rsr_tf.{name}")
    raise AttributeError(f"module `rsr_tf` has no attribute `{name}`")


def __dir__():
    return sorted(__all__)


if "keras" in sys.modules:  # make the layers known to `keras.models.load_model`
    importlib.import_module("rsr_tf.training")
    importlib.import_module("rsr_tf.layers")
