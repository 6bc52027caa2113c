"""The stages of a run and the other commands of `rsr`: the only package that knows both settings and the library."""

from rsr_tf.experiment.blackbox import transfer, zoo
from rsr_tf.experiment.evaluate import evaluate_saved_model
from rsr_tf.experiment.experiment import Experiment
from rsr_tf.experiment.grid import run_grid
from rsr_tf.experiment.summary import summarize
from rsr_tf.experiment.sweep import run_sweep

__all__ = ["Experiment", "evaluate_saved_model", "run_grid", "run_sweep", "summarize", "transfer", "zoo"]
