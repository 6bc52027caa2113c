"""Pruning inside `fit`."""

import keras

from rsr_tf.pruning import check_target, prune


class PruningCallback(keras.callbacks.Callback):
    """Prune inside `fit`, at the end of one epoch; the mask holds through the epochs after it.

    Args:
        sparsity, gamma, scope: as for `prune`.
        epoch: number of the epoch, from 0, at whose end the network is pruned. Defaults to 0.

    Raises:
        ValueError: as `prune`.

    Example:
        >>> model.fit(train, epochs=10, callbacks=[PruningCallback(sparsity=0.6, epoch=7)])
    """

    def __init__(self, *, sparsity=None, gamma=None, scope="global", epoch=0):
        super().__init__()
        check_target(sparsity, gamma, scope)
        self.target = {"sparsity": sparsity, "gamma": gamma, "scope": scope}
        self.epoch = epoch

    def on_epoch_end(self, epoch, logs=None):
        if epoch == self.epoch:
            prune(self.model, **self.target)
