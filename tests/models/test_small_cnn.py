import numpy as np
import pytest

from rsr_tf import models


def test_unknown_noise_is_refused():
    with pytest.raises(ValueError, match="`noise` must be one of"):
        models.small_cnn(noise="loud")


def test_second_of_three_convolutions_halves_the_image():
    model = models.small_cnn((9, 7, 2), classes=3, width=0.25)
    shapes = [layer.output.shape for layer in model.layers if layer.name.startswith("conv")]
    assert shapes == [(None, 9, 7, 8), (None, 5, 4, 8), (None, 5, 4, 16)]
    assert model.output_shape == (None, 3)


def test_number_of_parameters_is_that_of_its_docstring():
    assert "28,842 parameters" in models.small_cnn.__doc__
    weights = models.small_cnn(noise="none").trainable_weights
    assert sum(int(np.prod(weight.shape)) for weight in weights) == 28_842
