"""Complete stock networks: noise, masks, training, stripping, saving and loading."""

import keras
import numpy as np
import pytest
from helpers import silence

import rsr_tf
from rsr_tf.layers import prunable_kernels
from rsr_tf.layers.kernels import layers_of


def mobile_net():
    return keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, weights=None, classes=4, classifier_activation=None)


def efficient_net():
    return keras.applications.EfficientNetB0(
        weights=None, input_shape=(32, 32, 3), classes=4, classifier_activation=None
    )


def shared_layers():
    inputs = keras.Input((8, 8, 3))
    shared = keras.layers.Conv2D(3, 3, padding="same", name="shared")
    x = keras.layers.Flatten()(shared(shared(inputs)))
    return keras.Model(inputs, keras.layers.Dense(4, name="dense")(x))


def nested():
    inner = keras.Sequential(
        [keras.Input((8, 8, 4)), keras.layers.SeparableConv2D(4, 3, padding="same"), keras.layers.ReLU()], name="inner"
    )
    inputs = keras.Input((8, 8, 3))
    x = inner(keras.layers.Conv2D(4, 3, padding="same")(inputs))
    x = keras.layers.Flatten()(keras.layers.Conv2DTranspose(2, 2)(inner(x)))
    return keras.Model(inputs, keras.layers.Dense(4)(x))


def two_inputs_and_outputs():
    image, vector = keras.Input((8, 8, 3), name="image"), keras.Input((5,), name="vector")
    x = keras.layers.Flatten()(keras.layers.Conv2D(4, 3)(keras.layers.Rescaling(2.0)(image)))
    x = keras.layers.Concatenate()([x, keras.layers.Dense(4)(vector)])
    return keras.Model([image, vector], [keras.layers.Dense(4, name="a")(x), keras.layers.Dense(4, name="b")(x)])


def with_a_python_lambda():
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Lambda(lambda x: x[..., ::-1])(keras.layers.Conv2D(4, 3)(inputs))
    return keras.Model(inputs, keras.layers.Dense(4)(keras.layers.Flatten()(x)))


def batch_for(model):
    """Create inputs and targets, as lists if the model has several."""
    rng = np.random.default_rng(0)
    x = [rng.uniform(size=(4, *tensor.shape[1:])).astype("float32") for tensor in model.inputs]
    y = [rng.integers(0, 4, 4) for _ in model.outputs]
    return (x if len(x) > 1 else x[0]), (y if len(y) > 1 else y[0])


def outputs_of(model, x):
    outputs = model(x, training=False)
    return [np.array(output) for output in (outputs if isinstance(outputs, list | tuple) else [outputs])]


def normalize_by_one_batch(model):
    """Set moving statistics from one batch; with the initial ones the outputs of a deep network are near zero."""
    for layer in layers_of(model):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0


def assert_equal_outputs(first, second, x):
    for one, other in zip(outputs_of(first, x), outputs_of(second, x), strict=True):
        assert np.abs(one).max() > 0.01
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("build", [shared_layers, nested, two_inputs_and_outputs, mobile_net, efficient_net])
def test_network_keeps_its_function_from_noise_to_the_loaded_file(build, tmp_path):
    stock = build()
    normalize_by_one_batch(stock)
    x, y = batch_for(stock)
    stock(x, training=True)
    noisy = rsr_tf.add_noise(stock)
    assert rsr_tf.unpruned_layers(noisy) == []
    assert np.abs(outputs_of(noisy, x)[0] - outputs_of(noisy, x)[0]).max() > 1e-4
    rsr_tf.prune(noisy, sparsity=0.6, scope="layer")  # global, it would close a layer that was never trained
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    noisy.compile(keras.optimizers.SGD(1e-3, momentum=0.9), loss, run_eagerly=True)  # large graphs take long to trace
    noisy.fit(x, y, batch_size=2, verbose=0)
    assert rsr_tf.sparsity(noisy) == pytest.approx(0.6, abs=0.01)
    silence(noisy)(x, training=True)
    noisy.save(tmp_path / "noisy.keras")
    loaded = keras.models.load_model(tmp_path / "noisy.keras")
    stripped = rsr_tf.strip(noisy)
    assert_equal_outputs(stripped, loaded, x)
    assert rsr_tf.sparsity(stripped) == rsr_tf.sparsity(noisy)
    stripped.save(tmp_path / "stripped.keras")
    assert_equal_outputs(keras.models.load_model(tmp_path / "stripped.keras"), loaded, x)


@pytest.mark.slow
@pytest.mark.parametrize("build", [shared_layers, nested, two_inputs_and_outputs])
def test_stock_network_is_pruned_in_place_and_trained_further(build, tmp_path):
    model = build()
    x, y = batch_for(model)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(x, y, verbose=0)
    model.predict(x, verbose=0)
    rsr_tf.prune(model, sparsity=0.6)
    model.fit(x, y, batch_size=2, verbose=0)
    assert rsr_tf.sparsity(model) == pytest.approx(0.6, abs=0.01)
    model.save(tmp_path / "pruned.keras")
    assert_equal_outputs(keras.models.load_model(tmp_path / "pruned.keras"), model, x)
    assert_equal_outputs(rsr_tf.strip(model), model, x)


def test_shared_layer_has_one_mask():
    model = shared_layers()
    assert list(prunable_kernels(model)) == ["shared", "dense"]
    rsr_tf.prune(model, sparsity=0.5)
    assert [layer.name for layer in model.layers].count("shared") == 1
    assert rsr_tf.sparsity_table(model).weights == 81 + 768


def test_python_lambda_of_the_user_is_kept():
    """Keras refuses to load lambdas from files; here nothing is loaded."""
    stock = with_a_python_lambda()
    x, _ = batch_for(stock)
    assert_equal_outputs(silence(rsr_tf.add_noise(stock)), stock, x)
    assert_equal_outputs(rsr_tf.strip(rsr_tf.add_noise(stock)), stock, x)
