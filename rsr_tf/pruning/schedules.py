"""When to prune, and how much: pruning schedules with the protocol of TensorFlow Model Optimization (TFMOT).

A schedule is any callable `schedule(step) -> (should_prune, sparsity)`; `step` is the number of optimizer updates done,
`sparsity` the share of weights that shall be zero then. `rsr_tf.PruningCallback` follows one inside `fit`.
"""

import dataclasses
import numbers
from dataclasses import dataclass

import keras


class PruningSchedule:
    """What the schedules share: the call, and their config. One of your own needs nothing of it but the call."""

    def __call__(self, step):
        step = int(step)
        return self._is_due(step), self._sparsity_at(step)

    def get_config(self):
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config):
        return cls(**config)


@keras.saving.register_keras_serializable("rsr_tf")
@dataclass(frozen=True)
class OneShot(PruningSchedule):
    """Prune once (Section 3.4 of the paper).

    Args:
        sparsity: share of weights to prune, in [0, 1].
        step: number of updates after which it happens; 0 is before the first.

    Raises:
        ValueError: for a `sparsity` outside [0, 1] or a `step` that is no integer of at least 0.

    Example:
        >>> OneShot(0.6, step=1000)(1000)
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
    """Prune to the same sparsity again and again, as TFMOT's schedule of this name.

    Args:
        target_sparsity: share of weights to prune, in [0, 1].
        begin_step: first step to prune at.
        end_step: last step that may prune; -1, the default, is never.
        frequency: number of steps from one pruning to the next. Defaults to 100.

    Raises:
        ValueError: for a sparsity outside [0, 1], or steps that are no integers or in the wrong order.

    Example:
        >>> ConstantSparsity(0.5, begin_step=200)(300)
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
        return _is_turn(step, self.begin_step, self.end_step, self.frequency)

    def _sparsity_at(self, step):
        return self.target_sparsity


@keras.saving.register_keras_serializable("rsr_tf")
@dataclass(frozen=True)
class PolynomialDecay(PruningSchedule):
    """Prune more and more, fast at first (Zhu & Gupta 2017, arXiv:1710.01878, Section 3), as TFMOT's of this name.

        sparsity = final + (initial - final) * (1 - (step - begin) / (end - begin)) ** power

    As in TFMOT, `final_sparsity` itself is reached only where `frequency` divides `end_step - begin_step`.

    Args:
        initial_sparsity, final_sparsity: shares of weights to prune at the two ends, in [0, 1].
        begin_step: first step to prune at.
        end_step: last step that may prune.
        power: exponent; 1 is linear. Defaults to 3.
        frequency: number of steps from one pruning to the next. Defaults to 100.

    Raises:
        ValueError: for a sparsity outside [0, 1], a `power` that is not positive, or steps that are no integers or in
            the wrong order.

    Example:
        >>> PolynomialDecay(0.0, 0.8, begin_step=0, end_step=1000, power=1)(500)
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
        return _is_turn(step, self.begin_step, self.end_step, self.frequency)

    def _sparsity_at(self, step):
        progress = min(max((step - self.begin_step) / (self.end_step - self.begin_step), 0.0), 1.0)
        return self.final_sparsity + (self.initial_sparsity - self.final_sparsity) * (1 - progress) ** self.power


@keras.saving.register_keras_serializable("rsr_tf")
@dataclass(frozen=True)
class Rounds(PruningSchedule):
    """Prune, train on, prune further: rounds with a sparsity each (iterative pruning, Han et al. 2015).

    Args:
        sparsities: share of weights to prune in every round, in [0, 1], none below the one before it.
        steps_per_round: number of updates from one pruning to the next.
        begin_step: step of the first pruning. Defaults to 0, before the first update.

    Raises:
        ValueError: for sparsities that are none, outside [0, 1] or falling, or steps that are no integers.

    Example:
        >>> rounds = Rounds((0.5, 0.75), steps_per_round=100)
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
            raise ValueError(f"`sparsities` must be at least one, and not fall. Received: {self.sparsities}")
        _check_integer(1, steps_per_round=self.steps_per_round)
        _check_integer(0, begin_step=self.begin_step)

    @classmethod
    def of_equal_share(cls, final_sparsity, rounds, steps_per_round, begin_step=0):
        """Rounds that each remove the same share of the weights that are left (Frankle & Carbin 2019).

        Args:
            final_sparsity: that of the last round, in [0, 1].
            rounds: number of rounds.
            steps_per_round, begin_step: as for the class.

        Example:
            >>> Rounds.of_equal_share(0.75, rounds=2, steps_per_round=100).sparsities
            (0.5, 0.75)
        """
        _check_sparsity(final_sparsity=final_sparsity)
        _check_integer(1, rounds=rounds)
        kept = 1 - final_sparsity
        sparsities = [1 - kept ** (number / rounds) for number in range(1, rounds)]
        return cls((*sparsities, final_sparsity), steps_per_round, begin_step)

    def _is_due(self, step):
        last = self.begin_step + (len(self.sparsities) - 1) * self.steps_per_round
        return _is_turn(step, self.begin_step, last, self.steps_per_round)

    def _sparsity_at(self, step):
        number = (step - self.begin_step) // self.steps_per_round
        return 0.0 if number < 0 else self.sparsities[min(number, len(self.sparsities) - 1)]


def _is_turn(step, begin, end, frequency):
    return begin <= step and (step <= end or end < 0) and (step - begin) % frequency == 0


def _check_sparsity(**sparsities):
    for name, value in sparsities.items():
        if not 0 <= value <= 1:
            raise ValueError(f"`{name}` must be in [0, 1]. Received: {name}={value}")


def _check_integer(least, **numbers_by_name):
    for name, value in numbers_by_name.items():
        if not (isinstance(value, numbers.Integral) and value >= least):
            raise ValueError(f"`{name}` must be an integer of at least {least}. Received: {name}={value}")
