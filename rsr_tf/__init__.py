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
    "PruningCallback": "pruning",
    "prune": "pruning",
    "sparsity": "pruning",
    "sparsity_table": "pruning",
    "add_noise": "layers.conversion",
    "strip": "layers.conversion",
    "as_model_fn": "evaluation",
    "export_saved_model": "export",
    "export_tflite": "export",
    "save_compact": "export",
    "load_compact": "export",
    "GroupLasso": "layers.regularizers",
    "prune_filters": "pruning",
    "rebuild": "pruning",
}
_MODULES = ("attacks", "data", "evaluation", "export", "layers", "models", "pruning", "training")
_MOVED = {
    "artefacts": "export.benchmark",
    "compact": "export.compact",
    "convert": "layers.conversion",
    "noise": "layers.noise",
    "schedules": "pruning.schedules",
    "structured": "pruning.structured",
    "tflite": "export.tflite",
}
"""Attributes that were modules of their own in version 0.2.0, and where these are now."""
_SERIALIZED = ("attacks", "layers.regularizers", "layers", "pruning.schedules", "training")
"""Modules with classes that a `.keras` file may name, or a config of `keras.saving`."""

__all__ = ["__version__", *_HOMES, *_MODULES, *_MOVED]


def __getattr__(name):
    if name not in __all__:
        raise AttributeError(f"module `rsr_tf` has no attribute `{name}`")
    _register_classes()
    if name in _HOMES:
        return getattr(importlib.import_module(f"rsr_tf.{_HOMES[name]}"), name)
    return importlib.import_module(f"rsr_tf.{_MOVED.get(name, name)}")


def __dir__():
    return sorted(__all__)


def _register_classes():
    for module in _SERIALIZED:
        importlib.import_module(f"rsr_tf.{module}")


if "keras" in sys.modules:
    _register_classes()
