import numpy as np
import pytest
import tensorflow as tf

from rsr_tf import models


def test_pixels_are_normalized_inside_without_weights():
    model = models.resnet20(mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 2.0))
    normalize = model.get_layer("normalize")
    np.testing.assert_allclose(normalize(tf.ones((1, 1, 1, 3)))[0, 0, 0], [1.8, 3.2, 0.35], rtol=1e-6)
    assert normalize.weights == []


def test_wrong_lasso_and_width_are_refused():
    with pytest.raises(ValueError, match=r"`lasso` must not be negative. Received: lasso=-1"):
        models.resnet20(lasso=-1)
    with pytest.raises(ValueError, match=r"`group_lasso` must not be negative. Received: group_lasso=-1"):
        models.resnet20(group_lasso=-1)
    with pytest.raises(ValueError, match=r"`width` must be positive. Received: width=0"):
        models.resnet18(width=0)
