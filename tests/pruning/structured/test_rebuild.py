"""The smaller model computes the same function, on hand-made and on the usual networks."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import compiled, silence, tiny_network
from pruning_networks import L, Reversed, chain, conv, filters_of, functional, head, images_for, randomize, shrunk

import rsr_tf
from rsr_tf.layers import prunable_kernels


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


def test_network_with_an_excluded_layer_is_rebuilt():
    """An excluded layer reads what is left of the layer before it."""
    small = shrunk(functional((8, 8, 2), lambda x: head(conv(8, "two")(conv(6, "one")(x)))), exclude=["two"])
    assert filters_of(small) == {"one": 3, "two": 8, "head": 3}


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


class Inner(L.Layer):
    """A layer of a user around another one."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = L.Conv2D(4, 1)

    def build(self, input_shape):
        self.inner.build(input_shape)

    def call(self, x):
        return self.inner(x)


def test_frozen_layer_in_a_layer_of_the_user_stays_frozen():
    model = functional((8, 8, 2), lambda x: head(Inner(name="own")(conv(6, "two")(conv(6, "one")(x)))))
    model.get_layer("own").inner.trainable = False
    small = shrunk(model)
    assert filters_of(small)["one"] == 3
    assert not small.get_layer("own").inner.trainable


def test_layers_that_began_as_arrays_are_rebuilt():
    """Arrays of the old shape in their initializers do not fit fewer filters."""
    kernel, ones = (keras.initializers.Constant(array) for array in (np.ones((3, 3, 2, 6)), np.ones(6)))
    filters = L.Conv2D(6, 3, kernel_initializer=kernel, bias_initializer=keras.initializers.Constant(2), name="one")
    small = shrunk(functional((8, 8, 2), lambda x: head(L.BatchNormalization(gamma_initializer=ones)(filters(x)))))
    assert filters_of(small) == {"one": 3, "head": 3}
    assert small.get_layer("one").bias_initializer.value == 2


def test_sequential_model_is_taken():
    model = keras.Sequential([keras.Input((8, 8, 2)), conv(8, "one"), L.Flatten(), L.Dense(3, name="head")])
    assert filters_of(shrunk(model)) == {"one": 4, "head": 3}


@pytest.mark.parametrize("barrier", [Reversed, lambda: L.Lambda(lambda x: x[..., ::-1])])
def test_network_with_an_unknown_layer_is_rebuilt(barrier):
    small = shrunk(functional((8, 8, 2), lambda x: head(barrier()(conv(8, "two")(conv(6, "one")(x))))))
    assert filters_of(small) == {"one": 3, "two": 8, "head": 3}


# The usual networks


def mobile_net():
    return keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, weights=None, classes=10, classifier_activation=None)


@pytest.mark.slow
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


@pytest.mark.slow
def test_residual_network_shrinks_unevenly_too():
    small = shrunk(rsr_tf.models.resnet18(width=0.0625), share=0.4, scope="global")
    left = filters_of(small)
    assert len({left[f"stage3_unit{unit}_conv1/convolution"] for unit in (1, 2)}) == 2


# Noise


@pytest.mark.slow
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


# Masks, training and saving of the smaller network


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


@pytest.mark.slow
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


@pytest.mark.parametrize("function", [rsr_tf.prune_filters, rsr_tf.rebuild])
def test_subclassed_model_is_refused(function):
    class Own(keras.Model):
        pass

    with pytest.raises(ValueError, match=r"must be a built functional or Sequential Keras model. Received: Own"):
        function(Own())
