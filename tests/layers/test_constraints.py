import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import compiled

import rsr_tf
from rsr_tf.layers import Parseval

RANDOM = np.random.default_rng(0)


def singular_values(kernel):
    return np.linalg.svd(np.reshape(kernel, (-1, kernel.shape[-1])), compute_uv=False)


def test_retraction_moves_each_singular_value_by_its_formula():
    kernel = RANDOM.normal(size=(3, 3, 2, 5)).astype("float32") / 4
    before = singular_values(kernel)
    np.testing.assert_allclose(singular_values(Parseval(0.1)(kernel)), 1.1 * before - 0.1 * before**3, rtol=1e-5)


@pytest.mark.parametrize("shape", [(3, 3, 2, 5), (1, 1, 2, 7), (4, 4)])
def test_retraction_is_that_of_the_reshaped_kernel_for_any_shape(shape):
    kernel = RANDOM.normal(size=shape).astype("float32") / 4
    matrix = kernel.reshape(-1, shape[-1])
    expected = 1.3 * matrix - 0.3 * matrix @ matrix.T @ matrix
    np.testing.assert_allclose(Parseval(0.3)(kernel), expected.reshape(shape), atol=1e-5)


def test_all_singular_values_go_to_one():
    kernel = RANDOM.normal(size=(3, 3, 2, 5)).astype("float32") / 4
    np.testing.assert_allclose(singular_values(Parseval(0.2, loops=100)(kernel)), np.ones(5), atol=1e-4)


def test_loops_repeat_the_retraction():
    kernel = RANDOM.normal(size=(4, 3)).astype("float32") / 4
    once = Parseval(0.1)
    np.testing.assert_allclose(Parseval(0.1, loops=3)(kernel), once(once(once(kernel))), rtol=1e-6)


@pytest.fixture(params=[rsr_tf.NoisyConv2D, rsr_tf.NoisyConvBlock])
def constrained(request):
    """A network whose first layer has the constraint, with enough loops to end at the fixed point."""
    inputs = keras.Input((8, 8, 1))
    x = request.param(4, 3, kernel_constraint=Parseval(0.3, loops=30))(inputs)
    return compiled(keras.Model(inputs, rsr_tf.NoisyDense(10)(keras.layers.Flatten()(x))))


def first_kernel(model):
    return next(iter(rsr_tf.layers.prunable_kernels(model).values()))


@pytest.mark.slow
def test_training_holds_the_singular_values_at_one(constrained, images, labels):
    constrained.fit(images, labels, verbose=0)
    np.testing.assert_allclose(singular_values(first_kernel(constrained).value()), np.ones(4), atol=1e-3)


@pytest.mark.slow
def test_pruned_weights_stay_zero_after_the_retraction(constrained, images, labels):
    rsr_tf.prune(constrained, sparsity=0.3)
    mask = np.array(first_kernel(constrained).mask)
    constrained.fit(images, labels, verbose=0)
    kernel = np.array(first_kernel(constrained).kernel)
    assert 0 < np.sum(~mask) < mask.size
    assert np.all(kernel[~mask] == 0)
    assert np.all(kernel[mask] != 0)


def test_file_keeps_the_constraint(constrained, tmp_path):
    constrained.save(tmp_path / "model.keras")
    layer = keras.models.load_model(tmp_path / "model.keras").layers[1]
    assert getattr(layer, "convolution", layer).kernel_constraint.get_config() == {"step": 0.3, "loops": 30}


def test_block_without_constraint_has_the_config_of_older_files():
    block = rsr_tf.NoisyConvBlock(4, 3)
    assert "kernel_constraint" not in block.get_config()
    config = rsr_tf.NoisyConvBlock(4, 3, kernel_constraint=Parseval()).get_config()
    assert rsr_tf.NoisyConvBlock.from_config(config).get_config() == config


def test_stripped_network_needs_no_constraint_of_this_package():
    inputs = keras.Input((8, 8, 1))
    model = keras.Model(inputs, rsr_tf.NoisyConvBlock(4, 3, kernel_constraint=Parseval())(inputs))
    assert rsr_tf.strip(model).layers[1].kernel_constraint is None
    model = keras.Model(inputs, rsr_tf.NoisyConv2D(4, 3, kernel_constraint="non_neg")(inputs))
    assert isinstance(rsr_tf.strip(model).layers[1].kernel_constraint, keras.constraints.NonNeg)


@pytest.mark.parametrize("options", [{"step": 0}, {"step": 1}, {"step": float("nan")}, {"loops": 0}, {"loops": 1.5}])
def test_wrong_options_are_refused(options):
    with pytest.raises(ValueError, match=f"`{next(iter(options))}` must be .* Received: {next(iter(options))}="):
        Parseval(**options)


def test_constraint_runs_within_a_graph():
    kernel = tf.constant([[2.0, 0.0], [0.0, 1.0]])
    np.testing.assert_allclose(tf.function(Parseval(0.1))(kernel), [[1.4, 0], [0, 1]], rtol=1e-6)
