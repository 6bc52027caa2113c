import numpy as np
import pytest
import tensorflow as tf

from rsr_tf import models
from rsr_tf.layers import noisy_layers
from rsr_tf.models.resnet import subsample


@pytest.mark.slow
@pytest.mark.parametrize("width", [0.5, 0.25])
def test_width_scales_every_layer_of_resnet18(width):
    narrow, full = models.resnet18(width=width), models.resnet18()
    for a, b in zip(noisy_layers(narrow), noisy_layers(full), strict=True):
        assert a.kernel.shape[-1] == (10 if "logits" in a.path else width * b.kernel.shape[-1])


def test_resnet20_shortcut_takes_every_other_pixel_and_pads_channels():
    x = np.random.default_rng(0).normal(size=(1, 4, 4, 2)).astype("float32")
    shortcut = subsample(tf.constant(x), filters=6, strides=2)
    np.testing.assert_array_equal(shortcut[..., 2:4], x[:, ::2, ::2])
    assert np.all(np.array(shortcut)[..., [0, 1, 4, 5]] == 0)
