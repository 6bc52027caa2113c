import pytest

from rsr_tf import models


def test_unknown_noise_is_refused():
    with pytest.raises(ValueError, match="`noise` must be one of"):
        models.small_cnn(noise="loud")
