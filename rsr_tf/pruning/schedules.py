"""Pruning schedules, with the protocol of TensorFlow Model Optimization (TFMOT).

A schedule is any callable `schedule(step) -> (should_prune, sparsity)`: `step` is the number of optimizer updates done,
`should_prune` a bool, and `sparsity` the share of weights to be zero from then on. `rsr_tf.PruningCallback` calls it
inside `fit`.
"""

import dataclasses
import numbers
from dataclasses import dataclass

import keras


class PruningSchedule:
    """Base class of the schedules: call and config. A custom schedule may be any callable and need not extend it.

    Example:
        >>> schedule = rsr_tf.schedules.OneShot(0.6, step=1000)
        >>> isinstance(schedule, rsr_tf.schedules.PruningSchedule), schedule.get_config()
        (True, {'sparsity': 0.6, 'step': 1000})
    """

    def __call__(self, step):
        """Return whether to prune after a number of updates, and to which sparsity.

        Args:
            step: integer, or a scalar tensor or variable: number of optimizer updates done.

        Returns:
            `(should_prune, sparsity)`, a bool and a float in [0, 1].
        """
        step = int(step)
        return self._is_due(step), self._sparsity_at(step)

    def get_config(self):
        """Return the arguments of the schedule as a dict."""
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config):
        """Build a schedule from the result of `get_config`."""
        return cls(**config)


@keras.saving.register_keras_serializable("rsr_tf")
@dataclass(frozen=True)
class OneShot(PruningSchedule):
    """Schedule that prunes once (Section 3.4 of the paper).

    Args:
        sparsity: float in [0, 1], share of weights to prune.
        step: integer, number of updates after which to prune; 0 is before the first update.

    Raises:
        ValueError: for a `sparsity` outside [0, 1] or a `step` that is not an integer of at least 0.

    Example:
        >>> schedule = rsr_tf.schedules.OneShot(0.6, step=1000)
        >>> schedule(1000)
        (True, 0.6)
    """

    sparsity: float
    step: int

    def __post_init__(self):
        _check_sparsity(sparsity=self.sparsity)
        _check_integer(0, step=self.step)

    def _is_due(self, step):
        return step == self.step

    def _sparsity_at(self, step):
        return self.sparsity


@keras.saving.register_keras_serializable("rsr_tf")
@dataclass(frozen=True)
class ConstantSparsity(PruningSchedule):
    """Schedule that prunes to the same sparsity at regular intervals, as TFMOT's schedule of this name.

    Args:
        target_sparsity: float in [0, 1], share of weights to prune.
        begin_step: integer, first step that prunes.
        end_step: integer, last step that may prune; -1 for no end. Defaults to -1.
        frequency: integer, number of steps from one pruning to the next. Defaults to 100.

    Raises:
        ValueError: for a sparsity outside [0, 1], or steps that are not integers or not in order.

    Example:
        >>> schedule = rsr_tf.schedules.ConstantSparsity(0.5, begin_step=200)
        >>> schedule(300)
        (True, 0.5)
    """

    target_sparsity: float
    begin_step: int
    end_step: int = -1
    frequency: int = 100

    def __post_init__(self):
        _check_sparsity(target_sparsity=self.target_sparsity)
        _check_integer(0, begin_step=self.begin_step)
        _check_integer(1, frequency=self.frequency)
        _check_integer(-1, end_step=self.end_step)
        if -1 < self.end_step < self.begin_step:
            raise ValueError(
                "`end_step` must be -1 or at least `begin_step`. "
                f"Received: begin_step={self.begin_step}, end_step={self.end_step}"
            )

    def _is_due(self, step):
        return _is_due_at(step, self.begin_step, self.end_step, self.frequency)

    def _sparsity_at(self, step):
        return self.target_sparsity


@keras.saving.register_keras_serializable("rsr_tf")
@dataclass(frozen=True)
class PolynomialDecay(PruningSchedule):
    """Schedule that increases the sparsity, fast at first, as TFMOT's schedule of this name.

    From Zhu & Gupta 2017, arXiv:1710.01878, Section 3:

        sparsity = final + (initial - final) * (1 - (step - begin) / (end - begin)) ** power

    As in TFMOT, `final_sparsity` is reached only if `frequency` divides `end_step - begin_step`.

    Args:
        initial_sparsity: float in [0, 1], share of weights to prune at `begin_step`.
        final_sparsity: float in [0, 1], share of weights to prune at `end_step`.
        begin_step: integer, first step that prunes.
        end_step: integer, last step that may prune.
        power: positive number, exponent; 1 is linear. Defaults to 3.
        frequency: integer, number of steps from one pruning to the next. Defaults to 100.

    Raises:
        ValueError: for a sparsity outside [0, 1], a `power` that is not positive, or steps that are not integers or
            not in order.

    Example:
        >>> schedule = rsr_tf.schedules.PolynomialDecay(0.0, 0.8, begin_step=0, end_step=1000, power=1)
        >>> schedule(500)
        (True, 0.4)
    """

    initial_sparsity: float
    final_sparsity: float
    begin_step: int
    end_step: int
    power: float = 3
    frequency: int = 100

    def __post_init__(self):
        _check_sparsity(initial_sparsity=self.initial_sparsity, final_sparsity=self.final_sparsity)
        _check_integer(0, begin_step=self.begin_step)
        _check_integer(1, frequency=self.frequency)
        _check_integer(1, end_step=self.end_step)
        if not self.begin_step < self.end_step:
            raise ValueError(
                "`end_step` must be above `begin_step`. "
                f"Received: begin_step={self.begin_step}, end_step={self.end_step}"
            )
        if not self.power > 0:
            raise ValueError(f"`power` must be positive. Received: power={self.power}")

    def _is_due(self, step):
        return _is_due_at(step, self.begin_step, self.end_step, self.frequency)

    def _sparsity_at(self, step):
        progress = min(max((step - self.begin_step) / (self.end_step - self.begin_step), 0.0), 1.0)
        return self.final_sparsity + (self.initial_sparsity - self.final_sparsity) * (1 - progress) ** self.power


@keras.saving.register_keras_serializable("rsr_tf")
@dataclass(frozen=True)
class Rounds(PruningSchedule):
    """Schedule that alternates between pruning and training, with a sparsity for each round (Han et al. 2015).

    Args:
        sparsities: tuple of floats in [0, 1], share of weights to prune in each round; must not decrease.
        steps_per_round: integer, number of updates from one pruning to the next.
        begin_step: integer, step of the first pruning. Defaults to 0, before the first update.

    Raises:
        ValueError: for `sparsities` that are empty, outside [0, 1] or decreasing, or steps that are not integers.

    Example:
        >>> rounds = rsr_tf.schedules.Rounds((0.5, 0.75), steps_per_round=100)
        >>> rounds(0), rounds(100), rounds(200)
        ((True, 0.5), (True, 0.75), (False, 0.75))
    """

    sparsities: tuple
    steps_per_round: int
    begin_step: int = 0

    def __post_init__(self):
        object.__setattr__(self, "sparsities", tuple(self.sparsities))
        for sparsity in self.sparsities:
            _check_sparsity(sparsities=sparsity)
        if not self.sparsities or list(self.sparsities) != sorted(self.sparsities):
            raise ValueError(f"`sparsities` must not be empty and not decrease. Received: {self.sparsities}")
        _check_integer(1, steps_per_round=self.steps_per_round)
        _check_integer(0, begin_step=self.begin_step)

    @classmethod
    def of_equal_share(cls, final_sparsity, rounds, steps_per_round, begin_step=0):
        """Build rounds that each prune the same share of the remaining weights (Frankle & Carbin 2019).

        Args:
            final_sparsity: float in [0, 1], sparsity of the last round.
            rounds: integer, number of rounds.
            steps_per_round, begin_step: as for the class.

        Returns:
            A `Rounds`.

        Raises:
            ValueError: as for the class; for `rounds` that is not an integer of at least 1.

        Example:
            >>> rsr_tf.schedules.Rounds.of_equal_share(0.75, rounds=2, steps_per_round=100).sparsities
            (0.5, 0.75)
        """
        _check_sparsity(final_sparsity=final_sparsity)
        _check_integer(1, rounds=rounds)
        kept = 1 - final_sparsity
        sparsities = [1 - kept ** (number / rounds) for number in range(1, rounds)]
        return cls((*sparsities, final_sparsity), steps_per_round, begin_step)

    def _is_due(self, step):
        last = self.begin_step + (len(self.sparsities) - 1) * self.steps_per_round
        return _is_due_at(step, self.begin_step, last, self.steps_per_round)

    def _sparsity_at(self, step):
        number = (step - self.begin_step) // self.steps_per_round
        return 0.0 if number < 0 else self.sparsities[min(number, len(self.sparsities) - 1)]


def _is_due_at(step, begin, end, frequency):
    """Return whether a step is in [begin, end], or after begin if `end` is negative, and due by the frequency."""
    return begin <= step and (step <= end or end < 0) and (step - begin) % frequency == 0


def _check_sparsity(**sparsities):
    for name, value in sparsities.items():
        if not 0 <= value <= 1:
            raise ValueError(f"`{name}` must be in [0, 1]. Received: {name}={value}")


def _check_integer(least, **numbers_by_name):
    for name, value in numbers_by_name.items():
        if not (isinstance(value, numbers.Integral) and value >= least):
            raise ValueError(f"`{name}` must be an integer of at least {least}. Received: {name}={value}")
