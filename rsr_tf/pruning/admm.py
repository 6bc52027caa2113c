"""Pruning by ADMM (Zhang et al., ECCV 2018), which moves the weights towards sparse ones during training.

Together with adversarial training it is the method of Ye et al., ICCV 2019 (arXiv:1903.12561). Each kernel W has a
sparse copy Z and a scaled dual variable U of its shape.
"""

import logging
import math
import numbers

import keras
import numpy as np

from rsr_tf.layers import prunable_kernels
from rsr_tf.layers.noisy_layer import MaskedRegularizer
from rsr_tf.pruning.callback import SparsityLogger
from rsr_tf.pruning.magnitude import check_target, select_kernels

log = logging.getLogger(__name__)


def project(weights, sparsity):
    """Return the nearest array with a share of zeros: P of ADMM, which keeps the largest magnitudes.

    The number of zeros is `round(sparsity * size)`, as in `rsr_tf.prune`, and at least one weight is kept. Of equal
    magnitudes the first in the array are kept, so the number is exact, unlike in `rsr_tf.prune`.

    Args:
        weights: float array of any shape.
        sparsity: float in [0, 1], share of weights to be zero.

    Returns:
        A new array of the same shape and dtype.

    Example:
        >>> from rsr_tf.pruning.admm import project
        >>> project(np.array([0.9, -0.5, 0.1, -0.2]), 0.5)
        array([ 0.9, -0.5,  0. ,  0. ])
    """
    kept = max(1, weights.size - round(sparsity * weights.size))
    largest = np.argsort(-np.abs(weights), axis=None, kind="stable")[:kept]
    nearest = np.zeros_like(weights)
    nearest.flat[largest] = weights.flat[largest]
    return nearest


def update_dual(weights, dual, sparsity):
    """Return the sparse copy and the dual variable after one update: `Z = P(W + U)`, then `U + W - Z`.

    Args:
        weights: W, float array of any shape.
        dual: U before the update, array of the same shape.
        sparsity: as for `project`.

    Returns:
        `(Z, U)`, two arrays of the same shape.

    Example:
        >>> from rsr_tf.pruning.admm import update_dual
        >>> sparse, dual = update_dual(np.array([0.9, -0.4, 0.05, -0.35]), np.array([0, 0, 0.08, -0.3]), 0.5)
        >>> sparse, dual  # the dual variable moves the support
        (array([ 0.9 ,  0.  ,  0.  , -0.65]), array([ 0.  , -0.4 ,  0.13,  0.  ]))
    """
    sparse = project(weights + dual, sparsity)
    return sparse, dual + weights - sparse


class ADMMPruning(SparsityLogger):
    """Callback that makes weights nearly sparse in `fit` by ADMM (Ye et al., ICCV 2019), for `rsr_tf.prune` after it.

        loss + sum over kernels of rho / 2 * ||W - Z + U||^2

    It starts with `Z = P(W)` and `U = 0`. At the start of every epoch that `frequency` divides, except epoch 0, `rho`
    is multiplied by `rho_factor`, then `Z = P(W + U)`, then `U = U + W - Z`. P keeps the largest magnitudes of each
    layer, see `project`. The weights are dense at the end: prune them by `rsr_tf.prune(model, sparsity=...,
    scope="layer", exclude=["last"])`, then train further.

    During `fit` the term is a part of `model.losses` of any functional or Sequential model, beside the regularizers of
    its layers; the metric `lasso` of `RSRModel` includes it. The logs of an epoch have `sparsity`, and
    `admm_distance`, which is `||W - Z|| / ||W||` over all kernels and falls towards 0 where `rho` is large enough; list
    this callback before those that use the logs.

    Z, U, rho and the number of updates are saved in every checkpoint of the model, so a resumed run equals an
    uninterrupted one. A checkpoint can be loaded without them, too. Each `fit` starts anew, and leaves the model as it
    found it except for its weights; after a `fit` that an error has ended, call `detach`. To restore a checkpoint
    before `fit`, call `set_model(model)` first.

    Args:
        sparsity: float in [0, 1], share of the weights of each layer that are zero in Z.
        frequency: positive integer, number of epochs from one update to the next. Defaults to 20.
        rho: non-negative number, weight of the term before the first update. Defaults to 1e-3.
        rho_factor: positive number that multiplies `rho` at each update. Defaults to 1.3.
        rescale_dual: bool, whether U is divided by `rho_factor` when `rho` is multiplied by it. Scaled ADMM needs this
            (Boyd et al. 2011, Section 3.4.1), but the authors' code does not do it. Defaults to `False`.
        exclude: as for `rsr_tf.prune`. Defaults to `("last",)`.

    Raises:
        ValueError: for a `sparsity` outside [0, 1], a `frequency` that is not a positive integer, a negative `rho`, or
            a `rho_factor` that is not positive; in `fit`, for a model or an `exclude` that `rsr_tf.prune` does not
            take.

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(10), keras.layers.Dense(5)])
        >>> model.compile("sgd", "mse")
        >>> callback = rsr_tf.pruning.ADMMPruning(0.8, frequency=1)
        >>> history = model.fit(np.ones((16, 8)), np.ones((16, 5)), epochs=3, callbacks=[callback], verbose=0)
        >>> int(callback.state.updates), round(float(callback.state.rho), 6)  # 0.001 * 1.3 ** 2
        (2, 0.00169)
        >>> gammas = rsr_tf.prune(model, sparsity=0.8, scope="layer", exclude=["last"])
        >>> [row.sparsity for row in rsr_tf.sparsity_table(model)]
        [0.8, 0.0]
    """

    def __init__(self, sparsity, *, frequency=20, rho=1e-3, rho_factor=1.3, rescale_dual=False, exclude=("last",)):
        super().__init__()
        check_target(sparsity, None, "layer")
        if not (isinstance(frequency, numbers.Integral) and frequency >= 1):
            raise ValueError(f"`frequency` must be a positive integer. Received: frequency={frequency!r}")
        if not 0 <= rho < math.inf:
            raise ValueError(f"`rho` must not be negative. Received: rho={rho}")
        if not 0 < rho_factor < math.inf:
            raise ValueError(f"`rho_factor` must be positive. Received: rho_factor={rho_factor}")
        self.sparsity = float(sparsity)
        self.frequency = int(frequency)
        self.rho = float(rho)
        self.rho_factor = float(rho_factor)
        self.rescale_dual = bool(rescale_dual)
        self.exclude = exclude
        self.state = None
        self._is_prepared = False

    def set_model(self, model):
        """Add the term to a model; at the start of `fit`, or before it to restore a checkpoint of the state."""
        was_prepared = self._is_prepared and model is self.model
        super().set_model(model)
        if was_prepared:
            return
        self.kernels = list(select_kernels(model, self.exclude).values())
        self.detach()
        with model.distribute_strategy.scope():
            self.state = ADMMState([found.kernel.shape for found in self.kernels], self.rho)
        for found, sparse, dual in zip(self.kernels, self.state.sparse, self.state.dual, strict=True):
            sparse.assign(project(_value(found), self.sparsity))
            found.kernel.regularizer = _Penalty(sparse, dual, self.state.rho, found.kernel.regularizer)
        # without Keras' tracking: saved with the model, but neither a layer in its config nor one of its weights
        object.__setattr__(model, "admm", self.state)
        self._is_prepared = True

    def on_train_begin(self, logs=None):
        self._is_prepared = False

    def on_epoch_begin(self, epoch, logs=None):
        # the second condition is for an epoch that is resumed in its middle
        if epoch % self.frequency == 0 and _array(self.state.updates) < epoch // self.frequency:
            self._update()
            log.info("epoch %d: ADMM update %d, rho %.3g", epoch, *map(_array, (self.state.updates, self.state.rho)))

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)
        logs["admm_distance"] = self.distance()

    def on_train_end(self, logs=None):
        self.detach()

    def distance(self):
        """Compute `||W - Z|| / ||W||` over all kernels, a float."""
        values = [_value(found) for found in self.kernels]
        apart = sum(
            np.sum(np.square(value - _array(sparse))) for value, sparse in zip(values, self.state.sparse, strict=True)
        )
        return math.sqrt(apart / max(sum(np.sum(np.square(value)) for value in values), keras.config.epsilon()))

    def detach(self):
        """Remove the term and the state from the model; `fit` does this at its end."""
        for found in prunable_kernels(self.model).values():
            found.kernel.regularizer = _without_penalty(found.kernel.regularizer)
        if hasattr(self.model, "admm"):
            object.__delattr__(self.model, "admm")
        self.model.train_function = self.model.test_function = None  # they have been traced with other losses
        self._is_prepared = False

    def _update(self):
        state = self.state
        state.rho.assign(state.rho * self.rho_factor)
        scale = np.float32(1 / self.rho_factor if self.rescale_dual else 1)
        for found, sparse, dual in zip(self.kernels, state.sparse, state.dual, strict=True):
            earlier = scale * _array(dual)
            for variable, value in zip((sparse, dual), update_dual(_value(found), earlier, self.sparsity), strict=True):
                variable.assign(value)
        state.updates.assign_add(1)


class ADMMState(keras.layers.Layer):
    """Variables of ADMM for several kernels, which are saved and loaded like those of a layer.

    Args:
        shapes: list of the kernels' shapes.
        rho: non-negative number, initial weight of the term.

    Attributes:
        sparse, dual: lists of float32 variables of these shapes, Z and U, all zero.
        rho: float32 scalar variable.
        updates: int64 scalar variable, number of updates done.
    """

    def __init__(self, shapes, rho):
        super().__init__(name="admm", trainable=False, dtype="float32")
        self.sparse = [self._variable(shape, "zeros") for shape in shapes]
        self.dual = [self._variable(shape, "zeros") for shape in shapes]
        self.rho = self._variable((), keras.initializers.Constant(rho))
        self.updates = self._variable((), "zeros", "int64")
        self.built = True

    def _variable(self, shape, initializer, dtype="float32"):
        return self.add_weight(shape=shape, initializer=initializer, dtype=dtype, trainable=False, autocast=False)


class _Penalty(keras.regularizers.Regularizer):
    """Regularizer of one kernel, `rho / 2 * ||W - Z + U||^2`, after the one that the kernel had before, if any."""

    def __init__(self, sparse, dual, rho, earlier):
        self.sparse = sparse
        self.dual = dual
        self.rho = rho
        self.earlier = earlier

    def __call__(self, kernel):
        difference = keras.ops.cast(kernel, "float32") - self.sparse + self.dual
        penalty = 0.5 * self.rho * keras.ops.sum(keras.ops.square(difference))
        return penalty if self.earlier is None else keras.ops.cast(self.earlier(kernel), "float32") + penalty


def _without_penalty(regularizer):
    """Return a regularizer without the term of ADMM, also where a layer has got its mask after it."""
    if isinstance(regularizer, _Penalty):
        return regularizer.earlier
    if isinstance(regularizer, MaskedRegularizer):
        regularizer.original = _without_penalty(regularizer.original)
        return None if regularizer.original is None else regularizer
    return regularizer


def _array(variable):
    return keras.ops.convert_to_numpy(variable)


def _value(found):
    return found.value().astype("float32", copy=False)
