import numpy as np
import tensorflow as tf

from rsr_tf.attacks.finite_gradient import with_finite_gradient


def test_gradient_made_finite_has_0_for_nan_and_the_sign_of_infinity():
    x, slopes = tf.constant([[1.0, 2.0, 3.0, 4.0]]), tf.constant([[np.nan, np.inf, -np.inf, 0.1]])
    with tf.GradientTape() as tape:
        tape.watch(x)
        same = with_finite_gradient(x)
    gradient = tape.gradient(same, x, output_gradients=slopes).numpy()
    np.testing.assert_array_equal(same, x)
    np.testing.assert_array_equal(np.sign(gradient), [[0, 1, -1, 1]])
    assert np.isfinite(gradient).all()
    assert gradient[0, 3] == np.float32(0.1)
