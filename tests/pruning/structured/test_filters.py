"""Selection and removal of whole filters, on hand-made networks."""

import keras
import numpy as np
import pytest
from helpers import tiny_network
from pruning_networks import (
    L,
    Reversed,
    chain,
    conv,
    depthwise,
    filters_of,
    functional,
    head,
    randomize,
    residual,
    shrunk,
)

import rsr_tf
from rsr_tf.layers import prunable_kernels
from rsr_tf.layers.noise import noise_std


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


def test_table_prints_layers_total_and_barriers():
    model = functional((8, 8, 2), lambda x: head(Reversed(name="turn")(conv(8, "two")(conv(6, "one")(x)))))
    lines = str(rsr_tf.prune_filters(model)).splitlines()
    assert lines[1].split() == ["one", "6", "3", "3"]
    assert lines[-2].split() == ["total", "17", "3", "14"]
    assert lines[-1] == "filters kept because of: turn"


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


# Mistakes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"share": 1.5}, r"`share` must be in \[0, 1\]. Received: share=1.5"),
        ({"share": float("nan")}, r"`share` must be in \[0, 1\]. Received: share=nan"),
        ({"scope": "block"}, r"`scope` must be one of \('global', 'layer'\). Received: scope='block'"),
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
