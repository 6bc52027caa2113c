"""Noise on pixels and features: its distribution, and what every part of the package makes of the layer."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import compiled

import rsr_tf
from rsr_tf.evaluation import as_model_fn
from rsr_tf.evaluation.frozen import freeze_noise
from rsr_tf.export.formats import export_formats
from rsr_tf.layers import FeatureNoise, draws_noise, feature_noises, reseed_noise
from rsr_tf.layers.conversion import in_float32, with_fresh_noise

KINDS = ("gaussian", "laplace")


def network(std=0.3, kind="gaussian", weight_noise="none", seed=None):
    """Noise on the image and before the second convolution."""
    inputs = keras.Input((8, 8, 1))
    x = FeatureNoise(std, kind, seed, name="image_noise")(inputs)
    x = rsr_tf.NoisyConvBlock(4, 3, activation="relu", noise=weight_noise)(x)
    x = FeatureNoise(std / 2, kind, seed, name="inner_noise")(x)
    x = keras.layers.Flatten()(rsr_tf.NoisyConv2D(6, 3, strides=2, noise=weight_noise)(x))
    return keras.Model(inputs, rsr_tf.NoisyDense(10, noise=weight_noise)(x))


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


# Distribution


@pytest.mark.parametrize("training", [True, False])
def test_noise_has_the_given_std_in_training_and_at_inference(kind, training):
    x = tf.random.uniform((100, 100, 100))
    noise = (FeatureNoise(0.2, kind)(x, training=training) - x).numpy()
    assert noise.std() == pytest.approx(0.2, rel=5e-3)
    assert abs(noise.mean()) < 5 * 0.2 / 1000


@pytest.mark.parametrize(
    ("kind", "magnitude", "kurtosis"), [("gaussian", np.sqrt(2 / np.pi), 3), ("laplace", np.sqrt(1 / 2), 6)]
)
def test_noise_has_the_moments_and_quantiles_of_its_distribution(kind, magnitude, kurtosis):
    noise = FeatureNoise(1.0, kind)(tf.zeros((1000, 1000))).numpy()
    assert np.abs(noise).mean() == pytest.approx(magnitude, rel=5e-3)
    assert (noise**4).mean() == pytest.approx(kurtosis, rel=0.05)
    tail = {"gaussian": 0.0227501, "laplace": 0.5 * np.exp(-2 * np.sqrt(2))}[kind]  # above 2
    assert (noise > 2).mean() == pytest.approx(tail, abs=5 * np.sqrt(tail / 1e6))


@pytest.mark.parametrize("seed", [None, 3, "fresh", "tflite"])
def test_images_and_calls_have_independent_noise(kind, seed):
    draw = tf.function(FeatureNoise(1.0, kind, seed), input_signature=[tf.TensorSpec((None, None, 200))])
    noise = np.concatenate([draw(np.zeros((2, 200, 200), "float32")) for _ in range(2)])
    correlations = np.corrcoef(noise.reshape(4, -1))[np.triu_indices(4, 1)]
    assert np.abs(correlations).max() < 5 / np.sqrt(200 * 200)
    assert noise.std() == pytest.approx(1, rel=0.03)


def test_std_of_zero_is_the_plain_network_bitwise(images):
    model = network(std=0.0)
    np.testing.assert_array_equal(model(images), in_float32(without_noise_layers(model))(images))
    seeds = [np.array(layer.seed_generator.state) for layer in feature_noises(model)]
    model(images)
    np.testing.assert_array_equal(seeds, [np.array(layer.seed_generator.state) for layer in feature_noises(model)])


def without_noise_layers(model):
    """The same layers, but those of noise."""
    inputs = keras.Input((8, 8, 1))
    outputs = inputs
    for layer in model.layers[1:]:
        outputs = outputs if isinstance(layer, FeatureNoise) else layer(outputs)
    return keras.Model(inputs, outputs)


@pytest.mark.slow
def test_ramp_scales_the_noise_and_is_not_trained(images, labels):
    layer = FeatureNoise(0.2, seed=1)
    x = tf.zeros((4, 8))
    full = layer(x)
    reseed_noise(layer, 0)
    layer.ramp.assign(1.0)
    full = layer(x)
    reseed_noise(layer, 0)
    layer.ramp.assign(0.25)
    np.testing.assert_allclose(layer(x), 0.25 * full, rtol=1e-6)
    model = compiled(network())
    model.fit(images, labels, verbose=0)
    assert [float(one.ramp) for one in feature_noises(model)] == [1, 1]


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_keeps_its_dtype(policy, kind):
    outputs = FeatureNoise(0.5, kind, dtype=policy)(tf.zeros((64, 64)))
    assert outputs.dtype == policy.removeprefix("mixed_")
    assert np.std(tf.cast(outputs, tf.float32)) == pytest.approx(0.5, rel=0.1)


def test_whole_numbers_become_pixels_with_noise():
    outputs = FeatureNoise(2.0)(tf.fill((50, 50), tf.constant(100, tf.uint8)))
    assert outputs.dtype == "float32"
    assert np.mean(outputs) == pytest.approx(100, abs=0.2)


def test_noise_is_drawn_anew_in_a_loop(kind):
    layer = FeatureNoise(1.0, kind)
    layer.build((1,))
    draws = tf.function(lambda: tf.map_fn(lambda _: layer(tf.zeros((1,)))[0], tf.zeros(5)))
    assert len(np.unique(np.concatenate([draws(), draws()]))) == 10


@pytest.mark.parametrize("std", [-0.1, float("nan"), float("inf")])
def test_wrong_std_is_refused(std):
    with pytest.raises(ValueError, match=r"`std` must be a finite number of at least 0. Received: std="):
        FeatureNoise(std)


def test_wrong_kind_is_refused():
    with pytest.raises(ValueError, match=r"`kind` must be one of \('gaussian', 'laplace'\). Received: kind='uniform'"):
        FeatureNoise(0.1, "uniform")


# Files


def test_layer_survives_its_config(kind):
    config = FeatureNoise(0.3, kind, seed=5, name="noise").get_config()
    assert FeatureNoise.from_config(config).get_config() == config
    assert config.items() >= {"std": 0.3, "kind": kind, "seed": 5}.items()


@pytest.mark.parametrize("form", ["keras", "rsrz"])
def test_file_keeps_ramp_and_seed(kind, form, images, tmp_path):
    model, path = network(kind=kind), tmp_path / f"model.{form}"
    model(images)  # advances the seeds
    model.get_layer("inner_noise").ramp.assign(0.5)
    if form == "keras":
        model.save(path)
        loaded = keras.models.load_model(path)
    else:
        rsr_tf.save_compact(model, path)
        loaded = rsr_tf.load_compact(path)
    assert float(loaded.get_layer("inner_noise").ramp) == 0.5
    np.testing.assert_array_equal(loaded(images), model(images))  # the same next draw


def test_other_variables_are_refused():
    layer = FeatureNoise(0.1)
    layer.build((None, 3))
    with pytest.raises(ValueError, match=r"must be \['ramp', 'seed'\]. Received: \['0'\]"):
        layer.load_own_variables({"0": np.zeros(())})


# The rest of the package


def test_stripped_network_has_an_identity_in_place_of_the_noise(images):
    model = network(kind="laplace")
    for fold in (True, False):
        stripped = rsr_tf.strip(model, fold=fold)
        assert type(stripped.get_layer("image_noise")) is keras.layers.Identity
        assert not draws_noise(stripped)
        np.testing.assert_allclose(stripped(images), without_noise_layers(model)(images), atol=1e-5)


def test_noise_in_nested_models_is_stripped_too(images):
    inner = keras.Sequential([keras.Input((8, 8, 1)), FeatureNoise(0.5), keras.layers.Flatten()])
    model = keras.Sequential([keras.Input((8, 8, 1)), inner, keras.layers.Dense(3)])
    assert len(feature_noises(model)) == 1
    stripped = rsr_tf.strip(model)
    assert not draws_noise(stripped)
    np.testing.assert_array_equal(stripped(images), stripped(images))


def test_noise_of_weights_can_be_added_beside_it(images):
    both = rsr_tf.add_noise(network())
    assert len(feature_noises(both)) == 2
    for kernel in rsr_tf.layers.prunable_kernels(both).values():
        kernel.alpha.assign(tf.zeros_like(kernel.alpha))
    assert np.abs(both(images) - both(images)).max() > 1e-3


@pytest.mark.parametrize("options", [{}, {"weight_noise": "channel"}])
def test_reseeding_repeats_all_noise(images, options):
    model = network(**options)
    reseed_noise(model, 4)
    first = model(images)
    assert not np.array_equal(first, model(images))
    reseed_noise(model, 4)
    np.testing.assert_array_equal(first, model(images))


def test_layers_do_not_share_a_seed_after_reseeding():
    model = network(weight_noise="channel")
    reseed_noise(model, 4)
    layers = [*feature_noises(model), *rsr_tf.layers.noisy_layers(model)]
    assert len({tuple(np.array(layer.seed_generator.state)) for layer in layers}) == len(layers) == 5


@pytest.mark.slow
def test_frozen_noise_is_one_draw(images):
    model = network()
    frozen = freeze_noise(as_model_fn(model), functools.partial(reseed_noise, model), 5)
    np.testing.assert_array_equal(frozen(images), frozen(images))


@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, True), ({"std": 0.0}, False), ({"std": 0.0, "weight_noise": "layer"}, True)],
)
def test_query_for_noise_covers_weights_and_features(options, expected):
    assert draws_noise(network(**options)) is expected


def test_exported_network_has_fresh_noise_whatever_the_seed(kind, images):
    model = network(kind=kind, seed=0)
    fresh = with_fresh_noise(model)
    assert [layer.seed for layer in feature_noises(fresh)] == ["fresh", "fresh"]
    serve = tf.function(fresh, input_signature=[tf.TensorSpec((None, 8, 8, 1))])
    assert not np.array_equal(serve(images), serve(images))
    assert serve(images[:3]).shape == (3, 10)
    operations = {operation.type for operation in serve.get_concrete_function().graph.get_operations()}
    assert "RandomStandardNormal" not in operations


@pytest.mark.slow
def test_pruned_filters_can_be_removed_before_and_after_the_noise(images):
    model = network(kind="laplace")
    model.get_layer("inner_noise").ramp.assign(0.0)
    model.get_layer("image_noise").ramp.assign(0.0)
    table = rsr_tf.prune_filters(model, share=0.5)
    assert (table.removed, table.barriers) == (2 + 3, [])
    small = rsr_tf.rebuild(model)
    assert small.get_layer("inner_noise").input.shape == (None, 8, 8, 2)
    np.testing.assert_allclose(small(images), model(images), atol=1e-5)
    small.get_layer("inner_noise").ramp.assign(1.0)
    assert np.abs(small(images) - small(images)).max() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_exports_serve_with_and_without_noise(kind, images, tmp_path):
    model = network(kind=kind, seed=0)
    stripped = rsr_tf.strip(model)
    expected = stripped(images)
    stripped.save(tmp_path / "stripped.keras")
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "stripped.keras")(images), expected)
    rsr_tf.export_saved_model(model, tmp_path / "saved")
    metadata = rsr_tf.export.read_metadata(tmp_path / "saved")
    assert metadata["noisy"] is True
    assert "every image of a call has its own" in metadata["noise_policy"]
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    np.testing.assert_allclose(loaded.serve_deterministic(images), expected, atol=1e-5)
    twice = loaded.serve(np.repeat(images[:1], 2, axis=0)).numpy()
    assert np.abs(twice[0] - twice[1]).max() > 1e-3
    rsr_tf.export_tflite(model, tmp_path / "stripped.tflite")
    np.testing.assert_allclose(rsr_tf.export.TFLiteNetwork(tmp_path / "stripped.tflite")(images), expected, atol=1e-4)
    rsr_tf.export_tflite(model, tmp_path / "noisy.tflite", noise=True)
    noisy = rsr_tf.export.TFLiteNetwork(tmp_path / "noisy.tflite")
    assert np.abs(noisy(images) - noisy(images)).max() > 1e-3


@pytest.mark.slow
def test_export_formats_with_noise_are_offered(images):
    def titles(model):
        return [row.title for row in export_formats(model, calibration=images)]

    assert "SavedModel, noisy" in titles(network())
    assert "SavedModel, noisy" not in titles(network(std=0.0))
