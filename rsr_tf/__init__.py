"""Robust Sparse Regularization for TensorFlow and Keras 3: image classifiers that are robust to attack, and sparse.

Names are imported when they are first used, so that `rsr --help` and reading a config need no TensorFlow. The classes
of this package are registered with Keras as soon as both are imported, in either order.
"""

import functools
import importlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # for IDEs and type checkers
    from rsr_tf import attacks, data, evaluation, export, layers, models, pruning, training
    from rsr_tf.evaluation import as_model_fn
    from rsr_tf.export import benchmark as artefacts
    from rsr_tf.export import compact, export_saved_model, export_tflite, load_compact, save_compact, tflite
    from rsr_tf.layers import (
        NoisyConv1D,
        NoisyConv1DTranspose,
        NoisyConv2D,
        NoisyConv2DTranspose,
        NoisyConv3D,
        NoisyConv3DTranspose,
        NoisyConvBlock,
        NoisyDense,
        NoisyDepthwiseConv1D,
        NoisyDepthwiseConv2D,
        NoisySeparableConv1D,
        NoisySeparableConv2D,
        make_prunable,
        noise,
        unpruned_layers,
    )
    from rsr_tf.layers import conversion as convert
    from rsr_tf.layers.conversion import add_noise, strip
    from rsr_tf.layers.regularizers import GroupLasso
    from rsr_tf.pruning import (
        PruningCallback,
        prune,
        prune_filters,
        rebuild,
        schedules,
        sparsity,
        sparsity_table,
        structured,
    )
    from rsr_tf.training import RSRModel

__version__ = "0.3.0.dev0"

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
"""Public names and the modules that define them."""
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
"""Attributes that were modules of the package root in version 0.2.0, and their new names."""
_SERIALIZED = ("attacks", "layers.regularizers", "layers", "pruning.schedules", "training")
"""Modules with classes that Keras must know to load a `.keras` file."""

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


class _RegistrationFinder:
    """Finder that changes no import, but registers the classes of this package once Keras has been imported.

    TensorFlow and the modules of this package import Keras themselves, so the end of the outermost import counts.
    """

    depth = 0

    def find_spec(self, name, path=None, target=None):
        if name not in ("keras", "tensorflow") and not name.startswith("rsr_tf."):
            return None
        found = (finder.find_spec(name, path, target) for finder in sys.meta_path if finder is not self)
        spec = next(filter(None, found), None)
        if spec is not None and spec.loader is not None:
            spec.loader.exec_module = functools.partial(self._execute, spec.loader.exec_module)
        return spec

    def _execute(self, exec_module, module):
        self.depth += 1
        try:
            exec_module(module)
        finally:
            self.depth -= 1
        if self.depth == 0 and "keras" in sys.modules and self in sys.meta_path:
            sys.meta_path.remove(self)
            _register_classes()


if "keras" in sys.modules:
    _register_classes()
else:
    sys.meta_path.insert(0, _RegistrationFinder())
