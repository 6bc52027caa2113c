"""Whole filters removed from hand-made networks, one for each rule, and from the usual ones."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import compiled, silence, tiny_network

import rsr_tf
from rsr_tf.layers import prunable_kernels
from rsr_tf.layers.kernels import layers_of
from rsr_tf.layers.noise import noise_std

L = keras.layers


def randomize(model):
    """Give biases, normalizations and the like numbers that are not their first ones, negative ones too."""
    rng = np.random.default_rng(0)
    for variable in model.weights:
        if variable.name in ("bias", "beta", "moving_mean"):
            variable.assign(rng.normal(size=variable.shape))
        elif variable.name in ("gamma", "moving_variance"):
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    return model


def images_for(model, n=3):
    rng = np.random.default_rng(1)
    images = [rng.uniform(size=(n, *tensor.shape[1:])).astype("float32") for tensor in model.inputs]
    return images if len(images) > 1 else images[0]


def outputs_of(model):
    return [np.array(output) for output in keras.tree.flatten(model(images_for(model), training=False))]


def shrunk(model, **options):
    """The network after `prune_filters` and `rebuild`, its outputs compared with those between the two."""
    silence(randomize(model))
    before = outputs_of(model)
    rsr_tf.prune_filters(model, **options)
    zeroed = outputs_of(model)
    small = rsr_tf.rebuild(model)
    for one, other, first in zip(zeroed, outputs_of(small), before, strict=True):
        assert one.std() > 1e-3
        assert not np.allclose(one, first, atol=1e-3)  # something was removed
        np.testing.assert_allclose(other, one, rtol=0, atol=1e-5 * max(1, np.abs(one).max()))
    return small


def filters_of(model):
    """Filters of each kernel of a model, by the last part of its layer's name."""
    return {path: kernel.kernel.shape[kernel.filter_axes[0]] for path, kernel in prunable_kernels(model).items()}


def functional(shape, build):
    inputs = keras.Input(shape)
    return keras.Model(inputs, build(inputs))


def conv(filters, name, **options):
    return L.Conv2D(filters, 3, padding="same", name=name, **options)


def head(x):
    return L.Dense(3, name="head")(L.GlobalAveragePooling2D()(x))


# What is computed, by hand


def chain(*kernels, bias=0.0):
    """Dense layers with given kernels and ReLU between them."""
    inputs = x = keras.Input((kernels[0].shape[0],))
    for index, kernel in enumerate(kernels):
        activation = "relu" if index < len(kernels) - 1 else None
        layer = L.Dense(kernel.shape[1], activation=activation, name=f"dense{index}")
        x = layer(x)
        layer.kernel.assign(kernel)
        layer.bias.assign(np.full(kernel.shape[1], bias))
    return keras.Model(inputs, x)


def test_smaller_network_is_the_old_one_without_its_weakest_filters():
    first = np.array([[1.0, 0.1, 2.0, -0.2], [1.0, 0.2, -1.0, 0.1]])
    second = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]])
    model = chain(first, second, bias=0.5)
    rsr_tf.prune_filters(model, share=0.5)
    small = rsr_tf.rebuild(model)
    one, two = small.layers[1:]
    np.testing.assert_allclose(one.kernel, first[:, [0, 2]])
    np.testing.assert_allclose(one.bias, [0.5, 0.5])
    np.testing.assert_allclose(two.kernel, second[[0, 2]])
    np.testing.assert_allclose(two.bias, [0.5, 0.5])
    assert [layer.units for layer in (one, two)] == [2, 2]


def test_network_is_zeroed_in_place_in_filters_and_readers():
    model = chain(np.array([[1.0, 0.1], [1.0, 0.2]]), np.array([[1.0, 2.0], [3.0, 4.0]]))
    rsr_tf.prune_filters(model, share=0.5)
    np.testing.assert_allclose(model.get_layer("dense0").kernel, [[1, 0], [1, 0]])
    np.testing.assert_allclose(model.get_layer("dense1").kernel, [[1, 2], [0, 0]])


@pytest.mark.parametrize(("criterion", "kept"), [("l2", 0), ("l1", 1)])
def test_criterion_is_the_norm(criterion, kept):
    model = chain(np.array([[1.0, 0.6], [0.0, 0.6]]), np.ones((2, 2)))
    rsr_tf.prune_filters(model, share=0.5, criterion=criterion)
    assert np.array(model.get_layer("dense0").kernel).any(axis=0).tolist() == [kept == 0, kept == 1]


def test_strength_of_coupled_filters_is_their_common_average():
    """The first pair of filters has the mean square 2 * 0.25 / 3, the second one (0.04 + 0.04 + 0.36) / 3."""
    inputs = keras.Input((2,)), keras.Input((1,))
    long, short = L.Dense(2, name="long"), L.Dense(2, name="short")
    outputs = L.Dense(2, name="head")(L.Add()([long(inputs[0]), short(inputs[1])]))
    model = keras.Model(inputs, outputs)
    long.kernel.assign([[0.5, 0.2], [0.5, 0.2]])
    short.kernel.assign([[0.0, 0.6]])
    rsr_tf.prune_filters(model, share=0.5)
    assert np.array(long.kernel).any(axis=0).tolist() == [True, False]


def test_scope_layer_takes_the_share_of_each_and_global_the_weakest_of_all():
    even, uneven = np.full((2, 4), 1.0), np.array([[1.0, 1.0, 0.1, 0.1]] * 4)
    networks = {scope: chain(even, uneven, np.ones((4, 2))) for scope in ("layer", "global")}
    for scope, model in networks.items():
        rsr_tf.prune_filters(model, share=0.25, scope=scope)
    removed = {
        scope: [int((~np.array(layer.kernel).any(axis=0)).sum()) for layer in model.layers[1:3]]
        for scope, model in networks.items()
    }
    assert removed == {"layer": [1, 1], "global": [0, 2]}


def test_global_scope_does_not_mind_the_scale_of_a_layer():
    kernels = [np.array([[1.0, 0.5, 1.0, 1.0]] * 2), np.array([[1.0, 1.0, 1.0, 0.1]] * 4), np.ones((4, 2))]
    for scale in (1.0, 1e-3):
        model = chain(kernels[0] * scale, *kernels[1:])
        rsr_tf.prune_filters(model, share=0.125, scope="global")
        assert np.array(model.get_layer("dense0").kernel).any(axis=0).all()


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_every_layer_keeps_its_strongest_filter(scope):
    model = chain(np.array([[1.0, 3.0, 2.0]] * 2), np.array([[4.0, 1.0]] * 3), np.ones((2, 2)), bias=0.1)
    small = shrunk(model, share=1.0, scope=scope)
    assert filters_of(small) == {"dense0": 1, "dense1": 1, "dense2": 2}
    assert float(small.layers[1].kernel[0, 0]) == 3.0
    assert float(small.layers[2].kernel[0, 0]) == 4.0


def test_filters_that_are_gone_count():
    model = randomize(functional((8, 8, 2), lambda x: head(conv(8, "one")(x))))
    first = rsr_tf.prune_filters(model, share=0.5)
    before = np.array(model.get_layer("one").kernel)
    assert rsr_tf.prune_filters(model, share=0.5).removed == first.removed == 4
    np.testing.assert_array_equal(model.get_layer("one").kernel, before)


def left_after(build, exclude):
    table = rsr_tf.prune_filters(functional((8, 8, 2), build), exclude=exclude)
    return {row.path: row.filters - row.removed for row in table}


def test_excluded_layer_keeps_its_filters():
    left = left_after(lambda x: head(conv(8, "two")(conv(6, "one")(x))), ["first"])
    assert left == {"one": 6, "two": 4, "head": 3}


def test_excluded_layer_keeps_the_filters_that_go_with_its_own():
    assert left_after(residual, ["one_b"]) == {"stem": 8, "one_a": 3, "one_b": 8, "two_a": 3, "two_b": 8, "head": 3}


def test_excluded_depthwise_layer_keeps_its_channels():
    with pytest.raises(ValueError, match="must have filters that can be removed"):  # all go through that layer
        left_after(depthwise, ["DepthwiseConv2D"])


def test_network_with_an_excluded_layer_is_rebuilt():
    """An excluded layer reads what is left of the layer before it."""
    small = shrunk(functional((8, 8, 2), lambda x: head(conv(8, "two")(conv(6, "one")(x)))), exclude=["two"])
    assert filters_of(small) == {"one": 3, "two": 8, "head": 3}


def test_share_of_zero_removes_nothing():
    model = functional((8, 8, 2), lambda x: head(conv(4, "one")(x)))
    before = model.get_weights()
    assert rsr_tf.prune_filters(model, share=0.0).removed == 0
    for one, other in zip(before, rsr_tf.rebuild(model).get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_kernel_that_loses_nothing_does_not_count_as_pruned():
    model = tiny_network()
    names = [kernel.path for kernel in prunable_kernels(model).values()]
    before = model.get_weights()
    rsr_tf.prune_filters(model, share=0.0)
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    rsr_tf.prune_filters(model, share=0.5, exclude=names[1:])
    assert [int(kernel.pruning_step) for kernel in prunable_kernels(model).values()] == [0, 0, -1]


# One network for each rule


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


def residual(x):
    x = conv(8, "stem", activation="relu")(x)
    for unit in ("one", "two"):
        y = conv(6, f"{unit}_a", activation="relu")(x)
        x = L.ReLU()(L.Add()([x, L.BatchNormalization()(conv(8, f"{unit}_b")(y))]))
    return head(x)


def concatenated(x):
    one, two = conv(6, "one")(x), conv(4, "two")(x)
    x = L.BatchNormalization()(L.Concatenate()([one, x, two]))
    y = L.Concatenate(axis=1)([conv(8, "three")(x), conv(8, "four")(x)])
    return head(y)


def flattened(x):
    x = L.MaxPooling2D()(conv(6, "one", activation="tanh")(x))
    return L.Dense(3, name="head")(L.Dense(8, activation="relu", name="two")(L.Flatten()(x)))


def depthwise(x):
    x = conv(6, "one", activation="relu")(x)
    x = L.DepthwiseConv2D(3, depth_multiplier=2, activation="elu", name="depthwise")(x)
    return head(L.BatchNormalization()(x))


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


def test_several_inputs_and_outputs_keep_their_names_and_order():
    inputs = {"image": keras.Input((8, 8, 2), name="image"), "vector": keras.Input((5,), name="vector")}
    x = L.Concatenate()([L.Flatten()(conv(4, "one")(inputs["image"])), L.Dense(6, name="two")(inputs["vector"])])
    model = keras.Model(inputs, {"a": L.Dense(3, name="a")(x), "b": L.Dense(2, name="b")(x)})
    silence(randomize(model))
    rsr_tf.prune_filters(model)
    small = rsr_tf.rebuild(model)
    assert filters_of(small) == {"one": 2, "two": 3, "a": 3, "b": 2}
    rng = np.random.default_rng(1)
    batch = {"image": rng.uniform(size=(3, 8, 8, 2)), "vector": rng.uniform(size=(3, 5))}
    before, after = model(batch), small(batch)
    assert set(after) == {"a", "b"}
    for name in after:
        np.testing.assert_allclose(after[name], before[name], atol=1e-5)


def test_sequential_model_is_taken():
    model = keras.Sequential([keras.Input((8, 8, 2)), conv(8, "one"), L.Flatten(), L.Dense(3, name="head")])
    assert filters_of(shrunk(model)) == {"one": 4, "head": 3}


def test_channels_that_come_from_the_input_stay():
    """The sum of a convolution and the image has the channels of the image."""
    model = functional((8, 8, 4), lambda x: head(L.Add()([conv(4, "one")(x), x])))
    with pytest.raises(ValueError, match="must have filters that can be removed"):
        rsr_tf.prune_filters(model)


# Barriers: what is not known keeps its channels


@keras.saving.register_keras_serializable("test_structured")
class Reversed(keras.layers.Layer):
    """A layer of a user: nobody can know that it turns the channels round."""

    def call(self, inputs):
        return inputs[..., ::-1]


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


@pytest.mark.parametrize("barrier", [Reversed, lambda: L.Lambda(lambda x: x[..., ::-1])])
def test_network_with_an_unknown_layer_is_rebuilt(barrier):
    small = shrunk(functional((8, 8, 2), lambda x: head(barrier()(conv(8, "two")(conv(6, "one")(x))))))
    assert filters_of(small) == {"one": 3, "two": 8, "head": 3}


def test_channels_after_an_unknown_layer_stay_even_if_nothing_reads_them():
    model = functional((8, 8, 2), lambda x: head(conv(4, "after")(Reversed()(conv(6, "before")(x)))))
    after = model.get_layer("after")
    after.kernel.assign(np.array(after.kernel) * (np.arange(6) > 2)[:, None])
    small = rsr_tf.rebuild(model)
    np.testing.assert_allclose(outputs_of(small)[0], outputs_of(model)[0], atol=1e-6)
    assert small.get_layer("after").kernel.shape == (3, 3, 6, 4)


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


def test_table_prints_layers_total_and_barriers():
    model = functional((8, 8, 2), lambda x: head(Reversed(name="turn")(conv(8, "two")(conv(6, "one")(x)))))
    lines = str(rsr_tf.prune_filters(model)).splitlines()
    assert lines[1].split() == ["one", "6", "3", "3"]
    assert lines[-2].split() == ["total", "17", "3", "14"]
    assert lines[-1] == "filters kept because of: turn"


# The usual networks


def mobile_net():
    return keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, weights=None, classes=10, classifier_activation=None)


@pytest.mark.parametrize(
    ("build", "share_of_weights"),
    [
        (rsr_tf.models.resnet20, 0.26),
        (lambda: rsr_tf.models.resnet18(width=0.125), 0.26),
        (lambda: rsr_tf.models.vgg16(width=0.125), 0.26),
        (lambda: rsr_tf.models.vgg16(head="imagenet", input_shape=(32, 32, 3), classes=10, width=0.0625), 0.28),
        (mobile_net, 0.3),
    ],
)
def test_half_of_the_filters_of_a_usual_network(build, share_of_weights):
    model = build()
    small = shrunk(model)
    assert small.count_params() / model.count_params() < share_of_weights


def test_residual_network_shrinks_unevenly_too():
    small = shrunk(rsr_tf.models.resnet18(width=0.0625), share=0.4, scope="global")
    left = filters_of(small)
    assert len({left[f"stage3_unit{unit}_conv1/convolution"] for unit in (1, 2)}) == 2


# Noise


@pytest.mark.parametrize("kind", ["channel", "layer", "element"])
def test_noise_of_the_weights_that_stay_is_what_it_was(kind):
    first = np.random.default_rng(0).normal(size=(3, 4)) * [1, 0.1, 2, 0.2]
    model = rsr_tf.add_noise(chain(first, np.random.default_rng(1).normal(size=(4, 2))), kind=kind)
    kernels = list(prunable_kernels(model).values())
    for kernel in kernels:
        kernel.alpha.assign(np.random.default_rng(2).uniform(0.1, 0.5, kernel.alpha.shape))
    before = [np.broadcast_to(noise_std(k.kernel, k.alpha), k.kernel.shape) for k in kernels]
    rsr_tf.prune_filters(model)
    zeroed = [np.broadcast_to(noise_std(k.kernel, k.alpha), k.kernel.shape) for k in kernels]
    small = prunable_kernels(rsr_tf.rebuild(model)).values()
    rebuilt = [np.broadcast_to(noise_std(k.kernel, k.alpha), k.kernel.shape) for k in small]
    for places, one, two, three in zip([np.s_[:, [0, 2]], np.s_[[0, 2]]], before, zeroed, rebuilt, strict=True):
        np.testing.assert_allclose(two[places], one[places], rtol=1e-5)
        np.testing.assert_allclose(three, one[places], rtol=1e-5)


def test_removed_filters_have_no_noise_before_the_rebuild():
    model = rsr_tf.models.small_cnn(width=0.25)
    rsr_tf.prune_filters(model)
    kernel = np.array(prunable_kernels(model)["conv2/convolution"].layer.sample_kernel())
    assert (kernel.any(axis=(0, 1, 2)).sum(), kernel.any(axis=(0, 1, 3)).sum()) == (4, 4)


def test_noisy_network_draws_the_same_spread_of_outputs():
    model = rsr_tf.models.small_cnn(noise_scale=0.5, width=0.5)
    rsr_tf.prune_filters(randomize(model))
    small = rsr_tf.rebuild(model)
    image = images_for(model, 1)
    one, other = (np.array([draw(image)[0] for _ in range(300)]) for draw in map(tf.function, (model, small)))
    assert one.std(axis=0).min() > 0.01
    np.testing.assert_allclose(other.std(axis=0), one.std(axis=0), rtol=0.3)  # 5 deviations of a ratio of two of 300


def test_weight_that_is_zero_but_noisy_is_read():
    model = rsr_tf.add_noise(chain(np.ones((2, 3)), np.zeros((3, 2))), noise_scale=0.0)
    assert filters_of(rsr_tf.rebuild(model)) == {"dense0": 3, "dense1": 2}
    assert filters_of(rsr_tf.rebuild(chain(np.ones((2, 3)), np.zeros((3, 2))))) == {"dense0": 1, "dense1": 2}


# What becomes of the smaller network


def test_masks_seeds_and_thresholds_are_carried_over():
    model = tiny_network(filters=8)
    rsr_tf.prune(model, sparsity=0.4)
    rsr_tf.prune_filters(model)
    small = rsr_tf.rebuild(model)
    for old, new in zip(prunable_kernels(model).values(), prunable_kernels(small).values(), strict=True):
        np.testing.assert_array_equal(np.array(new.kernel) == 0, ~np.array(new.mask))
        np.testing.assert_array_equal(new.layer.seed_generator.state, old.layer.seed_generator.state)
        assert float(new.threshold) == float(old.threshold) > 0
        assert int(np.array(new.mask).sum()) == int(np.array(old.mask).sum())
        assert type(new.layer) is type(old.layer)


def test_channels_that_unstructured_pruning_left_unread_go_too():
    model = rsr_tf.add_noise(chain(np.ones((2, 4)), np.array([[1.0, 1], [0.01, 0.01], [2, 2], [0.02, 3]])), "none")
    rsr_tf.prune(model, gamma=0.1)
    assert filters_of(rsr_tf.rebuild(model)) == {"dense0": 3, "dense1": 2}


def test_stock_network_that_was_pruned_keeps_its_masks():
    model = functional((8, 8, 2), lambda x: head(conv(8, "two")(conv(6, "one")(x))))
    rsr_tf.prune(model, sparsity=0.3)
    small = shrunk(model)
    assert filters_of(small) == {"one": 3, "two": 4, "head": 3}
    for kernel in prunable_kernels(small).values():
        np.testing.assert_array_equal(kernel.mask, np.array(kernel.kernel) != 0)
    assert rsr_tf.sparsity(small) > 0.05


def test_smaller_network_trains_saves_loads_strips_and_is_pruned_again(images, labels, tmp_path):
    model = tiny_network(filters=8)
    rsr_tf.prune_filters(model)
    small = compiled(rsr_tf.rebuild(model))
    rsr_tf.prune(small, sparsity=0.5)
    small.fit(images, labels, epochs=2, verbose=0)
    assert rsr_tf.sparsity(small) == pytest.approx(0.5, abs=0.01)
    small.save(tmp_path / "small.keras")
    loaded = keras.models.load_model(tmp_path / "small.keras")
    stripped = [np.array(rsr_tf.strip(network)(images)) for network in (small, loaded)]
    np.testing.assert_array_equal(*stripped)
    assert [kernel.kernel.shape[-1] for kernel in prunable_kernels(loaded).values()] == [4, 4, 10]


def test_model_that_trains_adversarially_becomes_a_plain_one():
    network = tiny_network()
    model = rsr_tf.RSRModel(network.inputs, network.outputs, name="mine")
    rsr_tf.prune_filters(model)
    small = rsr_tf.rebuild(model)
    assert (type(small).__name__, small.name) == ("Functional", "mine")


def test_stock_network_stays_stock_and_its_file_is_smaller(tmp_path):
    model = randomize(functional((8, 8, 2), lambda x: head(conv(64, "two")(conv(64, "one")(x)))))
    rsr_tf.prune_filters(model)
    small = rsr_tf.rebuild(model)
    sizes = []
    for network in (model, small):
        network.save(tmp_path / "network.keras")
        sizes.append((tmp_path / "network.keras").stat().st_size)
    assert sizes[1] < 0.4 * sizes[0]
    assert {type(layer).__module__.split(".")[0] for layer in small.layers} == {"keras"}


# Mistakes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"share": 1.5}, r"`share` must be in \[0, 1\]. Received: share=1.5"),
        ({"share": float("nan")}, r"`share` must be in \[0, 1\]. Received: share=nan"),
        ({"scope": "block"}, r"`scope` must be one of \('layer', 'global'\). Received: scope='block'"),
        ({"criterion": "l3"}, r"`criterion` must be one of \('l1', 'l2'\). Received: criterion='l3'"),
    ],
)
def test_impossible_settings_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        rsr_tf.prune_filters(tiny_network(), **options)


def test_weight_that_is_no_number_is_refused_and_nothing_removed():
    model = chain(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[np.nan, 1.0], [1.0, 1.0]]), np.ones((2, 2)))
    with pytest.raises(ValueError, match=r"layer `dense1` must be numbers to be pruned. Received: NaN"):
        rsr_tf.prune_filters(model)
    np.testing.assert_array_equal(model.get_layer("dense0").kernel, [[1, 2], [3, 4]])


@pytest.mark.parametrize("function", [rsr_tf.prune_filters, rsr_tf.rebuild])
def test_subclassed_model_is_refused(function):
    class Own(keras.Model):
        pass

    with pytest.raises(ValueError, match=r"must be a built functional or Sequential Keras model. Received: Own"):
        function(Own())
