"""The stages of a run and the other commands of `rsr`: the only package that knows both settings and the library."""

from rsr_tf.experiment.ball import choose_ball
from rsr_tf.experiment.blackbox import transfer, zoo
from rsr_tf.experiment.compare import compare_runs
from rsr_tf.experiment.evaluate import evaluate_saved_model
from rsr_tf.experiment.experiment import Experiment
from rsr_tf.experiment.given import (
    evaluate_given,
    export_given,
    given_config,
    is_given,
    measure_given,
    prune_given,
)
from rsr_tf.experiment.grid import run_grid
from rsr_tf.experiment.report import refresh_report
from rsr_tf.experiment.summary import summarize
from rsr_tf.experiment.sweep import run_sweep

__all__ = [
    "Experiment",
    "choose_ball",
    "compare_runs",
    "evaluate_given",
    "evaluate_saved_model",
    "export_given",
    "given_config",
    "is_given",
    "measure_given",
    "prune_given",
    "refresh_report",
    "run_grid",
    "run_sweep",
    "summarize",
    "transfer",
    "zoo",
]
