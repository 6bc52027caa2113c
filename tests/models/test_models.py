import keras
import numpy as np
import pytest
import tensorflow as tf

from rsr_tf import models
from rsr_tf.layers import noisy_layers

SMALL = {
    "small_cnn": lambda **options: models.small_cnn(**options),
    "resnet20": lambda **options: models.resnet20(**options),
    "resnet18": lambda **options: models.resnet18(width=0.25, **options),
    "vgg16": lambda **options: models.vgg16(width=0.25, **options),
    "wide_resnet": lambda **options: models.wide_resnet(depth=10, width=1, **options),
}


def capacity(model):
    """Count the trainable parameters without the noise scales."""
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights if weight.name != "alpha")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "count"),
    [
        (models.resnet20, 269_722),
        (models.resnet18, 11_173_962),
        (models.vgg16, 14_724_042),
        (models.wide_resnet, 36_479_194),
        (lambda: models.vgg16(head="imagenet", noise="none"), 138_357_544),
    ],
)
def test_capacity_is_that_of_table_1(build, count):
    assert capacity(build()) == count


def test_registry_names_every_network():
    assert models.MODELS.keys() == SMALL.keys()
    for name, build in models.MODELS.items():
        assert build is getattr(models, name)


@pytest.mark.slow
@pytest.mark.parametrize("build", SMALL.values(), ids=SMALL)
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_logits_are_float32(build, policy):
    keras.config.set_dtype_policy(policy)
    model = build()
    logits = model(tf.zeros((2, *model.input_shape[1:])))
    assert logits.shape == (2, 10)
    assert logits.dtype == tf.float32


@pytest.mark.slow
@pytest.mark.parametrize("build", SMALL.values(), ids=SMALL)
def test_lasso_is_on_every_kernel_and_on_nothing_else(build):
    model = build(lasso=1e-3)
    expected = 1e-3 * sum(np.abs(layer.kernel).sum() for layer in noisy_layers(model))
    assert sum(map(float, model.losses)) == pytest.approx(expected, rel=1e-4)
    assert build().losses == []


@pytest.mark.parametrize("build", SMALL.values(), ids=SMALL)
def test_group_lasso_is_on_filters_of_convolutions_beside_the_lasso(build):
    model = build(lasso=1e-3, group_lasso=1e-2)
    kernels = [np.array(layer.kernel) for layer in noisy_layers(model)]
    filters = [kernel.reshape(-1, kernel.shape[-1]) for kernel in kernels if kernel.ndim == 4]
    expected = 1e-3 * sum(np.abs(kernel).sum() for kernel in kernels)
    expected += 1e-2 * sum(np.sqrt(len(each)) * np.linalg.norm(each, axis=0).sum() for each in filters)
    assert sum(map(float, model.losses)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("build", SMALL.values(), ids=SMALL)
@pytest.mark.parametrize("kind", ["channel", "layer", "element", "none"])
def test_every_kernel_has_the_chosen_noise(build, kind):
    assert {layer.noise for layer in noisy_layers(build(noise=kind))} == {kind}


@pytest.mark.slow
@pytest.mark.parametrize("build", SMALL.values(), ids=SMALL)
def test_keras_file_round_trip(build, tmp_path):
    model = build(lasso=1e-4)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    x = tf.random.uniform((2, *model.input_shape[1:]))
    np.testing.assert_allclose(model(x), loaded(x), atol=1e-5)
