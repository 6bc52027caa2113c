"""Does ZOO work? Tier 2 against an undefended network for handwritten digits, which it must break nearly always.

    python scripts/zoo_digits.py [--images 40] [--json docs/results/zoo_digits.json]

Trains a small network for seconds, prints how long the attack may take at worst, and attacks. A few minutes on 2 cores.
"""

import argparse
import json
import time
from pathlib import Path

import keras

from rsr_tf import data, models
from rsr_tf.evaluation import TIERS, as_model_fn, draw_test_images, expected_queries, zoo_attack
from rsr_tf.evaluation.zoo import describe_result

SEED = 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=40, help="test images, drawn by a seed")
    parser.add_argument("--group", type=int, default=40, help="images attacked side by side")
    parser.add_argument("--json", type=Path, help="where to write the result")
    arguments = parser.parse_args()
    digits = data.load("digits")
    model = undefended(digits.train)
    test, accuracy = digits.test, evaluate(model, digits.test)
    chosen = draw_test_images(len(test.labels), arguments.images, seed=SEED)
    images, labels, settings = test.pixels()[chosen], test.labels[chosen], TIERS[2]
    scores = as_model_fn(model)
    worst = expected_queries(len(chosen), images[0].size, settings)
    print(f"at worst {worst:,} queries, {worst / queries_a_second(scores, images):,.0f} s", flush=True)
    start = time.perf_counter()
    result = zoo_attack(scores, images, labels, settings=settings, group=arguments.group, indices=chosen)
    record = {
        "command": f"python scripts/zoo_digits.py --images {arguments.images} --group {arguments.group}",
        "data": digits.title,
        "network": f"{model.name}, width 0.5, no noise, no adversarial training, 15 epochs, seed {SEED}",
        "test_accuracy": accuracy,
        "settings": settings.get_config(),
        "indices": chosen.tolist(),
        "seconds": round(time.perf_counter() - start, 1),
        "result": describe_result(result),
    }
    share = record["result"]["success"]["of_attacked"]
    low, high = share["interval"]
    print(f"broken: {share['mean']:.1%} of n={share['num_images']} ({low:.1%} to {high:.1%})")
    print(json.dumps(record["result"], indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def undefended(train):
    """A network trained on clean digits alone, without noise."""
    keras.utils.set_random_seed(SEED)
    model = models.small_cnn(noise="none", width=0.5)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(3e-3), loss, metrics=["accuracy"])
    model.fit(train.pixels(), train.labels, batch_size=64, epochs=15, verbose=0)
    return model


def evaluate(model, split):
    return float(model.evaluate(split.pixels(), split.labels, verbose=0, return_dict=True)["accuracy"])


def queries_a_second(scores, images):
    """Images that a network classifies in a second, in calls of the size that the attack makes."""
    call = images.repeat(129, axis=0)
    scores(call)
    start = time.perf_counter()
    for _ in range(5):
        scores(call).numpy()
    return 5 * len(call) / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
