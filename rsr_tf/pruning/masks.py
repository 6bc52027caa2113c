"""Set pruned weights to zero for good: in the kernel, in its mask and in the state of the optimizer."""

from rsr_tf.keras_internals import optimizer_slots
from rsr_tf.layers.noise import masked_kernel


def put_mask(model, kernel, mask):
    """Set weights to zero in a kernel, in its mask and in the state of the model's optimizer.

    Args:
        model: the model that trains the kernel.
        kernel: a `rsr_tf.layers.PrunableKernel`. That of a stock layer has no mask; only its weights become zero.
        mask: boolean array of the kernel's shape, `False` for weights to prune.
    """
    optimizer = _optimizer(model)
    kernel.kernel.assign(masked_kernel(kernel.kernel, mask))
    if kernel.mask is not None:
        kernel.mask.assign(mask)
        kernel.pruning_step.assign(0 if optimizer is None else optimizer.iterations)
    if optimizer is not None:
        _clear_optimizer_state(optimizer, kernel, mask)


def _optimizer(model):
    """Return the optimizer that a model is compiled with, without loss scaling; `None` if it is not compiled."""
    optimizer = getattr(model, "optimizer", None)
    return getattr(optimizer, "inner_optimizer", optimizer)


def _clear_optimizer_state(optimizer, kernel, mask):
    """Set the entries of pruned weights to zero in momentum, averages and accumulated gradients.

    The gradient of a pruned weight is zero from here on, so with a zero state no update changes the weight, even before
    the kernel constraint applies the mask. The moving average of the weights (`use_ema`) depends on this: Keras
    computes it before the constraint, and copies it into the weights after the last step of `fit`.
    """
    for slot in optimizer_slots(optimizer, kernel.kernel):
        slot.assign(masked_kernel(slot, mask))
