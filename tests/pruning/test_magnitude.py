import keras
import numpy as np
import pytest
from helpers import tiny_network
from pruning_networks import masks, network_of, stock_chain

import rsr_tf
from rsr_tf.layers import noisy_layers
from rsr_tf.pruning.magnitude import select_kernels

HAND_MADE = np.array([[0.5, -0.1, 0.0], [-0.3, 0.2, 0.4]])


def test_prune_by_gamma_against_hand_made_kernels():
    model = network_of(HAND_MADE, np.array([[0.15, 0.25], [1.0, -0.05], [0.21, 0.0]]))
    rsr_tf.prune(model, gamma=0.2)
    first, second = (np.array(layer.kernel) for layer in noisy_layers(model)[::1])
    kernels = {kernel.shape: kernel for kernel in (first, second)}
    np.testing.assert_allclose(kernels[2, 3], [[0.5, 0, 0], [-0.3, 0.2, 0.4]], atol=1e-7)
    np.testing.assert_allclose(kernels[3, 2], [[0, 0.25], [1.0, 0], [0.21, 0]], atol=1e-7)
    for layer in noisy_layers(model):
        np.testing.assert_array_equal(layer.mask, np.array(layer.kernel) != 0)


def test_global_scope_compares_all_layers_and_layer_scope_each():
    small, large = np.full((2, 2), 0.1) * [[1, 2], [3, 4]], np.full((2, 2), 1.0) * [[1, 2], [3, 4]]
    model = network_of(small, large)
    rsr_tf.prune(model, sparsity=0.5)
    assert sorted(int(mask.sum()) for mask in masks(model)) == [1, 4]  # the small layer keeps its one weight
    model = network_of(small, large)
    gammas = rsr_tf.prune(model, sparsity=0.5, scope="layer")
    assert [int(mask.sum()) for mask in masks(model)] == [2, 2]
    assert sorted(gammas.values()) == pytest.approx([0.3, 3.0])


@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.6, 0.9])
def test_wanted_sparsity_is_reached(sparsity):
    model = rsr_tf.models.resnet20()
    rsr_tf.prune(model, sparsity=sparsity)
    assert rsr_tf.sparsity(model) == pytest.approx(sparsity, abs=1e-5)


@pytest.mark.parametrize("options", [{"sparsity": 1.0}, {"gamma": 1e9}])
def test_everything_pruned_keeps_one_weight_a_layer(options):
    model = rsr_tf.models.small_cnn()
    rsr_tf.prune(model, **options)
    assert [int(mask.sum()) for mask in masks(model)] == [1, 1, 1, 1]


def test_equal_weights_survive_a_wanted_sparsity_together():
    model = network_of(np.full((4, 5), 0.5))
    rsr_tf.prune(model, sparsity=0.5)
    assert rsr_tf.sparsity(model) == 0


def test_pruning_again_only_adds_zeros():
    model = network_of(np.random.default_rng(0).normal(size=(20, 20)))
    rsr_tf.prune(model, sparsity=0.6)
    before = masks(model)[0]
    rsr_tf.prune(model, sparsity=0.3)
    np.testing.assert_array_equal(masks(model)[0], before)
    rsr_tf.prune(model, sparsity=0.8)
    assert rsr_tf.sparsity(model) == pytest.approx(0.8)
    assert not np.any(masks(model)[0] & ~before)


def test_nested_models_with_layers_of_one_name_are_pruned_each(images):
    def branch(scale):
        inputs = keras.Input((4,))
        layer = rsr_tf.NoisyDense(4, name="same")
        model = keras.Model(inputs, layer(inputs), name=f"branch{scale}")
        layer.kernel.assign(scale * np.arange(1.0, 17).reshape(4, 4))
        return model

    inputs = keras.Input((4,))
    model = keras.Model(inputs, branch(100)(branch(1)(inputs)))
    before = [np.array(layer.kernel) for layer in noisy_layers(model)]
    gammas = rsr_tf.prune(model, sparsity=0.0)
    for layer, kernel in zip(noisy_layers(model), before, strict=True):
        np.testing.assert_array_equal(layer.kernel, kernel)
    assert sorted(gammas) == ["same", "same#2"]
    assert rsr_tf.sparsity_table(model).weights == 32


# Which layers, and how much of each

CHAIN = [np.full((2, 2), scale) * [[1.0, 2.0], [3.0, 4.0]] for scale in (1.0, 10.0, 100.0)]


def alive(model):
    """Number of surviving weights of each layer."""
    return [int(mask.sum()) for mask in masks(model)]


@pytest.mark.parametrize(
    ("exclude", "expected"),
    [
        (["first"], [4, 1, 4]),  # four of the eight weights of the others are to go; the last of a layer stays
        (["last"], [1, 4, 4]),
        (["first", "last"], [4, 2, 4]),
        (["dense1"], [1, 4, 4]),
        (["*[02]"], [4, 2, 4]),
    ],
)
def test_excluded_layers_are_left_and_do_not_count(exclude, expected):
    model = network_of(*CHAIN)
    gammas = rsr_tf.prune(model, sparsity=0.5, exclude=exclude)
    assert alive(model) == expected
    assert len(gammas) == (1 if expected == [4, 2, 4] else 2)


@pytest.mark.parametrize("kind", ["Dense", "NoisyDense"])
def test_a_class_of_layers_is_excluded_be_it_noisy_or_not(kind, noisy_model):
    stock = rsr_tf.strip(noisy_model)
    rsr_tf.prune(noisy_model, gamma=9.0, exclude=[kind])
    assert [int(mask.sum()) for mask in masks(noisy_model)] == [1, 1, 360]
    if kind == "Dense":
        rsr_tf.prune(stock, gamma=9.0, exclude=[kind])
        assert [int(mask.sum()) for mask in masks(stock)] == [1, 1, 360]


def test_block_is_excluded_by_its_name():
    model = rsr_tf.models.small_cnn()
    rsr_tf.prune(model, gamma=9.0, exclude=["conv2", "logits"])
    assert alive(model) == [1, 9216, 1, 640]


def test_first_and_last_are_those_of_the_network_nested_models_included():
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, name="a"), keras.layers.Dense(4, name="b")])
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(2, name="c")(inner(inputs)))
    assert [kernel.layer.name for kernel in select_kernels(model, ["first"]).values()] == ["b", "c"]
    assert [kernel.layer.name for kernel in select_kernels(model, ["last"]).values()] == ["a", "b"]


@pytest.mark.parametrize(
    ("sparsity", "cap", "expected"),
    [
        (0.5, None, [1, 2, 4]),  # the first layer keeps its last weight
        (0.5, 1.0, [1, 2, 4]),
        (0.5, 0.5, [2, 2, 2]),  # the others make up for the first, as far as their own caps allow
        (0.25, 0.5, [2, 3, 4]),
        (0.5, 0.75, [1, 1, 4]),
        (0.9, 0.5, [2, 2, 2]),
        (0.5, 0.0, [4, 4, 4]),
        (0.5, 0.49, [3, 3, 3]),  # rounded down
    ],
)
def test_no_layer_goes_beyond_its_cap_and_the_others_make_up_for_it(sparsity, cap, expected):
    model = network_of(*CHAIN)
    rsr_tf.prune(model, sparsity=sparsity, max_layer_sparsity=cap)
    assert alive(model) == expected


@pytest.mark.parametrize("options", [{"gamma": 1e9}, {"sparsity": 0.9, "scope": "layer"}])
def test_cap_holds_for_gamma_and_layer_by_layer(options):
    model = network_of(*CHAIN)
    rsr_tf.prune(model, max_layer_sparsity=0.5, **options)
    assert alive(model) == [2, 2, 2]
    np.testing.assert_array_equal(masks(model)[0], [[False, False], [True, True]])  # the largest survive


def test_ties_at_the_cap_survive_together():
    model = network_of(np.full((2, 2), 0.5), np.array([[1.0, 2.0], [3.0, 4.0]]))
    rsr_tf.prune(model, sparsity=0.5, max_layer_sparsity=0.5)
    assert alive(model) == [4, 2]


# Extremes


@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize(("sparsity", "expected"), [(0.0, 4000), (0.999, 4), (1.0, 1)])
def test_extreme_sparsities_are_exact_and_leave_a_weight(scope, sparsity, expected):
    model = stock_chain(np.random.default_rng(0).permutation(np.arange(1.0, 4001)).reshape(40, 100))
    rsr_tf.prune(model, sparsity=sparsity, scope=scope)
    assert alive(model) == [expected]
    kernel = np.array(noisy_layers(model)[0].kernel)
    np.testing.assert_array_equal(np.sort(kernel[kernel != 0]), np.arange(4001.0 - expected, 4001))


def test_layer_of_zeros_keeps_a_weight_that_is_zero():
    model = stock_chain(np.zeros((2, 3)), np.ones((3, 2)))
    rsr_tf.prune(model, sparsity=0.5)
    assert alive(model) == [1, 6]
    assert rsr_tf.sparsity(model) == 0.5


def test_layer_with_one_filter_is_pruned_as_any_other():
    model = keras.Sequential([keras.Input((5, 5, 2)), keras.layers.Conv2D(1, 2, use_bias=False)])
    model.layers[0].kernel.assign(np.arange(1.0, 9).reshape(2, 2, 2, 1))
    rsr_tf.prune(model, sparsity=0.5)
    np.testing.assert_array_equal(np.ravel(model.layers[0].kernel), [0, 0, 0, 0, 5, 6, 7, 8])
    np.testing.assert_allclose(model(np.ones((1, 5, 5, 2))), np.full((1, 4, 4, 1), 26.0))


# Mistakes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "exactly one of `sparsity` and `gamma`. Received: sparsity=None, gamma=None"),
        ({"sparsity": 0.5, "gamma": 0.1}, "exactly one of `sparsity` and `gamma`. Received: sparsity=0.5, gamma=0.1"),
        ({"sparsity": 1.5}, r"`sparsity` must be in \[0, 1\]. Received: sparsity=1.5"),
        ({"gamma": -1}, "`gamma` must not be negative. Received: gamma=-1"),
        ({"sparsity": 0.5, "scope": "block"}, "`scope` must be one of .* Received: scope='block'"),
    ],
)
@pytest.mark.parametrize(
    "function", [lambda **options: rsr_tf.prune(tiny_network(), **options), rsr_tf.PruningCallback]
)
def test_impossible_targets_are_refused(function, options, message):
    with pytest.raises(ValueError, match=message):
        function(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sparsity": "0.5"}, "`sparsity` must be in .* Received: sparsity='0.5'"),
        ({"gamma": "small"}, "`gamma` must not be negative. Received: gamma='small'"),
        ({"sparsity": 0.5, "exclude": None}, "`exclude` must be a list of strings. Received: exclude=None"),
        ({"sparsity": 0.5, "exclude": [keras.layers.Dense]}, "`exclude` must be a list of strings"),
    ],
)
def test_what_is_no_number_and_no_name_is_refused(noisy_model, options, message):
    with pytest.raises(ValueError, match=message):
        rsr_tf.prune(noisy_model, **options)


def test_path_in_place_of_a_network_is_refused():
    with pytest.raises(ValueError, match=r"must be a built functional or Sequential Keras model. Received: str"):
        rsr_tf.prune("model.keras", sparsity=0.5)


def test_network_with_nothing_to_prune_is_refused():
    model = keras.Sequential([keras.Input((3,)), keras.layers.ReLU()], name="empty")
    with pytest.raises(ValueError, match=r"`model` must have conv or dense layers to prune. Received: model='empty'"):
        rsr_tf.prune(model, sparsity=0.5)


def test_subclassed_network_is_refused():
    class Own(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(ValueError, match=r"must be a built functional or Sequential Keras model. Received: Own"):
        rsr_tf.prune(Own(), sparsity=0.5)


@pytest.mark.parametrize(
    ("exclude", "message"),
    [
        (["dense*"], r"`exclude` must not match every layer. Received: exclude=\['dense\*'\]"),
        (["convolution"], "`exclude` must name layers .* Received: 'convolution'; the layers are dense0, dense1"),
        ("first", "`exclude` must be a list of strings. Received: exclude='first'"),
    ],
)
def test_impossible_exclusions_are_refused_and_nothing_is_changed(exclude, message):
    model = stock_chain(HAND_MADE, HAND_MADE.T)
    with pytest.raises(ValueError, match=message):
        rsr_tf.prune(model, sparsity=0.5, exclude=exclude)
    assert {type(layer) for layer in model.layers} == {keras.layers.InputLayer, keras.layers.Dense}


def test_weight_that_is_no_number_is_refused_and_nothing_pruned():
    model = network_of(HAND_MADE, np.full((3, 2), np.nan))
    with pytest.raises(ValueError, match=r"layer `dense1` must be numbers to be pruned. Received: NaN"):
        rsr_tf.prune(model, gamma=0.3)
    assert all(mask.all() for mask in masks(model))
