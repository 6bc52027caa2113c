import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import compiled

import rsr_tf
from rsr_tf.layers import noisy_layers

KINDS = ("channel", "layer", "element", "none")
LAYERS = {
    "convolution": lambda **options: rsr_tf.NoisyConv2D(4, 3, **options),
    "dense": lambda **options: keras.Sequential([keras.layers.Flatten(), rsr_tf.NoisyDense(5, **options)]),
    "block": lambda **options: rsr_tf.NoisyConvBlock(4, 3, activation="relu", **options),
}


def network_of(layer):
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Flatten()(layer(inputs))
    return keras.Model(inputs, keras.layers.Dense(10, dtype="float32")(x))


@pytest.fixture(params=LAYERS)
def make_layer(request):
    return LAYERS[request.param]


# Contract of every layer


@pytest.mark.parametrize("kind", KINDS)
def test_layer_survives_its_config(make_layer, kind):
    layer = make_layer(noise=kind, noise_scale=0.5, kernel_regularizer="l1")
    config = layer.get_config()
    assert type(layer).from_config(config).get_config() == config


@pytest.mark.parametrize("kind", KINDS)
def test_keras_file_keeps_every_variable_the_seed_included(make_layer, kind, images, tmp_path):
    model = network_of(make_layer(noise=kind))
    model(images)  # advances the seeds
    for layer in noisy_layers(model):
        layer.mask.assign(np.random.default_rng(0).uniform(size=layer.mask.shape) < 0.5)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert len(model.variables) == len(loaded.variables)
    for before, after in zip(model.variables, loaded.variables, strict=True):
        np.testing.assert_array_equal(before, after)
    np.testing.assert_array_equal(model(images), loaded(images))  # the same next draw


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_keeps_variables_in_float32(make_layer, policy, images, labels):
    keras.config.set_dtype_policy(policy)
    layer = make_layer()
    model = compiled(network_of(layer))
    assert layer(images).dtype == policy.removeprefix("mixed_")
    assert {weight.dtype for weight in model.trainable_weights} == {"float32"}
    assert np.isfinite(model.fit(images, labels, verbose=0).history["loss"][0])


@pytest.mark.parametrize("policy", ["bfloat16", "float16", "float64"])
def test_variables_of_any_precision_get_noise_and_train(make_layer, policy, images, labels):
    keras.config.set_dtype_policy(policy)
    model = compiled(network_of(make_layer(noise_scale=0.5)))
    assert {weight.dtype for weight in model.trainable_weights} == {policy, "float32"}  # the last layer is float32
    assert np.abs(model(images) - model(images)).max() > 1e-4
    assert noisy_layers(model)[0].sample_kernel().dtype == ("float64" if policy == "float64" else "float32")
    assert np.isfinite(model.fit(images, labels, verbose=0).history["loss"][0])
    rsr_tf.prune(model, sparsity=0.5)
    assert rsr_tf.sparsity(rsr_tf.strip(model)) == pytest.approx(0.5, abs=0.02)


# Noise


def test_every_call_draws_anew_for_inference_too(make_layer, images):
    model = network_of(make_layer())
    for training in (True, False):
        assert np.abs(model(images, training=training) - model(images, training=training)).max() > 1e-4


def test_one_draw_serves_the_whole_batch(make_layer, images):
    twice = np.concatenate([images[:1], images[:1]])
    outputs = network_of(make_layer())(twice)
    np.testing.assert_allclose(outputs[0], outputs[1], atol=1e-6)


def test_kind_none_is_deterministic_and_has_no_alpha(make_layer, images):
    model = network_of(make_layer(noise="none"))
    np.testing.assert_array_equal(model(images), model(images))
    assert not any(weight.name == "alpha" for weight in model.weights)


def test_alpha_starts_at_a_quarter(noisy_model):
    for layer in noisy_layers(noisy_model):
        np.testing.assert_array_equal(layer.alpha, np.full(layer.alpha.shape, 0.25))


def test_layers_do_not_share_a_seed(noisy_model):
    seeds = [tuple(np.array(layer.seed_generator.state)) for layer in noisy_layers(noisy_model)]
    assert len(set(seeds)) == len(seeds) == 3


def test_sampled_kernel_is_equation_4():
    layer = rsr_tf.NoisyDense(3, seed=7)
    layer.build((None, 5))
    layer.alpha.assign([0.1, 0.2, 0.3])
    kernel = np.array(layer.kernel)
    eta = np.std(kernel) * np.array(keras.random.normal((5, 3), seed=keras.random.SeedGenerator(7)))
    np.testing.assert_allclose(layer.sample_kernel(), kernel + [0.1, 0.2, 0.3] * eta, rtol=1e-5)


def test_noise_is_drawn_anew_inside_a_graph_loop(images):
    layer = rsr_tf.NoisyConv2D(1, 8)
    layer.build(images.shape)

    @tf.function
    def run():
        outputs = tf.TensorArray(tf.float32, 3)
        _, outputs = tf.while_loop(
            lambda i, _: i < 3, lambda i, out: (i + 1, out.write(i, tf.squeeze(layer(images[:1])))), (0, outputs)
        )
        return outputs.stack()

    assert len(np.unique(run())) == 3


@pytest.mark.parametrize("layer", [rsr_tf.NoisyConv2D, rsr_tf.NoisyConvBlock])
def test_wrong_noise_is_refused_where_the_layer_is_made(layer):
    with pytest.raises(ValueError, match="`noise` must be one of"):
        layer(4, 3, noise="loud")
    with pytest.raises(ValueError, match=r"`noise_scale` must not be negative. Received: noise_scale=-1"):
        layer(4, 3, noise_scale=-1)


def test_loading_other_variables_is_refused():
    layer = rsr_tf.NoisyDense(2)
    layer.build((None, 3))
    with pytest.raises(ValueError, match=r"saved variables of layer .* must be .*'alpha'.* Received: .*'0'"):
        layer.load_own_variables({"0": np.zeros((3, 2))})


def test_loading_a_mask_of_the_wrong_shape_is_refused():
    layer = rsr_tf.NoisyDense(2)
    layer.build((None, 3))
    store = {}
    layer.save_own_variables(store)
    with pytest.raises(
        ValueError, match=r"saved `mask` of layer .* must have the shape \(3, 2\). Received: shape \(2, 2\)"
    ):
        layer.load_own_variables({**store, "mask": np.ones((2, 2), bool)})


def test_file_without_threshold_and_step_loads_as_never_pruned(noisy_model):
    layer = noisy_layers(noisy_model)[-1]
    store = {}
    layer.save_own_variables(store)
    store = {name: np.array(value) for name, value in store.items() if name not in ("threshold", "pruning_step")}
    rsr_tf.prune(noisy_model, sparsity=0.5)
    layer.load_own_variables(store)
    assert np.all(layer.mask)
    assert (float(layer.threshold), int(layer.pruning_step)) == (0.0, -1)


# Masks


def test_masked_weights_are_zero_in_the_kernel_that_is_used(noisy_model):
    for layer in noisy_layers(noisy_model):
        mask = np.random.default_rng(0).uniform(size=layer.mask.shape) < 0.5
        layer.mask.assign(mask)
        sampled = np.array(layer.sample_kernel())
        assert np.all(sampled[~mask] == 0)
        assert np.all(sampled[mask] != 0)


def test_mask_constraint_is_a_keras_constraint_and_keeps_that_of_the_user():
    """Keras before 3.15 takes no other callable for a constraint."""
    layer = rsr_tf.NoisyDense(2, kernel_constraint="non_neg")
    layer.build((None, 2))
    layer.mask.assign([[True, False], [True, True]])
    assert isinstance(layer.kernel.constraint, keras.constraints.Constraint)
    constrained = layer.kernel.constraint(tf.constant([[1.0, 2.0], [-3.0, 4.0]]))
    np.testing.assert_array_equal(constrained, [[1.0, 0.0], [0.0, 4.0]])


def test_own_kernel_constraint_still_holds(images, labels):
    model = compiled(network_of(rsr_tf.NoisyConv2D(4, 3, kernel_constraint=keras.constraints.NonNeg())))
    model.fit(images, labels, verbose=0)
    assert np.min(noisy_layers(model)[0].kernel) >= 0


def test_regularizer_counts_the_weights_that_are_left_and_pulls_at_no_others():
    layer = rsr_tf.NoisyDense(2, kernel_regularizer=lambda kernel: tf.reduce_sum((kernel - 1) ** 2))
    layer.build((None, 2))
    layer.kernel.assign([[3.0, 0.0], [5.0, 2.0]])
    layer.mask.assign([[True, False], [True, True]])
    with tf.GradientTape() as tape:
        (loss,) = layer.losses
    assert float(loss) == 4 + 1 + 16 + 1
    np.testing.assert_array_equal(tape.gradient(loss, layer.kernel.value), [[4, 0], [8, 2]])


def test_regularizer_is_saved_as_the_user_gave_it():
    layer = rsr_tf.NoisySeparableConv2D(2, 3, depthwise_regularizer="l1", pointwise_regularizer="l2")
    layer.build((None, 5, 5, 1))
    copy = rsr_tf.NoisySeparableConv2D.from_config(layer.get_config())
    assert isinstance(copy.depthwise_regularizer, keras.regularizers.L1)
    assert isinstance(copy.pointwise_regularizer, keras.regularizers.L2)
    assert len(layer.losses) == 2
