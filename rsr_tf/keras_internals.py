"""Every use of private names of Keras. Tested with Keras 3.12.4 and 3.15.1.

Other modules must not use such names (there is a test for it), so a new version of Keras requires changes here only.
"""

import contextlib
import re

import keras
import tensorflow as tf
from keras.src.backend.common import global_state
from keras.src.trainers import compile_utils


def nested_layers(layer, *, include_self=True, recursive=True):
    """List the layers inside a layer, in the order of Keras.

    Args:
        layer: a Keras layer or model, or an operation of a functional model, which is no layer and holds none.
        include_self: bool, whether the list starts with the layer itself. Defaults to `True`.
        recursive: bool, whether to list all levels of nesting instead of one. Defaults to `True`.

    Returns:
        A list of layers. Layers that can be reached in two ways are listed twice.
    """
    if not isinstance(layer, keras.layers.Layer):
        return []
    return list(layer._flatten_layers(include_self=include_self, recursive=recursive))


def own_variables(layer):
    """List the variables of a layer, without those of the layers inside it; trainable ones first."""
    return layer._trainable_variables + layer._non_trainable_variables


@contextlib.contextmanager
def unlocked(layer):
    """Allow new variables in a built layer within the `with` block, as Keras does in `enable_lora`."""
    layer._tracker.unlock()
    try:
        yield
    finally:
        layer._tracker.lock()


def forget_seed_generator(layer, generator):
    """Remove a `keras.random.SeedGenerator`, or `None`, from what a layer saves and lists among its variables."""
    layer._tracker.untrack(generator)


@contextlib.contextmanager
def computing_in_float32(model):
    """Let a model in half precision compute in float32 within the `with` block, with the same variables and seeds.

    Traces made within the block keep the precision.

    Args:
        model: a built Keras model of any kind.
    """
    layers = [layer for layer in nested_layers(model) if layer.compute_dtype in ("float16", "bfloat16")]
    policies = {layer: layer._dtype_policy for layer in layers}
    try:
        for layer in layers:
            policy = keras.DTypePolicy("float32")
            policy._variable_dtype = layer.variable_dtype  # Keras then casts the variables for each call
            layer._dtype_policy = policy
        yield
    finally:
        for layer, policy in policies.items():
            layer._dtype_policy = policy


@contextlib.contextmanager
def deferred_variables():
    """Give new variables their memory at the end of the `with` block, and none if the block raises.

    Within the block a layer has its variables with their shapes, but no values.
    """
    with keras.StatelessScope():  # at its end, Keras makes the variables that were created in it
        try:
            yield
        except BaseException:
            global_state.set_global_attribute("uninitialized_variables", [])
            raise


def nodes_in_order(inputs, outputs):
    """List the calls of layers and operations between symbolic tensors in topological order.

    Args:
        inputs, outputs: lists of `keras.KerasTensor`.

    Returns:
        A list of nodes with the attributes `operation`, `arguments`, `input_tensors` and `outputs`, each after the
        nodes that it depends on. Inputs are not listed.
    """
    nodes = keras.Function(inputs, outputs)._nodes_by_depth
    return [node for depth in sorted(nodes, reverse=True) for node in nodes[depth] if not node.is_input]


def input_name(tensor):
    """Return the name of the input layer of a symbolic input tensor."""
    return tensor._keras_history.operation.name


def given_name(tensor):
    """Return the name of the layer that a symbolic tensor comes from, or `None` if Keras made the name up.

    Names that Keras makes up (`dense_3`) depend on what was created earlier in the process.
    """
    operation = tensor._keras_history.operation
    base = re.sub(r"(_\d+)?$", "", operation.name, count=1)
    return None if base.replace("_", "") == type(operation).__name__.lower() else operation.name


def copy_operation(operation):
    """Return a copy of an operation of `keras.ops`, to be called in another graph.

    Keras can rebuild one from its config only if it was made with plain Python values, not with NumPy's.
    """
    new = object.__new__(type(operation))
    vars(new).update(vars(operation), _inbound_nodes=[], _outbound_nodes=[])
    return new


def lambda_arguments(layer):
    """Return the arguments that a `Lambda` layer was made with, functions as they are, as a dict by name."""
    names = {"function": "function", "output_shape": "_output_shape", "mask": "mask", "arguments": "arguments"}
    return {name: getattr(layer, attribute) for name, attribute in names.items()}


def causal_padding(layer):
    """Return the padding of the inputs of a `Conv1D` with `padding="causal"`, in the format of `keras.ops.pad`."""
    return layer._compute_causal_padding()


def is_validation_of_fit(arguments):
    """Return whether `fit` calls `evaluate` with these keyword arguments."""
    return arguments.get("_use_cached_eval_dataset", False)


def exclude_from_weight_decay(optimizer, variables):
    """Exclude variables from weight decay, in addition to what is excluded; Keras' method of this name replaces that.

    Args:
        optimizer: a Keras optimizer, built or not; those inside a `LossScaleOptimizer` or `MultiOptimizer` are meant.
        variables: list of variables of a model.
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    for each in (optimizer, *getattr(optimizer, "optimizers", ())):
        excluded = getattr(each, "_exclude_from_weight_decay", set())
        each._exclude_from_weight_decay = {*excluded, *map(each._var_key, variables)}
        each._exclude_from_weight_decay_cache = {}


def optimizer_slots(optimizer, variable):
    """List the variables in which an optimizer stores state of one weight: momentum, averages, gradients.

    Args:
        optimizer: a Keras optimizer; of a `LossScaleOptimizer`, the inner one. A `MultiOptimizer` is taken with all
            optimizers in it.
        variable: the weight.

    Returns:
        A list of variables of the weight's shape; empty if the optimizer is not built or does not train the weight. The
        accumulators of Adagrad and Ftrl are omitted, because these optimizers divide by them.
    """
    if not optimizer.built:
        return []
    slots = [slot for part in getattr(optimizer, "optimizers", []) for slot in optimizer_slots(part, variable)]
    index = optimizer._trainable_variables_indices.get(optimizer._var_key(variable))
    if index is None:
        return slots
    count = len(optimizer._trainable_variables)
    lists = [
        entries
        for name, entries in vars(optimizer).items()
        if name != "_accumulators" and isinstance(entries, list) and len(entries) == count
    ]
    slots += [entries[index] for entries in lists if isinstance(entries[index], keras.Variable)]
    return [slot for slot in slots if slot is not variable and slot.shape == variable.shape]


def weight_averages(optimizer):
    """List the weights that an optimizer trains, each with its moving average, in pairs.

    Args:
        optimizer: a Keras optimizer; of a `LossScaleOptimizer`, the inner one is taken, of a `MultiOptimizer`, all.

    Returns:
        A list of pairs of variables; empty without `use_ema`, or if the optimizer is not built.
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    pairs = [pair for part in getattr(optimizer, "optimizers", []) for pair in weight_averages(part)]
    if not (getattr(optimizer, "use_ema", False) and optimizer.built):
        return pairs
    return pairs + list(zip(optimizer._trainable_variables, optimizer._model_variables_moving_average, strict=True))


CompiledMetrics = compile_utils.CompileMetrics
"""Class in which `compile` collects the metrics; Keras' callbacks look up names and directions in it."""


class ListedMetrics(compile_utils.MetricsList):
    """Several metrics as one, so that callbacks find their names and directions.

    Args:
        metrics: list of `keras.metrics.Metric`. Their values are better the lower they are.
    """

    def __init__(self, metrics):
        super().__init__(metrics)
        for metric in metrics:
            metric._direction = "down"

    def result(self):
        return self.get_result()


class ImagesOfMasks(keras.callbacks.TensorBoard):
    """Keras' `TensorBoard` whose `write_images` also takes boolean weights, as white and black pixels."""

    def _log_weight_as_image(self, weight, weight_name, epoch):
        shown = keras.ops.cast(weight, "float32") if weight.dtype == "bool" else weight
        super()._log_weight_as_image(shown, weight_name, epoch)


class BuiltFromOneReplica(keras.Model):
    """Keras model that learns the shapes of a batch from one replica, and can be trained by several processes.

    Keras takes the mean batch of all replicas, which fails if these have different numbers of images, and the mean of
    the results of several processes over their first axis, which scalars do not have (keras-team/keras#20585).
    """

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        strategy = self.distribute_strategy
        if iterator is not None and strategy.num_replicas_in_sync > 1:
            batch = next(next(batches) for _, _, batches in iterator)
            data_batch = tf.nest.map_structure(lambda value: strategy.experimental_local_results(value)[0], batch)
            iterator = None
        super()._maybe_symbolic_build(iterator, data_batch)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """Return the results of the metrics as a dict; of several processes, with one axis of length 1."""
        results = super().compute_metrics(x, y, y_pred, sample_weight)
        if not is_of_several_processes(tf.distribute.get_strategy()):
            return results
        return {name: tf.reshape(value, (1,)) for name, value in results.items()}


def is_of_several_processes(strategy):
    """Return whether a `tf.distribute.Strategy` spans several processes."""
    several = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
    return several and strategy.extended._in_multi_worker_mode()


def loss_object(loss):
    """Return the `keras.losses.Loss` that `compile` builds from its argument `loss`, for a model with one output.

    Args:
        loss: name, function, `keras.losses.Loss`, or a list or dict of one of them.

    Raises:
        ValueError: for a name whose meaning depends on the labels, or that Keras does not know.
    """
    (loss,) = keras.tree.flatten(loss)
    if loss in ("crossentropy", "ce"):
        raise ValueError(
            f"`loss` must be named in full, such as 'sparse_categorical_crossentropy'. Received: loss={loss!r}"
        )
    return compile_utils.get_loss(loss, None, None)


def output_activation(model):
    """Return the activation of the layer that makes the output of a functional model, or `None` if it has none."""
    return getattr(model.outputs[0]._keras_history.operation, "activation", None)


def logits_behind(outputs):
    """Return the logits of which a softmax or sigmoid made a tensor, as Keras' own losses do; else the tensor."""
    if hasattr(outputs, "_keras_logits"):
        return outputs._keras_logits
    operation = getattr(outputs, "op", None)  # an eager tensor has none
    return operation.inputs[0] if operation is not None and operation.type in ("Softmax", "Sigmoid") else outputs
