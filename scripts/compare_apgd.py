"""Is our APGD as strong as ART's? Both at one budget on the same digits and the same network, over a range of epsilon.

    python scripts/compare_apgd.py [--json docs/results/apgd_against_art.json]

Wants the environment of `scripts/requirements-rivals.txt`. Trains a small network for seconds, without noise; both
attacks then get 50 steps and one random start for each of the test images. Two minutes on 2 cores.
"""

import argparse
import json
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from art.attacks.evasion import AutoProjectedGradientDescent
from art.estimators.classification import TensorFlowV2Classifier

from rsr_tf import data, models
from rsr_tf.evaluation import APGD, as_model_fn
from rsr_tf.evaluation.scores import wilson_interval

SEED, STEPS = 0, 50
EPSILONS = (0.02, 0.05, 0.08, 0.12)
ART_LOSSES = {"cross_entropy": "cross_entropy", "dlr": "difference_logits_ratio"}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="where to write the result")
    arguments = parser.parse_args()
    digits = data.load("digits")
    model = trained(digits.train)
    images, labels = digits.test.pixels(), digits.test.labels
    classifier = TensorFlowV2Classifier(
        model=model,
        nb_classes=10,
        input_shape=images.shape[1:],
        loss_object=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        clip_values=(0.0, 1.0),
    )
    rows = [
        compare(model, classifier, images, labels, epsilon=epsilon, loss=loss)
        for loss in ART_LOSSES
        for epsilon in EPSILONS
    ]
    if arguments.json:
        record = {"data": digits.title, "network": "small_cnn, no noise, 5 epochs", "seed": SEED, "steps": STEPS}
        arguments.json.write_text(json.dumps({**record, "rows": rows}, indent=1) + "\n", encoding="utf-8")


def compare(model, classifier, images, labels, *, epsilon, loss):
    """Accuracy that each of the two attacks leaves, as a row of the table."""
    keras.utils.set_random_seed(SEED)
    np.random.seed(SEED)  # ART draws its starts from here
    ours = tf.function(APGD(epsilon=epsilon, steps=STEPS, eot_samples=1, loss=loss))
    attacks = {"ours": lambda: ours(as_model_fn(model), images, labels, seed=SEED).numpy()}
    art = AutoProjectedGradientDescent(
        classifier,
        eps=epsilon,
        eps_step=2 * epsilon,
        max_iter=STEPS,
        nb_random_init=1,
        batch_size=len(images),
        loss_type=ART_LOSSES[loss],
        verbose=False,
    )
    attacks["art"] = lambda: art.generate(images, labels)
    row = {"loss": loss, "epsilon": epsilon, "n": len(labels)}
    for name, attack in attacks.items():
        try:
            accuracy = float(np.mean(np.argmax(model(attack()), -1) == labels))
        except Exception as error:  # whatever ART raises is the result
            row[name] = f"{type(error).__name__}: {error}"
        else:
            row[name] = {"accuracy": accuracy, "interval": wilson_interval(accuracy, len(labels))}
    print(row, flush=True)
    return row


def trained(train):
    """A network trained on clean digits alone, without noise."""
    keras.utils.set_random_seed(SEED)
    model = models.small_cnn(noise="none")
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(train.pixels(), train.labels, batch_size=64, epochs=5, verbose=0)
    return model


if __name__ == "__main__":
    main()
