"""Does bfloat16 hide a network from an attack? The same attack on it as it was trained, and on its copy in float32.

    python scripts/compare_precision.py runs/resnet20_rsr/pruned.keras runs/resnet20_pgd/model.keras \\
        [--images 300] [--set data.directory=FOLDER] [--json docs/results/precision.json]

Each file lies in its run folder, whose config names the data. The noise is off. What an attack makes of either network
is shown to both, on test images drawn by the seed of the config. A quarter of an hour on 2 cores for each network.
"""

import argparse
import json
from pathlib import Path

import tensorflow as tf

from rsr_tf import evaluation
from rsr_tf.attacks.losses import is_correct
from rsr_tf.evaluation.model_fn import in_batches
from rsr_tf.evaluation.scores import wilson_interval
from rsr_tf.experiment.builders import load_data
from rsr_tf.experiment.load import load_network, open_finished, variants

BATCH = 100


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", type=Path, nargs="+")
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--json", type=Path, help="where to write the result")
    arguments = parser.parse_args()
    rows = []
    for path in arguments.networks:
        rows += compare(path, arguments.images, arguments.overrides)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def compare(path, n, overrides):
    """A row for each attack and each precision that it was crafted in."""
    finished = open_finished(path, overrides)
    config, data_set = finished.config, load_data(finished.config)
    chosen = evaluation.draw_test_images(len(data_set.test.labels), n, seed=config.seed)
    images, labels = data_set.test.pixels()[chosen], data_set.test.labels[chosen]
    networks = {
        "as trained": variants(load_network(path))["noise_off"],
        "float32": finished.networks["noise_off"],
    }
    epsilon = config.evaluation.epsilon
    attacks = {
        "PGD-20": evaluation.EOTPGD(epsilon=epsilon, steps=20),
        "APGD-CE-50": evaluation.APGD(epsilon=epsilon, steps=50),
    }
    head = {"network": finished.name, "trained_in": config.training.precision, "data": data_set.title}
    head |= {"n": len(labels), "seed": config.seed, "epsilon": epsilon}
    rows = []
    for kind, attack in attacks.items():
        for precision, model_fn in networks.items():
            adversarial = in_batches(attacker(attack, model_fn, config.seed), batch_size=BATCH)(images, labels)
            accuracy = {}
            for target, target_fn in networks.items():
                right = in_batches(judge(target_fn), batch_size=BATCH)(adversarial, labels).mean().item()
                accuracy[target] = {"mean": right, "interval": wilson_interval(right, len(labels))}
            rows.append({**head, "attack": kind, "crafted_in": precision, "accuracy": accuracy})
            shown = {target: f"{each['mean']:.1%}" for target, each in accuracy.items()}
            print(finished.name, kind, precision, shown, flush=True)
    return rows


def attacker(attack, model_fn, seed):
    """Return an attack as a separate graph, which is traced once."""
    return tf.function(lambda x, y: attack(model_fn, x, y, seed=seed))


def judge(model_fn):
    return tf.function(lambda x, y: is_correct(model_fn(x), y))


if __name__ == "__main__":
    main()
