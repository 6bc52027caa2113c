import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import tiny_network


@pytest.fixture(autouse=True, scope="session")
def cache_of_its_own(tmp_path_factory):
    """Tests neither see nor touch the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def fresh_state(monkeypatch):
    """Every test starts from the same seed and policy, and none makes TensorFlow deterministic for all that follow."""
    monkeypatch.setattr(tf.config.experimental, "enable_op_determinism", lambda: None)
    monkeypatch.setattr(tf.config.optimizer, "set_experimental_options", lambda options: None)
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy("float32")
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture
def images():
    return np.random.default_rng(0).uniform(size=(16, 8, 8, 1)).astype("float32")


@pytest.fixture
def labels():
    return np.random.default_rng(1).integers(0, 10, 16).astype("int32")


@pytest.fixture
def noisy_model():
    """A tiny network with every kind of layer: block, convolution, dense; its statistics are not the initial ones."""
    return tiny_network()
