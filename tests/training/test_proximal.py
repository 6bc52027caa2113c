"""The proximal step of the lasso in training."""

import keras
import numpy as np
import pytest
from helpers import compiled, tiny_network

import rsr_tf
from rsr_tf.config import parse_config
from rsr_tf.experiment.builders import build_network, build_rsr_model, load_data
from rsr_tf.layers import prunable_kernels

LASSO = 0.5


def rsr_model(optimizer, *, noise="none", proximal_lasso=LASSO):
    network = tiny_network(noise=noise)
    model = rsr_tf.RSRModel(network.inputs, network.outputs, proximal_lasso=proximal_lasso, seed=0)
    return compiled(model, optimizer=optimizer)


def kernels_of(model):
    return [found.value() for found in prunable_kernels(model).values()]


def shrink(model, images, labels, steps):
    """Train with gradients of zero, so that the proximal step alone moves a weight."""
    nothing = np.zeros(len(images), "float32")
    model.fit(images, labels, sample_weight=nothing, batch_size=len(images), epochs=steps, verbose=0)
    return kernels_of(model)


@pytest.mark.slow
def test_step_follows_the_update_of_the_optimizer(images, labels):
    """Against training without it: the same step of SGD, then the threshold of learning rate times lambda."""
    plain = rsr_model(keras.optimizers.SGD(0.1), proximal_lasso=0.0)
    proximal = rsr_model(keras.optimizers.SGD(0.1))
    proximal.set_weights(plain.get_weights())
    for model in (plain, proximal):
        model.fit(images, labels, batch_size=16, verbose=0)
    for updated, found in zip(kernels_of(plain), kernels_of(proximal), strict=True):
        wanted = np.sign(updated) * np.maximum(np.abs(updated) - 0.1 * LASSO, 0)
        np.testing.assert_allclose(found, wanted, atol=1e-7)
        assert 0 < np.mean(found == 0) < 1


def test_biases_normalization_and_noise_scale_are_left_alone(images, labels):
    model = rsr_model("sgd", noise="channel")
    kernels = {id(found.kernel) for found in prunable_kernels(model).values()}
    others = [weight for weight in model.trainable_variables if id(weight) not in kernels]
    before = [np.array(weight) for weight in others]
    shrink(model, images, labels, steps=2)
    assert len(others) == 7
    for old, weight in zip(before, others, strict=True):
        np.testing.assert_array_equal(weight, old)


@pytest.mark.slow
def test_threshold_goes_with_the_learning_rate_of_each_update(images, labels):
    rate = keras.optimizers.schedules.PiecewiseConstantDecay([1, 2], [0.1, 0.01, 0.001])
    model = rsr_model(keras.optimizers.SGD(rate))
    before = kernels_of(model)
    after = shrink(model, images, labels, steps=3)  # the boundary belongs to the rate before it
    for old, new in zip(before, after, strict=True):
        wanted = np.sign(old) * np.maximum(np.abs(old) - LASSO * (0.1 + 0.1 + 0.01), 0)
        np.testing.assert_allclose(new, wanted, atol=1e-6)


@pytest.mark.slow
def test_gathered_gradients_are_one_update(images, labels):
    model = rsr_model(keras.optimizers.SGD(0.01, gradient_accumulation_steps=2))
    before = kernels_of(model)
    for old, new in zip(before, shrink(model, images, labels, steps=5), strict=True):
        np.testing.assert_allclose(
            new, np.sign(old) * np.maximum(np.abs(old) - 2 * 0.01 * LASSO, 0), atol=1e-6, err_msg="5 steps, 2 updates"
        )


@pytest.mark.slow
def test_skipped_update_shrinks_nothing(images, labels):
    """A loss scale that is too large makes gradients infinite, and the optimizer skips the update."""
    keras.config.set_dtype_policy("mixed_float16")
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1), initial_scale=1e38)
    model = rsr_model(optimizer)
    before = kernels_of(model)
    model.fit(images, labels, batch_size=16, verbose=0)
    for old, new in zip(before, kernels_of(model), strict=True):
        np.testing.assert_array_equal(new, old)


@pytest.mark.slow
def test_loss_scaling_does_not_scale_the_threshold(images, labels):
    keras.config.set_dtype_policy("mixed_float16")
    model = rsr_model(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1), initial_scale=8.0))
    before = kernels_of(model)
    for old, new in zip(before, shrink(model, images, labels, steps=1), strict=True):
        np.testing.assert_allclose(new, np.sign(old) * np.maximum(np.abs(old) - 0.1 * LASSO, 0), atol=1e-6)


@pytest.mark.slow
def test_zeros_are_counted_saved_and_made_a_mask(images, labels, tmp_path):
    model = rsr_model(keras.optimizers.SGD(0.1), noise="channel")
    shrink(model, images, labels, steps=2)
    share = rsr_tf.sparsity(model)
    assert 0.1 < share < 1
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert rsr_tf.sparsity(loaded) == share
    assert all(np.all(found.mask) for found in prunable_kernels(loaded).values()), "noise stays on until pruning"
    rsr_tf.prune(loaded, gamma=0.0)
    for found in prunable_kernels(loaded).values():
        np.testing.assert_array_equal(found.mask, np.array(found.kernel) != 0)


@pytest.mark.slow
def test_pruned_weights_stay_at_zero(images, labels):
    model = rsr_model(keras.optimizers.SGD(0.01, momentum=0.9))
    model.fit(images, labels, batch_size=16, verbose=0)
    rsr_tf.prune(model, sparsity=0.5)
    masks = [np.array(found.mask) for found in prunable_kernels(model).values()]
    model.fit(images, labels, batch_size=16, verbose=0)
    for mask, found in zip(masks, prunable_kernels(model).values(), strict=True):
        assert np.all(np.array(found.kernel)[~mask] == 0)


def test_lasso_is_logged_and_not_in_the_loss(images, labels):
    model = rsr_model(keras.optimizers.SGD(0.0))
    logs = model.evaluate(images, labels, verbose=0, return_dict=True)
    assert logs["lasso"] == pytest.approx(LASSO * sum(np.abs(kernel).sum() for kernel in kernels_of(model)), rel=1e-5)
    assert logs["loss"] == pytest.approx(logs["clean_loss"])


def test_setting_is_kept_and_checked(noisy_model):
    model = rsr_tf.RSRModel(noisy_model.inputs, noisy_model.outputs, proximal_lasso=0.25)
    assert rsr_tf.RSRModel.from_config(model.get_config()).proximal_lasso == 0.25
    with pytest.raises(ValueError, match="`proximal_lasso` must not be negative"):
        rsr_tf.RSRModel(noisy_model.inputs, noisy_model.outputs, proximal_lasso=-1)


@pytest.mark.parametrize(("step", "in_the_loss", "proximal"), [("gradient", True, 0.0), ("proximal", False, 0.25)])
def test_config_puts_the_lasso_in_the_loss_or_after_the_update(step, in_the_loss, proximal):
    values = {"data": {"name": "digits"}, "model": {"name": "small_cnn", "lasso": 0.25, "lasso_step": step}}
    config = parse_config(values, source="test")
    network = build_network(config, load_data(config))
    model = build_rsr_model(config, network, warmup_steps=0)
    assert bool(model.losses) == in_the_loss
    assert model.proximal_lasso == proximal


def test_averaged_weights_are_refused_beside_the_step(noisy_model):
    model = rsr_tf.RSRModel(noisy_model.inputs, noisy_model.outputs, proximal_lasso=0.25)
    with pytest.raises(ValueError, match=r"`proximal_lasso` must be 0 with `use_ema`.* Received: proximal_lasso=0.25"):
        compiled(model, keras.optimizers.SGD(0.1, use_ema=True))
