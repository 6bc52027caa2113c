"""From a config to a trained, pruned, attacked and exported network: the one place that turns settings into objects."""

from rsr_tf.experiment.blackbox import transfer, zoo
from rsr_tf.experiment.experiment import Experiment
from rsr_tf.experiment.saved_model import evaluate_saved_model
from rsr_tf.experiment.sweep import run_sweep

__all__ = ["Experiment", "evaluate_saved_model", "run_sweep", "transfer", "zoo"]
