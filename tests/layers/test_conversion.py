import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import compiled, enclosing_network, silence

import rsr_tf
from rsr_tf.layers import draws_noise, feature_noises, noisy_layers, prunable_kernels
from rsr_tf.layers.conversion import enclosed_noise, in_float32, with_fresh_noise, without_weight_noise


def stock_network():
    """Build a stock network with normalization, a branch, a nested model and a shared layer."""
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu", kernel_regularizer="l2")(inputs)
    x = keras.layers.Add()([x, keras.layers.BatchNormalization()(x)])
    nested_inputs = keras.Input((8, 8, 4))
    nested = keras.Model(nested_inputs, keras.layers.Conv2D(4, 3, strides=2)(nested_inputs), name="nested")
    x = keras.layers.Flatten()(nested(x))
    x = keras.layers.Dense(6)(x)
    shared = keras.layers.Dense(6, name="shared")
    return keras.Model(inputs, keras.layers.Dense(10)(shared(shared(x))))


def test_noise_is_added_and_weights_are_kept(images):
    model = stock_network()
    noisy = rsr_tf.add_noise(model)
    assert len(noisy_layers(noisy)) == 5
    assert np.abs(noisy(images) - noisy(images)).max() > 1e-4
    np.testing.assert_allclose(silence(noisy)(images), model(images), atol=1e-5)


def test_lasso_replaces_the_regularizers_of_the_kernels():
    model = stock_network()
    noisy = rsr_tf.add_noise(model, lasso=0.1)
    expected = 0.1 * sum(np.abs(layer.kernel).sum() for layer in noisy_layers(noisy))
    assert sum(map(float, noisy.losses)) == pytest.approx(expected, rel=1e-5)
    assert sum(map(float, rsr_tf.add_noise(model).losses)) == pytest.approx(sum(map(float, model.losses)), rel=1e-6)


def test_group_lasso_is_on_the_filters_of_convolutions_alone():
    inputs = keras.Input((8, 8, 2))
    x = keras.layers.Conv2DTranspose(3, 2, name="transposed")(keras.layers.DepthwiseConv2D(3, name="depthwise")(inputs))
    x = keras.layers.Flatten()(keras.layers.SeparableConv2D(4, 3, name="separable")(x))
    model = keras.Model(inputs, keras.layers.Dense(5, name="dense")(x))
    noisy = rsr_tf.add_noise(model, lasso=0.1, group_lasso=0.5)
    found = {path: getattr(one.layer, one.role.regularizer) for path, one in prunable_kernels(noisy).items()}
    l1 = "depthwise", "separable/depthwise_kernel", "dense"
    assert {name for name, penalty in found.items() if isinstance(penalty, keras.regularizers.L1)} == set(l1)
    groups = {name: penalty.get_config() for name, penalty in found.items() if name not in l1}
    assert groups == {
        "transposed": {"group": 0.5, "l1": 0.1, "axis": -2},
        "separable/pointwise_kernel": {"group": 0.5, "l1": 0.1, "axis": -1},
    }


@pytest.mark.slow
def test_kind_none_can_be_pruned_and_trained_without_noise(images, labels):
    model = compiled(rsr_tf.add_noise(stock_network(), kind="none"))
    rsr_tf.prune(model, sparsity=0.5)
    model.fit(images, labels, epochs=2, verbose=0)
    assert rsr_tf.sparsity(model) == pytest.approx(0.5, abs=0.01)
    np.testing.assert_array_equal(model(images), model(images))


def test_sequential_models_are_taken(images):
    model = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3), keras.layers.Flatten(), keras.layers.Dense(3)]
    )
    noisy = rsr_tf.add_noise(model)
    np.testing.assert_allclose(rsr_tf.strip(noisy)(images), model(images), atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    "build",
    [
        lambda: rsr_tf.models.small_cnn(lasso=1e-4),
        lambda: rsr_tf.models.resnet20(input_shape=(8, 8, 1), mean=0.5, std=0.5),
        lambda: rsr_tf.add_noise(stock_network()),
    ],
)
@pytest.mark.parametrize("fold", [False, True])
def test_stripped_network_is_the_masked_one_without_noise(build, fold, images):
    model = build()
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            for weight in layer.weights:
                weight.assign(tf.random.uniform(weight.shape, 0.8, 1.2))
    rsr_tf.prune(model, sparsity=0.6)
    stripped = rsr_tf.strip(model, fold=fold)
    np.testing.assert_allclose(stripped(images), silence(model)(images), atol=1e-4)
    assert rsr_tf.sparsity(stripped) == rsr_tf.sparsity(model)


def test_folded_network_has_no_normalization_left():
    kinds = {type(layer) for layer in rsr_tf.strip(rsr_tf.models.resnet20(), fold=True).layers}
    assert keras.layers.Conv2D in kinds
    assert keras.layers.BatchNormalization not in kinds


def test_mask_alone_makes_zeros_in_the_stripped_network(noisy_model, images):
    """A mask may be set without `prune`, which would also change the kernel."""
    for layer in noisy_layers(noisy_model):
        layer.mask.assign(np.random.default_rng(0).uniform(size=layer.mask.shape) < 0.5)
    stripped = rsr_tf.strip(noisy_model)
    np.testing.assert_allclose(stripped(images), silence(noisy_model)(images), atol=1e-5)
    masks = np.concatenate([np.ravel(layer.mask) for layer in noisy_layers(noisy_model)])
    assert rsr_tf.sparsity(stripped) == pytest.approx(1 - masks.mean())


@pytest.mark.slow
@pytest.mark.parametrize(
    "build",
    [rsr_tf.models.small_cnn, rsr_tf.models.resnet20, lambda: rsr_tf.add_noise(stock_network())],
)
def test_stripped_network_is_made_of_stock_layers(build):
    for layer in rsr_tf.strip(build())._flatten_layers(include_self=False):
        assert type(layer).__module__.startswith("keras.")


def test_rsr_model_is_stripped_to_a_plain_one(noisy_model, images):
    model = rsr_tf.RSRModel(noisy_model.inputs, noisy_model.outputs, attack=rsr_tf.attacks.PGD())
    stripped = rsr_tf.strip(compiled(model))
    assert not isinstance(stripped, rsr_tf.RSRModel)
    np.testing.assert_allclose(stripped(images), silence(model)(images), atol=1e-5)


def test_stripped_half_precision_network_stays_in_half_precision(images):
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = silence(rsr_tf.models.small_cnn())
    stripped = rsr_tf.strip(model)
    assert {layer.compute_dtype for layer in stripped.layers if isinstance(layer, keras.layers.Conv2D)} == {"bfloat16"}
    np.testing.assert_allclose(stripped(images), model(images), atol=0.1)


def test_fresh_noise_keeps_weights_masks_and_alpha(noisy_model):
    rsr_tf.prune(noisy_model, sparsity=0.5)
    fresh = with_fresh_noise(noisy_model)
    for old, new in zip(noisy_model.weights, fresh.weights, strict=True):
        np.testing.assert_array_equal(old, new)
    assert all(layer.seed_generator is None for layer in noisy_layers(fresh))


@pytest.mark.parametrize("source", ["fresh", "tflite"])
def test_fresh_noise_reaches_layers_inside_others(source, images):
    fresh = with_fresh_noise(enclosing_network(std=0.1), source)
    layers = noisy_layers(fresh) + feature_noises(fresh)
    assert [(layer.seed, layer.seed_generator) for layer in layers] == [(source, None)] * 2
    assert not any("seed" in variable.path for variable in fresh.variables)  # no seed goes into a file
    assert np.abs(fresh(images) - fresh(images)).max() > 1e-4


@pytest.mark.parametrize("change", [rsr_tf.strip, lambda model: rsr_tf.strip(model, fold=True), without_weight_noise])
def test_noise_inside_another_layer_is_refused_with_its_name_and_the_way_out(change):
    with pytest.raises(
        ValueError,
        match=r"`model` has noise inside .* as a functional model, or .*`noise='none'`, .* "
        r"Received: noise in branches/noisy \(NoisyConv2D\)\Z",
    ):
        change(enclosing_network())
    inputs = keras.Input((8, 6))
    each = keras.layers.TimeDistributed(rsr_tf.NoisyDense(3, name="dense"), name="each")
    with pytest.raises(ValueError, match=r"Received: noise in each/dense \(NoisyDense\)\Z"):
        change(keras.Model(inputs, each(inputs)))


def test_feature_noise_inside_another_layer_is_kept_without_weight_noise_and_refused_by_strip():
    model = enclosing_network(noise="none", std=0.1)
    assert draws_noise(without_weight_noise(model))
    with pytest.raises(ValueError, match=r"Received: noise in branches/pixels \(FeatureNoise\)\Z"):
        rsr_tf.strip(model)


def test_layer_without_noise_inside_another_is_stripped_with_its_zeros(images):
    model = enclosing_network(noise="none")
    rsr_tf.prune(model, sparsity=0.5)
    np.testing.assert_array_equal(rsr_tf.strip(model)(images), model(images))


def test_only_noise_that_conversions_cannot_reach_counts_as_enclosed(noisy_model):
    assert enclosed_noise(noisy_model) == []
    model = enclosing_network(std=0.1)
    layer = model.get_layer("branches")
    assert {id(one) for one in enclosed_noise(model)} == {id(layer.noisy), id(layer.pixels)}


def test_pruned_stock_network_gets_noise_where_it_has_weights(images):
    model = stock_network()
    rsr_tf.prune(model, sparsity=0.5)
    noisy = rsr_tf.add_noise(model, noise_scale=0.5)
    assert rsr_tf.sparsity(noisy) == rsr_tf.sparsity(model)
    for before, after in zip(noisy_layers(model), noisy_layers(noisy), strict=True):
        for name in ("mask", "threshold", "pruning_step", "kernel", "bias"):
            np.testing.assert_array_equal(getattr(before, name), getattr(after, name))
        assert not np.any(np.array(after.sample_kernel())[~np.array(after.mask)])
    np.testing.assert_allclose(silence(noisy)(images), model(images), atol=1e-5)


def test_block_without_noise_gets_noise_and_keeps_its_mask(images):
    model = rsr_tf.models.small_cnn(noise="none")
    rsr_tf.prune(model, sparsity=0.5)
    noisy = rsr_tf.add_noise(model, lasso=1e-3)
    assert rsr_tf.sparsity(noisy) == rsr_tf.sparsity(model)
    assert len(noisy.losses) == 4
    assert np.abs(noisy(images) - noisy(images)).max() > 1e-4
    np.testing.assert_allclose(silence(noisy)(images), model(images), atol=1e-5)


@pytest.mark.slow
def test_layers_without_noise_are_copied_and_logged(caplog):
    inputs = keras.Input((6,), dtype="int32")
    x = keras.layers.Embedding(20, 4, name="words")(inputs)
    x = keras.layers.MultiHeadAttention(2, 2, name="attention")(x, x)
    x = keras.layers.TimeDistributed(keras.layers.Dense(3), name="each")(x)
    model = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.LSTM(3, name="memory")(x)))
    noisy = rsr_tf.add_noise(model)
    assert caplog.messages == [
        "layers that stay without noise and cannot be pruned: words (Embedding), attention (MultiHeadAttention), "
        "each (TimeDistributed), memory (LSTM)"
    ]
    words = np.arange(12).reshape(2, 6)
    np.testing.assert_allclose(silence(noisy)(words), model(words), atol=1e-5)


@pytest.mark.parametrize("change", [lambda layer: layer.enable_lora(2), lambda layer: layer.quantize("int8")])
def test_lora_and_quantized_layers_stay_unchanged(change):
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(6, name="changed"), keras.layers.Dense(4)])
    change(model.layers[0])
    assert [layer.name for layer in rsr_tf.unpruned_layers(model)] == ["changed"]
    rsr_tf.prune(model, sparsity=0.5)
    assert [type(layer) for layer in model.layers] == [keras.layers.Dense, rsr_tf.NoisyDense]


def test_adapted_normalization_keeps_its_statistics(images):
    normalization = keras.layers.Normalization()
    normalization.adapt(3 * images + 1)
    model = keras.Sequential([keras.Input((8, 8, 1)), normalization, keras.layers.Flatten(), keras.layers.Dense(3)])
    noisy = rsr_tf.add_noise(model, kind="none")
    np.testing.assert_allclose(noisy(images), model(images), atol=1e-5)
    np.testing.assert_allclose(rsr_tf.strip(noisy)(images), model(images), atol=1e-5)


def test_noisy_model_is_refused_with_the_way_out(noisy_model):
    with pytest.raises(
        ValueError, match=r"`model` must be without noise.*`add_noise\(strip\(model\), ...\)`.*Received:"
    ):
        rsr_tf.add_noise(noisy_model, kind="none")


def test_subclassed_model_is_refused():
    class Own(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(ValueError, match=r"must be a built functional or Sequential Keras model. Received: Own"):
        rsr_tf.add_noise(Own())
    with pytest.raises(ValueError, match=r"must be a built functional or Sequential Keras model. Received: Own"):
        rsr_tf.strip(Own())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "filter"}, r"`kind` must be one of \('channel', .*\). Received: kind='filter'"),
        ({"noise_scale": -0.1}, "`noise_scale` must not be negative. Received: noise_scale=-0.1"),
    ],
)
def test_impossible_noise_is_refused_by_the_name_of_its_argument(options, message):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match=message):
        rsr_tf.add_noise(model, **options)


def test_lora_on_a_layer_with_a_mask_is_refused_with_the_way_out(noisy_model):
    with pytest.raises(
        ValueError, match=r"LoRA must be enabled on a layer without mask.*`rsr_tf.strip`.*Received: layer `"
    ):
        noisy_model.layers[-1].enable_lora(2)


def test_copy_in_float32_takes_layers_inside_layers(images):
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.TimeDistributed(keras.layers.Dense(3, dtype="bfloat16"), dtype="bfloat16")(inputs)
    copy = in_float32(keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(x))))
    assert copy.layers[1].layer.compute_dtype == "float32"
    assert copy(images).shape == (16, 2)


def test_negative_lasso_is_refused():
    with pytest.raises(ValueError, match=r"`lasso` must not be negative. Received: lasso=-1"):
        rsr_tf.add_noise(stock_network(), lasso=-1)


def test_copy_in_float32_keeps_adapted_statistics(images):
    normalize = keras.layers.Normalization(dtype="mixed_bfloat16")
    normalize.adapt(images)
    model = keras.Sequential([keras.Input((8, 8, 1)), normalize])
    np.testing.assert_allclose(in_float32(model)(images).numpy().std(), 1, atol=1e-3)


def test_copy_in_float32_leaves_words_and_whole_numbers_alone():
    lookup = keras.layers.StringLookup(vocabulary=["a", "b"])
    model = keras.Sequential([keras.Input((2,), dtype="string"), lookup, keras.layers.Embedding(3, 2, dtype="float16")])
    copy = in_float32(model)
    assert [layer.compute_dtype for layer in copy.layers[1:]] == [lookup.compute_dtype, "float32"]
    assert copy(tf.constant([["a", "b"]])).dtype == "float32"
