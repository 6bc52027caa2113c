import keras
import pytest
from helpers import compiled

from rsr_tf.layers import FeatureNoise
from rsr_tf.training.noise_ramp import NoiseRamp, noise_ramp


class Seen(keras.callbacks.Callback):
    """What the ramp is in each batch."""

    def on_train_begin(self, logs=None):
        self.shares = []

    def on_train_batch_end(self, batch, logs=None):
        self.shares.append(float(self.model.get_layer("noise").ramp))


@pytest.fixture
def model():
    layers = [FeatureNoise(0.2, name="noise"), keras.layers.Flatten(), keras.layers.Dense(10)]
    return compiled(keras.Sequential([keras.Input((8, 8, 1)), *layers]))


@pytest.mark.parametrize(
    ("step", "share"), [(0, 0.1), (421, 0.1), (422, 0.10013), (4605, 0.68378), (9209, 0.89998), (9210, 1), (10**6, 1)]
)
def test_share_of_the_noise_is_that_of_pixeldp(step, share):
    assert noise_ramp(step) == pytest.approx(share, abs=1e-4)


def test_ramp_follows_the_steps_of_the_optimizer_and_ends_at_one(model, images, labels):
    seen, options = Seen(), {"batch_size": 4, "verbose": 0}
    callbacks = [NoiseRamp(decay=0.5, start=0.2), seen]
    model.fit(images[:8], labels[:8], callbacks=callbacks, **options)
    assert seen.shares == pytest.approx([0.2, 0.5])
    assert float(model.get_layer("noise").ramp) == 1
    model.fit(images[:8], labels[:8], callbacks=callbacks, **options)  # goes on at step 2
    assert seen.shares == pytest.approx([0.75, 1])


@pytest.mark.parametrize("options", [{"decay": 1}, {"start": 0}])
def test_wrong_ramp_is_refused(options):
    with pytest.raises(ValueError, match=r"`\w+` must be in \(0, 1\). Received: \w+="):
        NoiseRamp(**options)
