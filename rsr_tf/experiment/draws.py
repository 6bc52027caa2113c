"""Networks whose prediction is the mean of several draws of their noise, as `evaluation.ensemble` asks for."""

from rsr_tf import evaluation
from rsr_tf.attacks import average_over_draws, ensemble


def averaged(model_fn, draws, average=ensemble):
    """Return a network that predicts by several draws of another one; for a single draw, that one itself.

    Args:
        model_fn: see `rsr_tf.evaluation.as_model_fn`; it draws new noise at every call.
        draws: integer, number of draws for each prediction.
        average: `rsr_tf.attacks.ensemble`, the default, or `average_over_draws`, whose gradient is the mean of theirs.
    """
    return evaluation.as_model_fn(average(model_fn, draws)) if draws > 1 else model_fn


def twins_of_mean(model_fn, draws):
    """Return further networks on which attacks on the mean of several draws are crafted; none for a single draw.

    Args:
        model_fn, draws: as for `averaged`.

    Returns:
        A dict of `model_fn`s for the argument `twins` of `rsr_tf.evaluation.run_suite`.
    """
    return {"mean of the gradients": averaged(model_fn, draws, average_over_draws)} if draws > 1 else {}


def draws_of_exported(config, metadata):
    """Return how many draws an exported network has to average, to predict as it did before its export.

    The endpoint `serve` of its SavedModel draws once.

    Args:
        config: a `Config`.
        metadata: as returned by `rsr_tf.experiment.load.open_saved_model`.
    """
    return config.evaluation.ensemble if metadata.get("noisy", True) else 1


def named(identity, draws):
    """Return the identity of a network with its number of draws, unless it draws once."""
    return f"{identity}, mean of {draws} draws" if draws > 1 else identity
