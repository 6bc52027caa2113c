"""Robust Sparse Regularization for TensorFlow and Keras 3: networks that are robust to attack, and sparse.

Names are imported when they are first used, so that `rsr --help` and reading a config need no TensorFlow. Import
`rsr_tf` after `keras`, or touch any name of it, before `keras.models.load_model` is to know its layers.
"""

import importlib
import sys

__version__ = "0.2.0"

_HOMES = {
    "NoisyConv1D": "layers",
    "NoisyConv1DTranspose": "layers",
    "NoisyConv2D": "layers",
    "NoisyConv2DTranspose": "layers",
    "NoisyConv3D": "layers",
    "NoisyConv3DTranspose": "layers",
    "NoisyConvBlock": "layers",
    "NoisyDense": "layers",
    "NoisyDepthwiseConv1D": "layers",
    "NoisyDepthwiseConv2D": "layers",
    "NoisySeparableConv1D": "layers",
    "NoisySeparableConv2D": "layers",
    "make_prunable": "layers",
    "unpruned_layers": "layers",
    "RSRModel": "training",
    "PruningCallback": "pruning_callback",
    "prune": "pruning",
    "sparsity": "pruning",
    "sparsity_table": "pruning",
    "add_noise": "convert",
    "strip": "convert",
    "as_model_fn": "evaluation",
    "export_saved_model": "export",
    "export_tflite": "tflite",
    "save_compact": "compact",
    "load_compact": "compact",
    "GroupLasso": "group_lasso",
    "prune_filters": "structured",
    "rebuild": "structured",
}
_MODULES = (
    *("artefacts", "attacks", "compact", "convert", "data", "evaluation", "export", "layers", "models", "noise"),
    *("pruning", "schedules", "structured", "tflite", "training"),
)
_SERIALIZED = ("attacks", "group_lasso", "layers", "schedules", "training")
"""Modules with classes that a `.keras` file may name, or a config of `keras.saving`."""

__all__ = ["__version__", *_HOMES, *_MODULES]


def __getattr__(name):
    if name not in _HOMES and name not in _MODULES:
        raise AttributeError(f"module `rsr_tf` has no attribute `{name}`")
    _register_classes()
    if name in _MODULES:
        return importlib.import_module(f"rsr_tf.{name}")
    return getattr(importlib.import_module(f"rsr_tf.{_HOMES[name]}"), name)


def __dir__():
    return sorted(__all__)


def _register_classes():
    for module in _SERIALIZED:
        importlib.import_module(f"rsr_tf.{module}")


if "keras" in sys.modules:
    _register_classes()
