"""Certify a network with noise on pixels or features: mean predictions over many draws, and their certified radii."""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from rsr_tf.evaluation.certificates import clopper_pearson, dp_radius, hoeffding, laplace_radius, smoothing_radius
from rsr_tf.evaluation.model_fn import in_batches
from rsr_tf.evaluation.scores import wilson_interval
from rsr_tf.validation import check_integers, checked

MEANS = ("probabilities", "votes")
"""Values of `of` of `certify`."""
NORMS = {"gaussian": "l2", "laplace": "l1"}
"""Kinds of noise, and the norm of the changes for which it certifies."""


@dataclass(frozen=True, eq=False)
class Certificates:
    """The certified radius of each image, by each method.

    Args:
        labels: integers `(n,)`, true classes.
        predictions: integers `(n,)`, classes chosen in the draws for selection; the certificate is for these.
        means: float `(n, classes)`, mean probabilities or shares of votes over the draws.
        low: float `(n,)`, lower bound of the mean of the predicted class.
        high: float `(n,)`, upper bound of the mean of any other class.
        radii: dict from method, `"pixeldp"` or `"smoothing"`, to radii `(n,)`; 0 where nothing is certified.
        settings: dict of JSON-serializable settings.

    Example:
        >>> certificates = rsr_tf.evaluation.Certificates(
        ...     *(np.array([0, 1]), np.array([0, 0]), np.array([[0.9, 0.1], [0.8, 0.2]])),
        ...     *(np.array([0.8, 0.7]), np.array([0.2, 0.3]), {"pixeldp": np.array([0.2, 0.1])}, {}),
        ... )
        >>> certificates.certified_accuracy("pixeldp", 0.1), certificates.certified_accuracy("pixeldp", 0.3)
        (0.5, 0.0)
    """

    labels: np.ndarray
    predictions: np.ndarray
    means: np.ndarray
    low: np.ndarray
    high: np.ndarray
    radii: dict
    settings: dict

    @property
    def accuracy(self):
        """Share of the images whose largest mean is that of the label, without any certificate.

        An image is wrong if no answer to it was a number: all its means are then 0.
        """
        return float(np.mean((np.argmax(self.means, axis=1) == self.labels) & (self.means.max(axis=1) > 0)))

    def certified_accuracy(self, method, radius):
        """Return the share of the images that are correct with a certificate of at least a radius.

        Args:
            method: key of `radii`.
            radius: non-negative number. At 0, images count that have any certificate.

        Returns:
            A float.
        """
        found = self.radii[method]
        return float(np.mean((self.predictions == self.labels) & (found > 0) & (found >= radius)))

    def as_dict(self, radii=(0.0, 0.05, 0.1, 0.25)):
        """Return all numbers as a JSON-serializable dict; the intervals are Wilson 95 % intervals for n images.

        Args:
            radii: numbers, radii at which the certified accuracy is listed. Defaults to 0, 0.05, 0.1 and 0.25.

        Returns:
            A dict.
        """
        rows = [
            (method, float(radius), self.certified_accuracy(method, radius))
            for method in self.radii
            for radius in radii
        ]
        return {
            **self.settings,
            "num_images": len(self.labels),
            "accuracy": self.accuracy,
            "interval": list(wilson_interval(self.accuracy, len(self.labels))),
            "certified": [
                {
                    "method": method,
                    "radius": radius,
                    "accuracy": share,
                    "interval": list(wilson_interval(share, len(self.labels))),
                }
                for method, radius, share in rows
            ],
            "median_radius": {method: float(np.median(found)) for method, found in self.radii.items()},
        }


def certify(
    model_fn,
    images,
    labels,
    *,
    draws,
    std,
    kind="gaussian",
    of="probabilities",
    sensitivity=1.0,
    confidence=0.95,
    selection_draws=100,
    batch_size=250,
):
    """Certify the mean prediction of a network with noise on pixels or features, for each image.

    The classes are chosen with `selection_draws` draws, and their means are bounded with `draws` further ones, as in
    Cohen et al. 2019: the choice is then independent of the bounds. One-sided bounds for all classes hold together with
    the given confidence for an image (Bonferroni): those of Hoeffding for probabilities, of Clopper and Pearson for
    votes. An image for which the choice is not clear gets the radius 0. With the given confidence a certificate is true
    of the mean over all noise, which a prediction by finitely many draws (`rsr_tf.attacks.ensemble`) approximates.

    Two things are taken on trust. The noise must have the given `std` and `kind`; what comes before it may neither be
    random nor depend on other images of the batch; and `sensitivity` must be a bound, see `convolution_sensitivity`.
    More noise in later layers, as in RSE, or in the weights of later layers does no harm.

    Args:
        model_fn: see `rsr_tf.evaluation.as_model_fn`; draws new noise at every call. It is called
            `draws + selection_draws` times for each batch.
        images: float32 `(n, ...)` in [0,1].
        labels: integers `(n,)`.
        draws: integer, draws for the bounds; PixelDP uses 2,000.
        std: positive number, standard deviation of the (first) noise, as in `rsr_tf.layers.FeatureNoise`.
        kind: `"gaussian"` for radii in the l2 norm, by PixelDP and by smoothing, or `"laplace"` for radii in the l1
            norm, by PixelDP alone. Defaults to `"gaussian"`.
        of: `"probabilities"` to certify the mean of the softmax, or `"votes"`. Defaults to `"probabilities"`.
        sensitivity: positive number, by which the input of the noise layer changes at most for a change of the image of
            norm 1. Defaults to 1, for noise on the pixels.
        confidence: number in (0, 1), for each image. Defaults to 0.95.
        selection_draws: integer. Defaults to 100.
        batch_size: images in a call. Defaults to 250.

    Returns:
        `Certificates`.

    Raises:
        ValueError: for an argument outside its range, or invalid images or labels.

    Example:
        >>> inputs = keras.Input((8, 8, 1))
        >>> x = keras.layers.Flatten()(rsr_tf.layers.FeatureNoise(0.25)(inputs))
        >>> network = rsr_tf.as_model_fn(keras.Model(inputs, keras.layers.Dense(10)(x)))
        >>> certificates = rsr_tf.evaluation.certify(network, images, labels, draws=100, std=0.25)
        >>> [row["accuracy"] for row in certificates.as_dict(radii=[1.0])["certified"]]  # not trained
        [0.0, 0.0]
    """
    check_integers(1, draws=draws, selection_draws=selection_draws)
    for name, value, allowed in (("of", of, MEANS), ("kind", kind, tuple(NORMS))):
        if value not in allowed:
            raise ValueError(f"`{name}` must be one of {allowed}. Received: {name}={value!r}")
    if not 0 < confidence < 1:
        raise ValueError(f"`confidence` must be in (0, 1). Received: confidence={confidence}")
    images, labels = checked(images, labels)
    size = min(batch_size, len(images))
    selected, sums = (
        in_batches(_total(model_fn, count, of), batch_size=size)(images, labels) for count in (selection_draws, draws)
    )
    predictions = selected.argmax(axis=1)
    low, high = _bounds(sums, predictions, draws, of, confidence)
    if kind == "gaussian":
        radii = {"pixeldp": dp_radius(low, high, std, sensitivity=sensitivity)}
        radii["smoothing"] = smoothing_radius(low, high, std, sensitivity=sensitivity)
    else:
        radii = {"pixeldp": laplace_radius(low, high, std / np.sqrt(2), sensitivity=sensitivity)}
    settings = {"draws": int(draws), "selection_draws": int(selection_draws), "of": of, "confidence": float(confidence)}
    settings |= {"kind": kind, "norm": NORMS[kind], "std": float(std), "sensitivity": float(sensitivity)}
    return Certificates(labels, predictions, sums / draws, low, high, radii, settings)


def _bounds(sums, predictions, draws, of, confidence):
    """Return the bounds that `Certificates` has, from sums over draws `(n, classes)`."""
    error = (1 - confidence) / sums.shape[1]
    low, high = clopper_pearson(sums, draws, error) if of == "votes" else hoeffding(sums / draws, draws, error)
    chosen = np.arange(sums.shape[1]) == predictions[:, np.newaxis]
    low = low[chosen]
    high = np.where(chosen, 0, high).max(axis=1)
    return low, np.minimum(high, 1 - low)  # all means sum to 1


def _total(model_fn, draws, of):
    """Return a graph from images to the sum of their probabilities or votes over draws, float64 `(n, classes)`."""

    def one(x):
        logits = tf.cast(model_fn(x), tf.float64)
        valid = tf.reduce_all(tf.math.is_finite(logits), axis=-1, keepdims=True)
        scores = (
            tf.one_hot(tf.argmax(logits, -1), logits.shape[-1], dtype=tf.float64)
            if of == "votes"
            else tf.nn.softmax(logits)
        )
        return tf.where(valid, scores, tf.zeros_like(scores))  # what is no number is a score for no class

    @tf.function
    def total(x, y):
        return tf.foldl(lambda summed, _: summed + one(x), tf.range(draws - 1), one(x), parallel_iterations=1)

    return total
