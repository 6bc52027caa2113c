"""PixelDP and RSE under averaged gradients: is their noise a defence at 8/255?

    rsr grid paper/table4 --scale short --set data.directory=FOLDER --output RUNS      # trains them, and attacks
    python scripts/random_defences.py RUNS [--images 256] [--json docs/results/paper_short/random_defences.json]
    python scripts/random_defences.py RUNS --networks dp_at --draws 20 100     # do more draws break more?

Each network predicts by the mean of its draws, as its authors do. PGD-20 takes the gradient of one draw, as published
attacks on these defences did, or the mean of 20 (EOT).
"""

import argparse
import json
import sys
from pathlib import Path

import keras

from rsr_tf.attacks import EOTPGD, ensemble
from rsr_tf.config import UserError, load_config
from rsr_tf.evaluation import accuracy_under, as_model_fn, draw_test_images
from rsr_tf.evaluation.scores import wilson_interval
from rsr_tf.experiment.builders import load_data
from rsr_tf.experiment.load import in_float32, load_network
from rsr_tf.experiment.provenance import versions
from rsr_tf.layers import reseed_noise

SEED = 0
EPSILON = 8 / 255
NETWORKS = ("dp", "dp_at", "rse", "rse_at")
PUBLISHED = {"dp": {"clean": 87.0, "PGD": 25.0}, "rse": {"clean": 87.5, "PGD": 40.0}}
"""Table 4 of the paper, of other networks (WideResNet and ResNeXt), in percent."""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, help="folder of the run folders of Table 4")
    parser.add_argument("--images", type=int, default=256, help="test images, drawn by a seed")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--draws", nargs="+", type=int, default=(1, 20), help="draws that a gradient is the mean of")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--json", type=Path, help="where to write the result")
    options = parser.parse_args()
    rows = {}
    for name in options.networks:
        rows[name] = measure(options.runs / f"resnet20-{name}-seed{SEED}", options)
        print(name, json.dumps(rows[name]["accuracy"]), flush=True)
    networks, draws = " ".join(options.networks), " ".join(map(str, options.draws))
    record = {
        "command": f"random_defences.py RUNS --networks {networks} --draws {draws} --images {options.images}",
        "grid": "paper/table4, scale short, ResNet-20",
        "seed": SEED,
        "num_images": options.images,
        "epsilon": EPSILON,
        "published": PUBLISHED,
        "networks": rows,
        "versions": versions(),
    }
    if options.json:
        options.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def measure(folder, options):
    """Return the accuracy of the trained network of a run: clean, and under PGD-20 with gradients of some draws."""
    config = load_config(folder)
    data_set = load_data(config)
    chosen = draw_test_images(len(data_set.test.labels), options.images, seed=SEED)
    images, labels = data_set.test.take(chosen).pixels(), data_set.test.labels[chosen]
    model = in_float32(load_network(folder / "model.keras"))
    one_draw = as_model_fn(model)
    deployed = as_model_fn(ensemble(one_draw, config.evaluation.ensemble))
    attacks = {"clean": lambda x, y: x}
    for draws in options.draws:
        attack = EOTPGD(epsilon=EPSILON, steps=20, eot_samples=draws)
        attacks[f"PGD-20, gradients of {draws}"] = lambda x, y, attack=attack: attack(one_draw, x, y)
    found = {}
    for name, attack in attacks.items():
        keras.utils.set_random_seed(SEED)
        reseed_noise(model, SEED)
        share = accuracy_under(attack, deployed, batch_size=options.batch_size)(images, labels)
        found[name] = {"mean": share, "interval": wilson_interval(share, options.images)}
    return {"data": data_set.title, "draws": config.evaluation.ensemble, "accuracy": found}


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
