"""Which channels are removed together, on a small network for each rule."""

import keras
import numpy as np
import pytest
from pruning_networks import L, Reversed, conv, depthwise, filters_of, functional, head, outputs_of, residual, shrunk

import rsr_tf
from rsr_tf.layers.kernels import layers_of


def plain(x):
    x = conv(8, "one", activation="sigmoid")(x)  # 0.5 where nothing comes in
    x = L.Conv2D(6, 3, strides=2, name="two", activation="softplus", use_bias=False)(x)
    return head(x)


def normalized(x):
    x = L.BatchNormalization()(conv(8, "one", use_bias=False)(x))
    x = L.ZeroPadding2D()(L.Activation("tanh")(x))
    x = L.BatchNormalization(scale=False)(L.MaxPooling2D()(conv(6, "two")(x)))
    x = L.UpSampling2D()(L.Dropout(0.5)(L.LeakyReLU()(x)))
    return head(L.Cropping2D()(L.PReLU(alpha_initializer="normal")(L.AveragePooling2D(2)(x))))


def concatenated(x):
    one, two = conv(6, "one")(x), conv(4, "two")(x)
    x = L.BatchNormalization()(L.Concatenate()([one, x, two]))
    y = L.Concatenate(axis=1)([conv(8, "three")(x), conv(8, "four")(x)])
    return head(y)


def flattened(x):
    x = L.MaxPooling2D()(conv(6, "one", activation="tanh")(x))
    return L.Dense(3, name="head")(L.Dense(8, activation="relu", name="two")(L.Flatten()(x)))


def separable(x):
    x = conv(6, "one", activation="relu")(x)
    return head(L.SeparableConv2D(4, 3, depth_multiplier=2, activation="relu", name="separable")(x))


def transposed(x):
    return head(conv(4, "two")(L.Conv2DTranspose(6, 3, activation="relu", name="one")(conv(8, "zero")(x))))


def other_dimensions(x):
    x = L.Conv1D(6, 3, padding="causal", activation="relu", name="one")(L.Reshape((64, 2))(x))
    x = L.Conv3D(4, 2, activation="relu", name="two")(L.Reshape((4, 4, 4, 6))(x))
    return L.Dense(3, name="head")(L.GlobalMaxPooling3D()(x))


def squeeze_and_excite(x):
    x = conv(8, "one", activation="silu")(x)
    y = L.Reshape((1, 1, 8))(L.GlobalAveragePooling2D()(x))
    y = L.Conv2D(4, 1, activation="relu", name="squeeze")(y)
    return head(L.Multiply()([x, L.Conv2D(8, 1, activation="sigmoid", name="excite")(y)]))


def operations(x):
    """A shortcut with zeros for new channels, hard swish, and slices, all in `keras.ops`."""
    x = conv(6, "one")(x)
    x = x * keras.ops.relu6(x + 3.0) / 6.0
    shortcut = keras.ops.pad(x[:, ::2, ::2], [[0, 0], [0, 0], [0, 0], [1, 3]])
    return head(keras.ops.gelu(L.Conv2D(10, 3, strides=2, padding="same", name="two")(x) + shortcut))


def shared(x):
    x = conv(6, "one")(x)
    both, normalize = conv(6, "both", activation="relu"), L.BatchNormalization()
    return head(L.Maximum()([normalize(both(both(x))), normalize(x)]))


def nested(x):
    inner = keras.Sequential(
        [keras.Input((8, 8, 6)), conv(6, "inside", activation="relu"), L.BatchNormalization()], name="inner"
    )
    x = conv(6, "one")(x)
    return head(conv(4, "two")(inner(inner(x))))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (plain, {"one": 4, "two": 3}),
        (normalized, {"one": 4, "two": 3}),
        (residual, {"stem": 4, "one_a": 3, "one_b": 4, "two_a": 3, "two_b": 4}),
        (concatenated, {"one": 3, "two": 2, "three": 4, "four": 4}),
        (flattened, {"one": 3, "two": 4}),
        (depthwise, {"one": 3, "depthwise": 3}),
        (separable, {"one": 3, "separable/depthwise_kernel": 3, "separable/pointwise_kernel": 2}),
        (transposed, {"zero": 4, "one": 3, "two": 2}),
        (other_dimensions, {"one": 3, "two": 2}),
        (squeeze_and_excite, {"one": 4, "squeeze": 2, "excite": 4}),
        (operations, {"one": 3, "two": 5}),
        (shared, {"one": 3, "both": 3}),
        (nested, {"one": 3, "inside": 3, "two": 2}),
    ],
)
@pytest.mark.parametrize("noise", [None, "channel"])
def test_smaller_network_computes_what_the_zeroed_one_does(build, expected, noise):
    model = functional((8, 8, 2), build)
    model = rsr_tf.add_noise(model, kind=noise) if noise else model
    small = shrunk(model)
    assert filters_of(small) == {**expected, "head": 3}
    assert [layer.name for layer in small.layers] == [layer.name for layer in model.layers]
    kinds = {type(layer).__module__.split(".")[0] for layer in layers_of(small) if layer.trainable_weights}
    assert ("rsr_tf" in kinds) == bool(noise)


# Barriers: layers without a rule keep their input channels


def test_channels_that_come_from_the_input_stay():
    """The sum of a convolution and the image has the channels of the image."""
    model = functional((8, 8, 4), lambda x: head(L.Add()([conv(4, "one")(x), x])))
    with pytest.raises(ValueError, match="must have filters that can be removed"):
        rsr_tf.prune_filters(model)


@pytest.mark.parametrize(
    "barrier",
    [
        lambda: Reversed(name="barrier"),
        lambda: L.LayerNormalization(name="barrier"),
        lambda: L.Softmax(name="barrier"),
        lambda: L.Activation("softmax", name="barrier"),
        lambda: L.Permute((3, 1, 2), name="barrier"),
        lambda: L.Conv2D(8, 3, groups=2, name="barrier"),
        lambda: L.BatchNormalization(axis=1, name="barrier"),
        lambda: L.Reshape((8, 16, 4), name="barrier"),
        lambda: L.Activation(lambda x: x[..., ::-1], name="barrier"),
    ],
)
def test_channels_before_an_unknown_layer_stay_and_it_is_named(barrier):
    def build(x):
        x = conv(8, "before")(conv(6, "first")(x))
        return head(conv(6, "after")(barrier()(x)))

    model = functional((8, 8, 2), build)
    table = rsr_tf.prune_filters(model)
    left = {row.path: row.filters - row.removed for row in table}
    assert {name: left[name] for name in ("first", "before", "after")} == {"first": 3, "before": 8, "after": 3}
    assert table.barriers == ["barrier"]


def test_channels_after_an_unknown_layer_stay_even_if_nothing_reads_them():
    model = functional((8, 8, 2), lambda x: head(conv(4, "after")(Reversed()(conv(6, "before")(x)))))
    after = model.get_layer("after")
    after.kernel.assign(np.array(after.kernel) * (np.arange(6) > 2)[:, None])
    small = rsr_tf.rebuild(model)
    np.testing.assert_allclose(outputs_of(small)[0], outputs_of(model)[0], atol=1e-6)
    assert small.get_layer("after").kernel.shape == (3, 3, 6, 4)


def test_quantized_activation_in_a_layer_and_of_a_sum_mixes_no_filters():
    quantized = rsr_tf.layers.QuantizedReLU(3, ceiling=2.0)

    def build(x):
        x = conv(8, "one", activation=quantized)(x)
        x = L.Activation(quantized)(L.Add()([x, conv(8, "two")(x)]))
        return head(rsr_tf.NoisyConvBlock(6, 3, activation=quantized, noise="none", name="three")(x))

    small = shrunk(functional((8, 8, 2), build))
    assert {name: left for name, left in filters_of(small).items() if name in ("one", "two")} == {"one": 4, "two": 4}
    assert small.get_layer("three").convolution.filters == 3
    assert small.get_layer("three").activation.get_config() == quantized.get_config()


@pytest.mark.parametrize("activation", ["softmax", lambda x: x[..., ::-1]])
def test_activation_that_mixes_filters_keeps_them(activation):
    model = functional((8, 8, 2), lambda x: head(conv(8, "two", activation=activation)(conv(6, "one")(x))))
    table = rsr_tf.prune_filters(model)
    assert [row.removed for row in table] == [3, 0, 0]
    assert table.barriers == ["two"]


def test_dropout_that_counts_the_channels_keeps_them(images):
    inputs = keras.Input((8, 8, 1))
    x = L.Dropout(0.5, noise_shape=(None, 1, 1, 6), name="counting")(L.Conv2D(6, 3)(inputs))
    x = L.Dropout(0.5, noise_shape=(None, 1, 1, 1))(L.Conv2D(4, 3)(x))
    model = keras.Model(inputs, L.Dense(3)(L.GlobalAveragePooling2D()(x)))
    table = rsr_tf.prune_filters(model, share=0.5)
    assert table.barriers == ["counting"]
    assert [row.removed for row in table] == [0, 2, 0]
    assert rsr_tf.rebuild(model)(images, training=True).shape == (16, 3)


def test_network_that_must_keep_all_filters_says_because_of_which_layer():
    inputs = keras.Input((8, 8, 1))
    x = L.LayerNormalization(name="mixing")(L.Conv2D(6, 3)(inputs))
    model = keras.Model(inputs, L.GlobalAveragePooling2D()(x))
    with pytest.raises(
        ValueError, match=r"must have filters that can be removed. Received: .*; kept because of mixing"
    ):
        rsr_tf.prune_filters(model)


def test_channels_that_divide_stay():
    """Removed, they would be zero, and the zeroed network no number."""

    def build(x):
        x = conv(8, "above", use_bias=False)(x) / conv(8, "below", use_bias=False)(x)
        return head(conv(6, "after")(keras.ops.softplus(x) / 2.0))

    model = functional((8, 8, 2), build)
    table = rsr_tf.prune_filters(model)
    assert [row.removed for row in table] == [0, 0, 3, 0]
    assert len(table.barriers) == 1


def test_map_for_all_channels_stays():
    """Spatial attention: one channel, multiplied with all."""

    def build(x):
        x = conv(8, "one", activation="relu")(x)
        return head(L.Multiply()([x, conv(1, "attention", activation="sigmoid")(x)]))

    assert filters_of(shrunk(functional((8, 8, 2), build))) == {"one": 4, "attention": 1, "head": 3}


def test_normalization_of_the_input_is_no_barrier():
    assert rsr_tf.prune_filters(rsr_tf.models.small_cnn()).barriers == []
