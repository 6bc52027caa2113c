import keras
import numpy as np
import pytest
import tensorflow as tf

from rsr_tf.training import Sawtooth


def rates(schedule, steps):
    return [float(schedule(tf.constant(step, tf.int64))) for step in steps]


def test_rate_falls_at_each_third_and_starts_again():
    """20 epochs of 3 steps, as between two updates of ADMM: thirds of 20 steps."""
    expected = [0.01] * 20 + [0.001] * 20 + [0.0001] * 20
    np.testing.assert_allclose(rates(Sawtooth(0.01, 60), range(120)), 2 * expected, rtol=1e-6)


def test_period_that_three_does_not_divide():
    np.testing.assert_allclose(rates(Sawtooth(1.0, 4, factor=0.5), range(5)), [1, 1, 0.5, 0.25, 1], rtol=1e-6)


def test_late_step_is_exact():
    """float32 would round these steps."""
    start = 3 * (2**26 + 1)
    np.testing.assert_allclose(rates(Sawtooth(1.0, 3), range(start, start + 3)), [1, 0.1, 0.01], rtol=1e-6)


def test_saved_optimizer_has_the_schedule(tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(Sawtooth(0.1, 6, factor=0.3)), "mse")
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.optimizer._learning_rate.get_config() == {"peak": 0.1, "period": 6, "factor": 0.3}


def test_rate_is_that_of_the_step_in_fit():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
    model.compile(keras.optimizers.SGD(Sawtooth(1.0, 3)), loss=lambda y, prediction: -prediction)
    model.fit(np.ones((4, 1)), np.ones((4, 1)), batch_size=1, verbose=0)
    np.testing.assert_allclose(model.weights[0], [[1 + 0.1 + 0.01 + 1]], rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"peak": 0}, "`peak` must be positive. Received: peak=0"),
        ({"factor": -1}, "`factor` must be positive. Received: factor=-1"),
        ({"period": 0}, "`period` must be a positive integer. Received: period=0"),
        ({"period": 2.5}, "`period` must be a positive integer. Received: period=2.5"),
    ],
)
def test_wrong_argument_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Sawtooth(**{"peak": 0.1, "period": 6} | options)
