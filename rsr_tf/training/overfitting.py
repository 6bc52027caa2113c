"""Detection of catastrophic overfitting in one-step adversarial training."""

import functools
import logging

import keras
import tensorflow as tf

from rsr_tf.attacks.pgd import FGSM, PGD

log = logging.getLogger(__name__)


class CatastrophicOverfittingMonitor(keras.callbacks.Callback):
    """Monitors training for catastrophic overfitting, to which one-step attacks are prone (Wong et al. 2020).

    The network learns to mask the single step: accuracy under FGSM rises while accuracy under PGD collapses. At the end
    of each epoch, both are measured on held-out images and logged as `watch_fgsm_accuracy` and `watch_pgd_accuracy`. A
    collapse is an epoch in which the latter is below half of its best value so far and the former does not fall.

    Args:
        images: float32 `(n, h, w, c)` in [0,1], held out; one batch is enough.
        labels: integers `(n,)` or `(n, 1)`.
        epsilon: radius of the ball, in units of pixels in [0,1].
        norm: `"linf"` (default) or `"l2"`.
        fallback: attack that replaces the one of an `RSRModel` after a collapse, such as `PGD()`; from then on the log
            has `multi_step` = 1. `None`, the default, only logs a warning.
    """

    def __init__(self, images, labels, *, epsilon, norm="linf", fallback=None):
        super().__init__()
        self.images = tf.constant(images, tf.float32)
        self.labels = tf.reshape(tf.constant(labels, tf.int32), (-1,))
        self.attacks = {
            "watch_fgsm_accuracy": FGSM(epsilon=epsilon, norm=norm),
            "watch_pgd_accuracy": PGD(epsilon=epsilon, step_size=epsilon / 4, steps=10, norm=norm),
        }
        self.fallback = fallback
        self.best_pgd = self.last_fgsm = 0.0

    def on_train_begin(self, logs=None):
        model_fn = functools.partial(self.model, training=False)

        @tf.function
        def measure():
            attacked = {
                name: attack(model_fn, self.images, self.labels, seed=0) for name, attack in self.attacks.items()
            }
            hits = {name: tf.argmax(model_fn(x), -1, tf.int32) == self.labels for name, x in attacked.items()}
            return {name: tf.reduce_mean(tf.cast(hit, tf.float32)) for name, hit in hits.items()}

        self._measure = measure

    def on_epoch_end(self, epoch, logs=None):
        accuracies = {name: float(accuracy) for name, accuracy in self._measure().items()}
        logs.update(accuracies)
        fgsm, pgd = accuracies.values()
        if pgd < 0.5 * self.best_pgd and fgsm >= self.last_fgsm:
            self._report_collapse(epoch, fgsm, pgd)
        self.remember(fgsm, pgd)
        if self.fallback is not None:
            logs["multi_step"] = float(self.model.attack is self.fallback)

    def remember(self, fgsm, pgd):
        """Record the accuracies of an epoch for later comparisons; a resumed run calls it for each finished epoch.

        Args:
            fgsm, pgd: accuracies under both attacks, in [0, 1].
        """
        self.best_pgd, self.last_fgsm = max(self.best_pgd, pgd), fgsm

    def _report_collapse(self, epoch, fgsm, pgd):
        log.warning(
            "catastrophic overfitting in epoch %d: PGD accuracy fell from %.1f to %.1f %%, FGSM accuracy is %.1f %%",
            epoch + 1,
            100 * self.best_pgd,
            100 * pgd,
            100 * fgsm,
        )
        if self.fallback is not None and self.model.attack is not self.fallback:
            log.warning("training continues with %d attack steps", self.fallback.steps)
            self.model.set_attack(self.fallback)
