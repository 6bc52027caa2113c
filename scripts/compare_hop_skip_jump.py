"""Is our HopSkipJump as strong as ART's? Nearest adversarial image that each has asked about, by number of queries.

    python scripts/compare_hop_skip_jump.py [--json docs/results/hop_skip_jump_against_art.json]

Wants ART (`scripts/requirements-rivals.txt`; PyTorch is not used). Trains a small network for seconds, without noise;
both attacks then get the same images, norm (linf), number of iterations, and decisions for the first direction. Three
minutes on one busy core.
"""

import argparse
import json
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from art.attacks.evasion import HopSkipJump as ARTHopSkipJump
from art.estimators.classification import BlackBoxClassifier

from compare_apgd import trained
from rsr_tf import data
from rsr_tf.attacks import HopSkipJump
from rsr_tf.evaluation import as_model_fn

SEED, IMAGES, ITERATIONS, INITIAL_SAMPLES, STARTS = 0, 30, 20, 100, 10
BUDGETS = (500, 1000, 2000, 4000)
"""Numbers of queries for an image, after which distances are compared."""


class Watched:
    """A network that remembers, for each of its images, the distance of every query and whether it was misclassified.

    Args:
        network: function from images to logits.
        images, labels: the clean images `(n, h, w, c)`, which every call is about, or one image.
    """

    def __init__(self, network, images, labels):
        self.network = network
        self.images = images
        self.labels = labels
        self.distances = []

    def __call__(self, x):
        logits = np.asarray(self.network(tf.constant(x, tf.float32)))
        distance = np.abs(np.asarray(x) - self.images).max(axis=(1, 2, 3))
        self.distances.append(np.where(np.argmax(logits, -1) == self.labels, np.inf, distance))
        return logits

    def nearest(self, budget):
        """Return the distance of the nearest misclassified one of the first `budget` queries for each image."""
        if len(self.images) > 1:
            return np.min(self.distances[:budget], axis=0)
        return np.min(np.concatenate(self.distances)[:budget], keepdims=True)

    def queries(self):
        """Return the number of queries for each image."""
        return len(self.distances) if len(self.images) > 1 else sum(map(len, self.distances))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="where to write the result")
    arguments = parser.parse_args()
    digits = data.load("digits")
    network = as_model_fn(trained(digits.train))
    images, labels = digits.test.pixels(), digits.test.labels
    right = np.flatnonzero(np.argmax(network(images), -1) == labels)[:IMAGES]
    watched = {
        "ours": our_queries(network, images[right], labels[right]),
        "art": art_queries(network, images[right], labels[right]),
    }
    rows = [row(budget, watched) for budget in BUDGETS]
    if arguments.json:
        record = {"data": digits.title, "network": "small_cnn, no noise, 5 epochs", "seed": SEED, "n": IMAGES}
        record |= {"norm": "linf", "iterations": ITERATIONS, "initial_samples": INITIAL_SAMPLES}
        record |= {"queries": {name: float(np.median([w.queries() for w in each])) for name, each in watched.items()}}
        arguments.json.write_text(json.dumps({**record, "rows": rows}, indent=1) + "\n", encoding="utf-8")


def our_queries(network, images, labels):
    """Attack all images at once, without a graph, with an epsilon that is too small for the search to end early."""
    watched = Watched(network, images, labels)
    attack = HopSkipJump(epsilon=1e-4, iterations=ITERATIONS, initial_samples=INITIAL_SAMPLES, starts=STARTS)
    attack(watched, images, labels, seed=SEED)
    return [watched]


def art_queries(network, images, labels):
    """Attack one image after the other, as ART does."""
    np.random.seed(SEED)  # ART draws its starts and directions from here
    found = []
    for image, label in zip(images, labels, strict=True):
        watched = Watched(network, image[np.newaxis], label)
        classifier = BlackBoxClassifier(watched, image.shape, nb_classes=10, clip_values=(0.0, 1.0))
        attack = ARTHopSkipJump(
            classifier,
            norm=np.inf,
            max_iter=ITERATIONS,
            init_eval=INITIAL_SAMPLES,
            init_size=STARTS,
            verbose=False,
        )
        attack.generate(image[np.newaxis], np.eye(10, dtype="float32")[[label]])
        found.append(watched)
    return found


def row(budget, watched):
    """Return the median distance of both attacks, and on how many images ours is nearer."""
    distance = {name: np.concatenate([one.nearest(budget) for one in each]) for name, each in watched.items()}
    found = {"queries": budget} | {name: float(np.median(each)) for name, each in distance.items()}
    found["ours_nearer"] = int(np.sum(distance["ours"] < distance["art"]))
    found["median_ratio"] = float(np.median(distance["ours"] / distance["art"]))
    print(found, flush=True)
    return found


if __name__ == "__main__":
    keras.utils.set_random_seed(SEED)
    main()
