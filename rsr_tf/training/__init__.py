"""Robust Sparse Regularization in `model.fit`."""

from rsr_tf.training.learning_rate import Sawtooth
from rsr_tf.training.losses import SmoothedCrossentropy
from rsr_tf.training.model import RSRModel

__all__ = ["RSRModel", "Sawtooth", "SmoothedCrossentropy"]
