"""Callbacks that prune inside `fit` and log the sparsity."""

import logging

import keras
import numpy as np
import tensorflow as tf

from rsr_tf.layers import make_prunable
from rsr_tf.layers.registry import is_functional
from rsr_tf.pruning.magnitude import check_target, prune, select_kernels
from rsr_tf.pruning.tables import sparsity

log = logging.getLogger(__name__)


class SparsityLogger(keras.callbacks.Callback):
    """Callback that adds the sparsity of the model to the logs of each epoch; list it before callbacks that use it."""

    def on_epoch_end(self, epoch, logs=None):
        logs["sparsity"] = sparsity(self.model)


class PruningCallback(SparsityLogger):
    """Callback that prunes a model inside `fit`, once or by a schedule.

    Masks hold through all later training, and pruning only ever adds zeros. The sparsity of the model is added to the
    logs of every epoch as `sparsity`. Pruned layers have `threshold` and `pruning_step` of the last pruning.

    The schedule is called with each value of `optimizer.iterations`, the number of updates done: first the one at which
    `fit` starts, then one after each update. With `steps_per_execution=N` it is called for N steps at once, and the
    model is pruned once, to the sparsity of the last of these steps that prunes. The number of updates and the masks
    are saved in checkpoints; a resumed run therefore behaves like an uninterrupted one.

    A stock model gets its masks before the first step, so that it is traced once (see `rsr_tf.make_prunable`).

    In TFMOT a pruned weight is updated once more before each new mask, so it may become nonzero again. Here it stays
    zero, as checkpoints, exports and later trainings rely on it. See docs/pruning.md for the consequences.

    Args:
        schedule: callable `schedule(step) -> (should_prune, sparsity)`, such as `rsr_tf.schedules.PolynomialDecay`, one
            of TFMOT's schedules or a custom function. The step is an int64 scalar tensor; `int(step)` converts it. The
            results may be tensors. Defaults to `None`: prune once, at the end of an epoch, by `sparsity` or `gamma`.
        sparsity, gamma: as for `rsr_tf.prune`; must be `None` with a schedule.
        scope, exclude, max_layer_sparsity: as for `rsr_tf.prune`.
        epoch: integer, the epoch, counted from 0, at whose end the model is pruned; without a schedule only. The last
            epoch of `epochs=10` is 9. Defaults to 0. If training ends before any pruning, a warning is logged.

    Raises:
        ValueError: as `rsr_tf.prune`; for a schedule that is not callable, or that is combined with `sparsity`, `gamma`
            or `epoch`; in `fit`, for a schedule that does not return a bool and a sparsity in [0, 1].

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(10)])
        >>> model.compile("sgd", "mse")
        >>> schedule = rsr_tf.schedules.PolynomialDecay(0.0, 0.8, begin_step=2, end_step=6, frequency=2)
        >>> callback = rsr_tf.PruningCallback(schedule)
        >>> history = model.fit(np.ones((16, 8)), np.ones((16, 10)), batch_size=2, callbacks=[callback], verbose=0)
        >>> rsr_tf.sparsity(model)
        0.8
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
        select_kernels(model, self.selection["exclude"])  # report an invalid `exclude` before training
        if is_functional(model):
            make_prunable(model)

    def on_train_begin(self, logs=None):
        self._last_step = None
        self._has_pruned = False
        self._reached = 0.0
        self._look_again_last()

    def on_train_batch_begin(self, batch, logs=None):
        if self._last_step is None:  # not in `on_train_begin`: another callback may restore a checkpoint there
            self._last_step = self._updates_done() - 1
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
        self._warn_if_undone()

    def _look_again_last(self):
        """Let the `History`, which Keras lists after all callbacks of the user, look at the sparsity once more.

        `EarlyStopping` restores weights at the end of training, so a callback that is listed before it sees nothing.
        """
        history = getattr(self.model, "history", None)
        if not isinstance(history, keras.callbacks.History):  # a loop of its own may have none
            return

        def on_train_end(logs=None):
            del history.on_train_end  # what `fit` returns is an ordinary History again
            history.on_train_end(logs)
            self._warn_if_undone()

        history.on_train_end = on_train_end

    def _warn_if_undone(self):
        now = sparsity(self.model)
        if now < self._reached:
            log.warning(
                "pruning was undone: the sparsity is %.2f %% after %.2f %%, by weights restored from an earlier epoch. "
                "Let `EarlyStopping(restore_best_weights=True)` begin after the last pruning, by `start_from_epoch`",
                100 * now,
                100 * self._reached,
            )
        self._reached = now  # one warning for each restoring

    def _prune(self, **target):
        prune(self.model, **target, **self.selection)
        self._has_pruned = True
        self._reached = sparsity(self.model)

    def _follow_schedule(self):
        """Call the schedule for each step since the last call, and prune by the last step that is due."""
        if self.schedule is None:
            return
        now = self._updates_done()
        due = [
            (step, share)
            for step in range(self._last_step + 1, now + 1)
            for should_prune, share in [call_schedule(self.schedule, step)]
            if should_prune
        ]
        self._last_step = now
        if due:
            step, share = due[-1]
            self._prune(sparsity=share)
            planned = "" if step == now else f", as planned for step {step}"
            log.info("step %d: pruned to %.2f %%%s", now, 100 * sparsity(self.model), planned)

    def _updates_done(self):
        return int(keras.ops.convert_to_numpy(self.model.optimizer.iterations))  # also of several devices


def call_schedule(schedule, step):
    """Call a schedule and convert its results to Python scalars.

    Args:
        schedule: callable with the protocol of `rsr_tf.pruning.schedules`.
        step: integer.

    Returns:
        `(should_prune, sparsity)`, a bool and a float. The sparsity is 0 if `should_prune` is `False`.

    Raises:
        ValueError: unless the schedule returns a pair of scalars, with a sparsity in [0, 1] if it prunes.
    """
    result = schedule(tf.constant(step, tf.int64))
    try:
        should_prune, share = result
        should_prune = bool(np.asarray(should_prune))
        share = float(np.asarray(share)) if should_prune else 0.0
    except (TypeError, ValueError) as error:
        raise ValueError(f"`schedule` must return (should_prune, sparsity). Received: {result}") from error
    if not 0 <= share <= 1:
        raise ValueError(f"`schedule` must return a sparsity in [0, 1]. Received: sparsity={share} at step {step}")
    return should_prune, share


def _check_schedule(schedule, **others):
    if not callable(schedule):
        raise ValueError(
            f"`schedule` must be a callable schedule(step) -> (should_prune, sparsity). Received: {schedule!r}"
        )
    for name, value in others.items():
        if value is not None:
            raise ValueError(f"`{name}` must be None with a `schedule`. Received: {name}={value}")
