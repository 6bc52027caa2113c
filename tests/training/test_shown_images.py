"""Images with any number of channels, to be looked at."""

import numpy as np
import pytest

from rsr_tf.training.shown_images import as_shown


@pytest.mark.parametrize(("channels", "shown"), [(1, 1), (2, 1), (3, 3), (4, 3), (5, 3)])
def test_first_three_channels_are_shown_or_the_first_one_if_there_are_fewer(channels, shown):
    images = np.random.default_rng(0).uniform(size=(2, 4, 4, channels))
    np.testing.assert_array_equal(as_shown(images), images[..., :shown])
