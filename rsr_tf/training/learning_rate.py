"""Learning-rate schedules that Keras does not have."""

import keras


@keras.saving.register_keras_serializable("rsr_tf")
class Sawtooth(keras.optimizers.schedules.LearningRateSchedule):
    """Schedule that starts at its peak in every period and falls in two steps, at each third of the period.

    Ye et al. (ICCV 2019, arXiv:1903.12561) train so between the updates of ADMM: see `rsr_tf.pruning.ADMMPruning`.

    Args:
        peak: positive number, learning rate at the start of each period.
        period: positive integer, number of optimizer steps from one start to the next, such as
            `frequency * steps_per_epoch`.
        factor: positive number that multiplies the learning rate at each third. Defaults to 0.1.

    Raises:
        ValueError: if `peak` or `factor` is not positive, or `period` is not a positive integer.

    Example:
        >>> from rsr_tf.training.learning_rate import Sawtooth
        >>> schedule = Sawtooth(0.01, period=6)
        >>> [round(float(schedule(step)), 6) for step in range(8)]
        [0.01, 0.01, 0.001, 0.001, 0.0001, 0.0001, 0.01, 0.01]
    """

    def __init__(self, peak, period, *, factor=0.1):
        for name, value in (("peak", peak), ("factor", factor)):
            if not value > 0:
                raise ValueError(f"`{name}` must be positive. Received: {name}={value}")
        if not (int(period) == period and period >= 1):
            raise ValueError(f"`period` must be a positive integer. Received: period={period}")
        self.peak = float(peak)
        self.period = int(period)
        self.factor = float(factor)

    def __call__(self, step):
        position = keras.ops.cast(step, "int64") % self.period
        rates = keras.ops.convert_to_tensor([self.peak * self.factor**third for third in range(3)], "float32")
        return keras.ops.take(rates, 3 * position // self.period)

    def get_config(self):
        return {"peak": self.peak, "period": self.period, "factor": self.factor}
