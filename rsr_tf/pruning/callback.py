"""Pruning inside `fit`: at the end of an epoch, or as a schedule of optimizer steps says."""

import logging

import keras
import numpy as np
import tensorflow as tf

from rsr_tf.layers import make_prunable
from rsr_tf.layers.registry import is_functional
from rsr_tf.pruning.magnitude import check_target, prune, select_kernels, sparsity

log = logging.getLogger(__name__)


class SparsityLog(keras.callbacks.Callback):
    """Adds the share of zero weights to what other callbacks log; to be listed before them."""

    def on_epoch_end(self, epoch, logs=None):
        logs["sparsity"] = sparsity(self.model)


class PruningCallback(SparsityLog):
    """Prune inside `fit`; the masks hold through all training after it, and pruning only ever adds zeros.

    A schedule is asked about every value of `optimizer.iterations`, the number of updates done: about that which `fit`
    starts from, 0 or where a run goes on, and then after every update. With `steps_per_execution=N` it is asked about N
    steps at once, and the network pruned once, to the sparsity of the last of them that should prune. As all depends on
    that number, which a checkpoint holds as it holds the masks, a run that was stopped goes on as if it had not been.

    A stock model gets its masks before the first step, so that it is traced once (see `rsr_tf.make_prunable`).
    The sparsity of the network is added to the logs of every epoch as `sparsity`, and every layer that is pruned has
    `threshold` and `pruning_step` of the last pruning.

    TFMOT lets a pruned weight grow again for one update before each new mask, so it may come back; here it may not, as
    checkpoints, exports and later trainings rely on zeros that stay. docs/pruning.md has what this changes.

    Args:
        schedule: callable `schedule(step) -> (should_prune, sparsity)`, such as `rsr_tf.schedules.PolynomialDecay`,
            TFMOT's classes or one of your own. It gets an int64 scalar tensor, `int(step)` in plain Python, and may
            give tensors. `None`, the default, prunes once, at the end of an epoch, to `sparsity` or by `gamma`.
        sparsity, gamma: as for `rsr_tf.prune`; not beside a schedule.
        scope, exclude, max_layer_sparsity: as for `rsr_tf.prune`.
        epoch: without a schedule, number of the epoch, from 0, at whose end the network is pruned; the last one of
            `epochs=10` is 9. Defaults to 0. Training that ends before it has pruned anything logs a warning.

    Raises:
        ValueError: as `rsr_tf.prune`; for a schedule that is no callable or that comes with `sparsity`, `gamma` or
            `epoch`; by `fit`, for a schedule that gives anything but a pair of truth and share.

    Example:
        >>> schedule = rsr_tf.schedules.PolynomialDecay(0.0, 0.8, begin_step=1000, end_step=5000)
        >>> model.fit(train, epochs=10, callbacks=[PruningCallback(schedule)])
        >>> model.fit(train, epochs=10, callbacks=[PruningCallback(sparsity=0.6, epoch=7)])
    """

    def __init__(
        self,
        schedule=None,
        *,
        sparsity=None,
        gamma=None,
        scope="global",
        exclude=(),
        max_layer_sparsity=None,
        epoch=None,
    ):
        super().__init__()
        if schedule is None:
            check_target(sparsity, gamma, scope, max_layer_sparsity)
        else:
            _check_schedule(schedule, sparsity=sparsity, gamma=gamma, epoch=epoch)
            check_target(0.0, None, scope, max_layer_sparsity)
        self.schedule = schedule
        self.target = {"sparsity": sparsity, "gamma": gamma}
        self.selection = {"scope": scope, "exclude": exclude, "max_layer_sparsity": max_layer_sparsity}
        self.epoch = epoch or 0

    def set_model(self, model):
        super().set_model(model)
        select_kernels(model, self.selection["exclude"])  # a mistake should not wait for the first pruning
        if is_functional(model):
            make_prunable(model)

    def on_train_begin(self, logs=None):
        self._asked = None
        self._has_pruned = False

    def on_train_batch_begin(self, batch, logs=None):
        if self._asked is None:  # not before every other callback had its turn to restore a checkpoint
            self._asked = self._updates_done() - 1
            self._follow_schedule()

    def on_train_batch_end(self, batch, logs=None):
        self._follow_schedule()

    def on_epoch_end(self, epoch, logs=None):
        if self.schedule is None and epoch == self.epoch:
            self._prune(**self.target)
        super().on_epoch_end(epoch, logs)

    def on_train_end(self, logs=None):
        if not (self._has_pruned or sparsity(self.model)):
            when = f"epoch {self.epoch}" if self.schedule is None else f"step {self._updates_done()} or before"
            log.warning("nothing was pruned: training ended without a pruning at %s", when)

    def _prune(self, **target):
        prune(self.model, **target, **self.selection)
        self._has_pruned = True

    def _follow_schedule(self):
        if self.schedule is None:
            return
        now = self._updates_done()
        due = [
            (step, share)
            for step in range(self._asked + 1, now + 1)
            for should_prune, share in [ask(self.schedule, step)]
            if should_prune
        ]
        self._asked = now
        if due:
            step, share = due[-1]
            self._prune(sparsity=share)
            log.info("step %d: pruned to %.2f %%%s", now, 100 * sparsity(self.model), _asked_for(step, now))

    def _updates_done(self):
        return int(self.model.optimizer.iterations)


def ask(schedule, step):
    """What a schedule says about a step, in plain Python.

    Args:
        schedule: callable of the schedule protocol; see `rsr_tf.schedules`.
        step: integer.

    Returns:
        `(should_prune, sparsity)`, a bool and a float; where nothing is to be pruned, the sparsity is 0.

    Raises:
        ValueError: for an answer that is not a pair of scalars, or one to prune to a share outside [0, 1].
    """
    answer = schedule(tf.constant(step, tf.int64))
    try:
        should_prune, share = answer
        should_prune = bool(np.asarray(should_prune))
        share = float(np.asarray(share)) if should_prune else 0.0
    except (TypeError, ValueError) as error:
        raise ValueError(f"`schedule` must give (should_prune, sparsity). Received: {answer}") from error
    if not 0 <= share <= 1:
        raise ValueError(f"`schedule` must give a sparsity in [0, 1]. Received: sparsity={share} at step {step}")
    return should_prune, share


def _check_schedule(schedule, **others):
    if not callable(schedule):
        raise ValueError(
            f"`schedule` must be a callable schedule(step) -> (should_prune, sparsity). Received: {schedule!r}"
        )
    for name, value in others.items():
        if value is not None:
            raise ValueError(f"`schedule` says when and how much, so `{name}` must be None. Received: {name}={value}")


def _asked_for(step, now):
    return "" if step == now else f", as step {step} asked"
