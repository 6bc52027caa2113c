"""Does the momentum of batch normalization deceive adversarial training? Three momenta, two networks, three seeds.

    python scripts/batch_norm.py [--json docs/results/batch_norm.json] [--modes own bounded batch] [--epochs 12]

Stock Keras layers on the digits, PGD-7 at epsilon 0.2, 228 steps. What `fit` reports at the end beside what is true:
the same attack on the same training and validation images after training, and PGD-20 on the test images, with the
moving statistics of the network and with statistics estimated anew over the training images. Three ways to train:
"own", the layers' own momentum; "bounded", at most 0.9, the default of `RSRModel`; "batch", an attack that sees the
statistics of its own batch, which it does not update. A quarter of an hour on 2 cores.
"""

import argparse
import functools
import json
import statistics
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import rsr_tf

EPSILON, STEP_SIZE, STEPS = 0.2, 0.05, 7
MOMENTA, SEEDS = (0.9, 0.99, 0.999), (0, 1, 2)


def plain(momentum):
    inputs = x = keras.Input((8, 8, 1))
    for filters in (16, 32, 32):
        x = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=momentum)(x))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.MaxPooling2D()(x))
    return keras.Model(inputs, keras.layers.Dense(10)(x))


def residual(momentum):
    def normalized(x, filters, strides=1):
        x = keras.layers.SeparableConv2D(filters, 3, strides=strides, padding="same", use_bias=False)(x)
        return keras.layers.BatchNormalization(momentum=momentum)(x)

    inputs = keras.Input((8, 8, 1))
    x = keras.layers.ReLU()(normalized(inputs, 24))
    for strides in (1, 2):
        shortcut = keras.layers.AveragePooling2D(strides)(x) if strides > 1 else x
        y = normalized(keras.layers.ReLU()(normalized(x, 24, strides)), 24)
        x = keras.layers.ReLU()(keras.layers.Add()([shortcut, y]))
    return keras.Model(inputs, keras.layers.Dense(10)(keras.layers.Flatten()(x)))


NETWORKS = {"plain": plain, "residual": residual}


class BatchStatistics(rsr_tf.RSRModel):
    """The attack sees the statistics of its batch, and leaves the moving ones as they are."""

    def perturb(self, x, y):
        kept = [variable for layer in batch_norms(self) for variable in (layer.moving_mean, layer.moving_variance)]
        values = [tf.identity(variable) for variable in kept]
        x_adv = self.attack.with_loss(self.compilation.loss_fn)(lambda x: self(x, training=True), x, y)
        for variable, value in zip(kept, values, strict=True):
            variable.assign(value)
        return x_adv


MODES = {
    "own": functools.partial(rsr_tf.RSRModel, batch_norm_momentum=None),
    "bounded": rsr_tf.RSRModel,
    "batch": functools.partial(BatchStatistics, batch_norm_momentum=None),
}


def batch_norms(model):
    return [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]


def run(name, momentum, seed, mode, epochs):
    """Train a network and return what `fit` says and what is true."""
    keras.utils.set_random_seed(seed)
    digits = rsr_tf.data.load("digits", seed=seed)
    base = NETWORKS[name](momentum)
    attack = rsr_tf.attacks.PGD(epsilon=EPSILON, step_size=STEP_SIZE, steps=STEPS)
    model = MODES[mode](base.inputs, base.outputs, attack=attack, seed=seed)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(5e-3), loss, metrics=["accuracy"])
    train, validation = digits.train, digits.validation
    data = (validation.pixels(), validation.labels)
    history = model.fit(train.pixels(), train.labels, 64, epochs=epochs, validation_data=data, verbose=0).history
    row = {"network": name, "momentum": momentum, "seed": seed, "mode": mode}
    row |= {key: history[key][-1] for key in ("adversarial_accuracy", "val_adversarial_accuracy", "val_accuracy")}
    row |= {key: history[key][-1] for key in ("clean_loss", "adversarial_loss")}
    for part, split in {"train": train, "validation": validation}.items():
        found = rsr_tf.RSRModel(base.inputs, base.outputs, attack=attack, seed=seed)
        found.compile("sgd", loss)
        found = found.evaluate(split.pixels(), split.labels, verbose=0, return_dict=True)
        row[f"same_attack_{part}"] = found["adversarial_accuracy"]
    row["pgd20"] = robust_accuracy(base, digits.test)
    estimate_again(base, train.pixels())
    row["pgd20_estimated_anew"] = robust_accuracy(base, digits.test)
    return row


def robust_accuracy(network, test):
    scores = rsr_tf.evaluation.evaluate_whitebox(
        rsr_tf.as_model_fn(network), test.pixels(), test.labels, epsilon=EPSILON, step_size=0.025, steps=20, repeats=1
    )
    return scores["pgd"].mean


def estimate_again(network, images):
    """Set the moving statistics to the mean of those of 40 batches."""
    layers = batch_norms(network)
    momenta = [layer.momentum for layer in layers]
    random = np.random.default_rng(0)
    for number in range(40):
        for layer in layers:
            layer.momentum = number / (number + 1)
        network(images[random.choice(len(images), 128, replace=False)], training=True)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum


COLUMNS = {
    "fit": "adversarial_accuracy",
    "true": "same_attack_train",
    "fit, val": "val_adversarial_accuracy",
    "true, val": "same_attack_validation",
    "PGD-20": "pgd20",
    "anew": "pgd20_estimated_anew",
}


def print_table(rows):
    """Print means over the seeds in percent."""
    print(f"{'network':<10}{'momentum':>9}{'mode':>9}" + "".join(f"{title:>10}" for title in COLUMNS))
    groups = {}
    for row in rows:
        groups.setdefault((row["network"], row["momentum"], row["mode"]), []).append(row)
    for (name, momentum, mode), found in groups.items():
        means = [100 * statistics.mean(row[key] for row in found) for key in COLUMNS.values()]
        print(f"{name:<10}{momentum:>9}{mode:>9}" + "".join(f"{mean:10.1f}" for mean in means))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--epochs", type=int, default=12)
    options = parser.parse_args()
    rows = []
    for seed in SEEDS:
        for name in NETWORKS:
            for momentum in MOMENTA:
                for mode in options.modes:
                    rows.append(run(name, momentum, seed, mode, options.epochs))
                    print(json.dumps(rows[-1]), flush=True)
                    if options.json:
                        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print_table(rows)


if __name__ == "__main__":
    main()
