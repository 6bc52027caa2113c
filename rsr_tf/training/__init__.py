"""Robust Sparse Regularization inside `model.fit`."""

from rsr_tf.training.model import RSRModel

__all__ = ["RSRModel"]
