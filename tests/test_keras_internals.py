"""Every function on private names of Keras, with small networks and expectations by hand."""

import keras
import numpy as np
import pytest

from rsr_tf.keras_internals import (
    causal_padding,
    computing_in_float32,
    copy_operation,
    forget_seed_generator,
    given_name,
    input_name,
    lambda_arguments,
    nested_layers,
    nodes_in_order,
    optimizer_slots,
    own_variables,
    unlocked,
    weight_averages,
)


class Pair(keras.layers.Layer):
    """A layer with a weight and a statistic, and two layers inside."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first = keras.layers.Dense(2, name="first")
        self.second = keras.layers.Dense(3, name="second")

    def build(self, input_shape):
        self.statistic = self.add_weight(name="statistic", shape=(), trainable=False)
        self.weight = self.add_weight(name="weight", shape=())
        self.first.build(input_shape)
        self.second.build((None, 2))

    def call(self, inputs):
        return self.second(self.first(inputs)) * self.weight + self.statistic


def names(layers):
    return [layer.name for layer in layers]


@pytest.fixture
def pair():
    layer = Pair(name="pair")
    layer.build((None, 4))
    return layer


def test_nested_layers_of_a_layer_follow_it(pair):
    assert names(nested_layers(pair)) == ["pair", "first", "second"]
    assert names(nested_layers(pair, include_self=False)) == ["first", "second"]


def test_nested_layers_of_a_model_are_its_layers_and_what_is_inside(pair):
    inner = keras.Sequential([keras.Input((3,)), keras.layers.ReLU(name="relu")], name="inner")
    inputs = keras.Input((4,), name="inputs")
    model = keras.Model(inputs, inner(pair(inputs)), name="model")
    assert names(nested_layers(model, include_self=False, recursive=False)) == ["inputs", "pair", "inner"]
    everything = names(nested_layers(model))
    assert everything[0] == "model"
    assert set(everything) >= {"inputs", "pair", "first", "second", "inner", "relu"}


def test_own_variables_are_those_of_the_layer_itself(pair):
    assert [variable.name for variable in own_variables(pair)] == ["weight", "statistic"]
    assert own_variables(keras.Sequential([pair])) == []
    frozen = keras.layers.Dense(2)
    frozen.build((None, 3))
    frozen.trainable = False
    assert {id(variable) for variable in own_variables(frozen)} == {id(frozen.kernel), id(frozen.bias)}


def test_unlocked_layer_takes_a_variable_after_its_build():
    layer = keras.layers.Dense(2)
    layer.build((None, 3))
    with unlocked(layer):
        added = layer.add_weight(name="added", shape=(5,))
    assert any(variable is added for variable in layer.trainable_variables)


def test_layer_is_locked_before_and_after_the_block():
    layer = keras.layers.Dense(2)
    layer.build((None, 3))
    with pytest.raises(ValueError, match="cannot add new elements of state"):
        layer.add_weight(name="before", shape=())
    with pytest.raises(RuntimeError, match="inside"), unlocked(layer):
        raise RuntimeError("inside the block")
    with pytest.raises(ValueError, match="cannot add new elements of state"):
        layer.add_weight(name="after", shape=())


def test_forgotten_seed_generator_is_no_variable_of_the_layer_any_more():
    layer = keras.layers.Dropout(0.5)
    assert len(layer.variables) == 1
    forget_seed_generator(layer, None)
    assert len(layer.variables) == 1
    forget_seed_generator(layer, layer.seed_generator)
    assert layer.variables == []


def test_nodes_come_after_those_they_depend_on():
    inputs = keras.Input((4,))
    shared = keras.layers.Dense(4, name="shared")
    short = shared(inputs)
    long = keras.layers.ReLU(name="relu")(shared(short))
    outputs = keras.layers.Dense(2, name="last")(keras.layers.Add(name="add")([short, long]))
    nodes = nodes_in_order([inputs], [outputs])
    assert [node.operation.name for node in nodes] == ["shared", "shared", "relu", "add", "last"]
    known = {id(inputs)}
    for node in nodes:
        assert {id(tensor) for tensor in node.input_tensors} <= known
        known |= {id(tensor) for tensor in node.outputs}
    assert nodes[3].arguments.args == ([short, long],)
    assert nodes[-1].outputs == [outputs]


def test_input_name_is_that_of_the_input_layer():
    image, vector = keras.Input((4,), name="image"), keras.Input((4,), name="vector")
    model = keras.Model([image, vector], keras.layers.Add()([image, vector]))
    assert [input_name(tensor) for tensor in model.inputs] == ["image", "vector"]


@pytest.mark.parametrize(("kernel_size", "dilation", "padding"), [(1, 1, 0), (3, 1, 2), (3, 2, 4), (5, 3, 12)])
def test_causal_padding_comes_before_the_first_step(kernel_size, dilation, padding):
    layer = keras.layers.Conv1D(2, kernel_size, dilation_rate=dilation, padding="causal")
    np.testing.assert_array_equal(causal_padding(layer), [[0, 0], [padding, 0], [0, 0]])
    first = keras.layers.Conv1D(2, kernel_size, dilation_rate=dilation, padding="causal", data_format="channels_first")
    np.testing.assert_array_equal(causal_padding(first), [[0, 0], [0, 0], [padding, 0]])


def weights():
    """Return two weights of one shape, to notice a wrong index, and one of another."""
    return [keras.Variable(np.ones(shape), name=name) for name, shape in (("a", (2, 3)), ("b", (2, 3)), ("c", (4,)))]


@pytest.mark.parametrize(
    ("optimizer", "slots"),
    [
        (lambda: keras.optimizers.SGD(0.1), 0),
        (lambda: keras.optimizers.SGD(0.1, momentum=0.9), 1),
        (lambda: keras.optimizers.Adam(0.1), 2),
        (lambda: keras.optimizers.Adam(0.1, amsgrad=True), 3),
        (lambda: keras.optimizers.RMSprop(0.1, momentum=0.9, centered=True), 3),
        (lambda: keras.optimizers.Adagrad(0.1), 0),
        (lambda: keras.optimizers.Ftrl(0.1), 1),
        (lambda: keras.optimizers.SGD(0.1, momentum=0.9, use_ema=True), 2),
        (lambda: keras.optimizers.SGD(0.1, momentum=0.9, gradient_accumulation_steps=2), 2),
    ],
)
def test_optimizer_has_its_number_of_slots_for_each_weight(optimizer, slots):
    optimizer, variables = optimizer(), weights()
    optimizer.build(variables)
    found = [optimizer_slots(optimizer, variable) for variable in variables]
    assert [len(each) for each in found] == [slots] * 3
    assert all(slot.shape == variable.shape for each, variable in zip(found, variables, strict=True) for slot in each)
    assert len({id(slot) for each in found for slot in each}) == 3 * slots


def test_slot_of_a_weight_is_the_one_that_its_gradient_moves():
    optimizer, (a, b, c) = keras.optimizers.SGD(0.1, momentum=0.5), weights()
    optimizer.build([a, b, c])
    optimizer.apply([keras.ops.zeros((2, 3)), keras.ops.ones((2, 3)), keras.ops.zeros((4,))])
    (of_a,), (of_b,) = optimizer_slots(optimizer, a), optimizer_slots(optimizer, b)
    np.testing.assert_array_equal(of_a, np.zeros((2, 3)))
    np.testing.assert_allclose(of_b, np.full((2, 3), -0.1), rtol=1e-6)


def test_unbuilt_optimizer_has_no_slots():
    assert optimizer_slots(keras.optimizers.Adam(), weights()[0]) == []


def test_frozen_weight_has_no_slots():
    layer, frozen = (keras.layers.Dense(2) for _ in range(2))
    model = keras.Sequential([keras.Input((2,)), frozen, layer])
    frozen.trainable = False
    optimizer = keras.optimizers.Adam()
    optimizer.build(model.trainable_variables)
    assert optimizer_slots(optimizer, frozen.kernel) == []
    assert len(optimizer_slots(optimizer, layer.kernel)) == 2


def test_half_precision_is_float32_within_the_block_and_back_after_it_and_after_an_error():
    policies = {"half": "float16", "mixed": "mixed_bfloat16", "single": "float32", "double": "float64"}
    model = keras.Sequential(
        [keras.Input((3,))] + [keras.layers.Dense(3, dtype=dtype, name=name) for name, dtype in policies.items()]
    )

    def dtypes():
        return [(layer.compute_dtype, layer.variable_dtype) for layer in model.layers]

    before = dtypes()
    with computing_in_float32(model):
        assert dtypes() == [("float32", "float16"), ("float32", "float32"), ("float32", "float32"), ("float64",) * 2]
    assert dtypes() == before
    with pytest.raises(KeyError), computing_in_float32(model):
        raise KeyError
    assert dtypes() == before
    assert [layer.dtype_policy.name for layer in model.layers] == list(policies.values())


def test_copied_operation_is_of_another_graph():
    tensor = keras.ops.clip(keras.Input((2,)), np.float32(0), np.float32(1))
    old = tensor._keras_history.operation
    new = copy_operation(old)
    other = keras.Input((2,))
    model = keras.Model(other, new(other))
    np.testing.assert_array_equal(model(np.array([[-1.0, 2.0]])), [[0, 1]])
    assert (len(old._inbound_nodes), len(new._inbound_nodes)) == (1, 1)


def test_lambda_has_the_arguments_that_it_was_made_with():
    arguments = {"function": lambda x, a: x + a, "output_shape": (3,), "mask": None, "arguments": {"a": 1}}
    assert lambda_arguments(keras.layers.Lambda(**arguments)) == arguments


def test_names_that_keras_makes_up_are_told_from_given_ones():
    named, unnamed = keras.Input((3,), name="image"), keras.Input((3,))
    layers = [keras.layers.Dense(2, name="logits"), keras.layers.Dense(2), keras.layers.Dense(2)]
    outputs = [layer(named) for layer in layers] + [keras.layers.LayerNormalization()(unnamed), named + unnamed]
    assert given_name(named) == "image"
    assert given_name(unnamed) is None
    assert [given_name(tensor) for tensor in outputs] == ["logits", None, None, None, None]


def test_weights_have_averages_only_with_ema_and_a_built_optimizer():
    weights = [keras.Variable(np.ones(2, "float32")), keras.Variable(np.zeros(3, "float32"))]
    optimizer = keras.optimizers.SGD(0.5, use_ema=True, ema_momentum=0.5)
    assert weight_averages(optimizer) == []
    optimizer.build(weights)
    optimizer.apply([np.ones(2, "float32"), np.ones(3, "float32")])
    pairs = weight_averages(keras.optimizers.LossScaleOptimizer(optimizer))
    assert [weight for weight, _ in pairs] == weights
    np.testing.assert_allclose(pairs[0][1], [0.5, 0.5])  # the weights after the first step
    plain = keras.optimizers.SGD(0.5)
    plain.build(weights)
    assert weight_averages(plain) == []


@pytest.mark.skipif(not hasattr(keras.optimizers, "MultiOptimizer"), reason="this Keras has no MultiOptimizer")
def test_optimizers_of_a_multi_optimizer_have_slots_and_averages():
    (a, b, c), sgd, adam = weights(), keras.optimizers.SGD(0.1, momentum=0.9, use_ema=True), keras.optimizers.Adam(0.1)
    optimizer = keras.optimizers.MultiOptimizer(lambda variable: adam if variable is b else sgd)
    assert (optimizer_slots(optimizer, a), weight_averages(optimizer)) == ([], [])
    optimizer.build([a, b, c])
    found = [optimizer_slots(optimizer, variable) for variable in (a, b, c)]
    assert [len(slots) for slots in found] == [2, 2, 2]
    assert {id(slot) for slot in found[1]} <= {id(variable) for variable in adam.variables}
    assert [weight for weight, _ in weight_averages(optimizer)] == [a, c]
