"""Moving statistics that keep up with adversarial training."""

import keras
import numpy as np
import pytest

import rsr_tf
from rsr_tf.training.batch_norm import bounded_momentum


def network(momentum):
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.BatchNormalization(momentum=momentum, name="normalization")(inputs)
    return keras.Model(inputs, keras.layers.Dense(10)(keras.layers.Flatten()(x)))


def test_momentum_is_lowered_within_the_block_alone():
    model = network(0.99)
    layer = model.get_layer("normalization")
    with bounded_momentum(model, 0.9):
        assert layer.momentum == 0.9
    assert layer.momentum == 0.99
    with bounded_momentum(model, None):
        assert layer.momentum == 0.99
    with bounded_momentum(network(0.5), 0.9) as _:
        pass
    with pytest.raises(ZeroDivisionError), bounded_momentum(model, 0.9):
        1 / 0  # noqa: B018
    assert layer.momentum == 0.99


@pytest.mark.slow
@pytest.mark.parametrize(
    ("momentum", "bound", "attack", "used"),
    [(0.999, 0.9, True, 0.9), (0.999, None, True, 0.999), (0.5, 0.9, True, 0.5), (0.999, 0.9, False, 0.999)],
)
def test_moving_mean_follows_at_the_lower_momentum_if_an_attack_trains(images, labels, momentum, bound, attack, used):
    """One step from 0: the clean and the adversarial pass each move it by (1 - momentum) of the batch's mean."""
    base = network(momentum)
    still = rsr_tf.attacks.PGD(epsilon=1e-6, step_size=1e-6, steps=1) if attack else None
    model = rsr_tf.RSRModel(base.inputs, base.outputs, attack=still, batch_norm_momentum=bound)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.train_on_batch(images, labels)
    expected = images.mean() * (1 - used ** (2 if attack else 1))
    np.testing.assert_allclose(base.get_layer("normalization").moving_mean, [expected], rtol=1e-3)
    assert base.get_layer("normalization").get_config()["momentum"] == momentum


def test_bound_outside_its_range_is_refused():
    base = network(0.9)
    with pytest.raises(ValueError, match=r"in \[0, 1\) or None. Received: batch_norm_momentum=1.5"):
        rsr_tf.RSRModel(base.inputs, base.outputs, batch_norm_momentum=1.5)
