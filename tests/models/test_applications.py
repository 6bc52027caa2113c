import importlib

import keras
import numpy as np
import pytest
import tensorflow as tf

import rsr_tf
from rsr_tf.layers import GroupLasso, prunable_kernels
from rsr_tf.models.applications import EXPECTED_PIXELS, application, applications
from rsr_tf.models.pixels import from_pixels


@pytest.fixture(scope="module")
def network():
    return application("MobileNetV3Small", (8, 8, 1), 5, resize=(32, 32), lasso=1e-3, group_lasso=1e-2)


def test_every_network_of_keras_is_known_with_what_it_expects():
    names = applications()
    assert {"MobileNetV3Small", "ResNet50", "ConvNeXtTiny", "NASNetMobile"} <= names.keys()
    assert {build.__module__.rpartition(".")[2] for build in names.values()} == EXPECTED_PIXELS.keys()


@pytest.mark.parametrize("module", EXPECTED_PIXELS)
def test_expected_pixels_are_those_of_the_preprocessing_of_keras(module):
    x = np.random.default_rng(0).uniform(size=(2, 4, 4, 3)).astype("float32")
    inputs = keras.Input((4, 4, 3))
    seen = from_pixels(keras.Model(inputs, keras.layers.Identity()(inputs)), (4, 4, 3), **EXPECTED_PIXELS[module])
    expected = importlib.import_module(f"keras.applications.{module}").preprocess_input(255 * x)
    np.testing.assert_allclose(seen(x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_network_is_that_of_keras(network):
    stock = keras.applications.MobileNetV3Small((32, 32, 3), weights=None, classes=5, classifier_activation=None)
    stripped = rsr_tf.strip(network)
    assert stripped.count_params() == stock.count_params()
    for layer in stock.layers:
        if layer.weights:
            layer.set_weights(stripped.get_layer(layer.name).get_weights())
    for kernel in prunable_kernels(network).values():
        kernel.alpha.assign(tf.zeros_like(kernel.alpha))
    x = np.random.default_rng(0).uniform(size=(2, 8, 8, 1)).astype("float32")
    seen = 255 * tf.image.resize(np.repeat(x, 3, axis=-1), (32, 32))
    np.testing.assert_allclose(network(x), stock(seen), atol=1e-5)


@pytest.mark.slow
def test_every_convolution_has_the_lasso_and_those_with_filters_the_group_lasso(network):
    kernels = prunable_kernels(network)
    assert len(kernels) == 54
    for path, kernel in kernels.items():
        penalty = getattr(kernel.layer, kernel.role.regularizer)
        assert isinstance(penalty, keras.regularizers.L1 if path.endswith("depthwise") else GroupLasso)
        assert float(np.ravel(penalty.l1)[0]) == pytest.approx(1e-3)


@pytest.mark.slow
def test_given_scale_replaces_the_expected_one():
    network = application("VGG16", (32, 32, 3), 4, noise="none", rescale=3.0, offset=0.5)
    layer = network.get_layer("rescale")
    assert (layer.scale, layer.offset) == (3.0, 0.5)
    assert [one.name for one in network.layers[:2]] == ["pixels", "rescale"]


@pytest.mark.slow
def test_weights_are_those_of_the_file(tmp_path):
    stock = keras.applications.MobileNetV3Small((32, 32, 3), weights=None, classes=4, classifier_activation=None)
    for file in ("stock.weights.h5", "stock.keras"):
        (stock.save if file.endswith(".keras") else stock.save_weights)(tmp_path / file)
        network = application("MobileNetV3Small", (32, 32, 3), 4, noise="none", weights=tmp_path / file)
        x = tf.random.uniform((2, 32, 32, 3))
        np.testing.assert_allclose(network(x), stock(255 * x), atol=1e-5)


@pytest.mark.slow
def test_weights_of_another_network_are_refused(tmp_path):
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save_weights(tmp_path / "other.weights.h5")
    with pytest.raises(ValueError, match=r"weights .*other.weights.h5 do not fit keras:MobileNetV3Small: "):
        application("MobileNetV3Small", (32, 32, 3), 4, weights=tmp_path / "other.weights.h5")


def test_failed_download_is_an_error_of_the_operating_system(monkeypatch):
    def fail(**options):
        raise Exception("URL fetch failure on https://example.org: 111 -- refused")

    fail.__module__ = "keras.applications.vgg16"
    monkeypatch.setattr("rsr_tf.models.applications.applications", lambda: {"VGG16": fail})
    with pytest.raises(OSError, match=r"cannot download the ImageNet weights of keras:VGG16: URL fetch failure on"):
        application("VGG16", (32, 32, 3), 4, weights="imagenet")


@pytest.mark.slow
def test_imagenet_weights_come_with_a_new_dense_layer(monkeypatch):
    """Random weights stand for those of ImageNet, which need a download."""
    made = []

    def build(weights, **options):
        made.append(keras.applications.MobileNetV3Small(weights=None, **options))
        return made[-1]

    build.__module__ = "keras.applications.mobilenet_v3"
    monkeypatch.setattr("rsr_tf.models.applications.applications", lambda: {"MobileNetV3Small": build})
    network = application("MobileNetV3Small", (32, 32, 3), 4, noise="none", weights="imagenet")
    assert network.output_shape == (None, 4)
    np.testing.assert_array_equal(network.get_layer("conv").kernel, made[0].get_layer("conv").kernel)
    assert type(network.get_layer("logits")).__name__ == "NoisyDense"


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        (
            "MobilNet",
            (32, 32, 3),
            r"keras:MobilNet is no network of keras.applications. Expected one such as MobileNet",
        ),
        ("preprocess", (32, 32, 3), "keras:preprocess is no network of keras.applications. Expected one such as"),
        ("InceptionV3", (32, 32, 3), r"keras:InceptionV3 does not take these images \(see `resize`\): .*75x75"),
        ("VGG16", (32, 32, 2), r"keras:VGG16 takes images with 1 or 3 channels. Received: image_shape=\(32, 32, 2\)"),
    ],
)
def test_network_or_images_that_do_not_exist_or_fit_are_refused(name, shape, message):
    with pytest.raises(ValueError, match=message):
        application(name, shape, 4)
