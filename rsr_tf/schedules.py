"""The pruning schedules under their import path of version 0.2.0; they are defined in `rsr_tf.pruning.schedules`."""

from rsr_tf.pruning.schedules import ConstantSparsity, OneShot, PolynomialDecay, PruningSchedule, Rounds

__all__ = ["ConstantSparsity", "OneShot", "PolynomialDecay", "PruningSchedule", "Rounds"]
