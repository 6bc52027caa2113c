"""What each of several processes does in `test_workers.py`: trains, and writes down what it ended with.

    python workers.py FOLDER CASE...

The cluster is that of `TF_CONFIG`; without it the process is alone. Cases: `none` has no batch normalization; `own` has
it, and noise, and the average of the weights.
"""

import sys
from pathlib import Path

from rsr_tf.training.distribution import choose_strategy, peers

STRATEGY = choose_strategy("all")  # before anything else of TensorFlow

import devices  # noqa: E402
import keras  # noqa: E402
import numpy as np  # noqa: E402

from rsr_tf.keras_internals import weight_averages  # noqa: E402

CASES = {
    "none": {"noise": "none"},
    "own": {"noise": "channel", "norm": "own", "optimizer": {"use_ema": True, "ema_momentum": 0.9}},
}


def compiled(noise, norm=None, optimizer=None, **options):
    model = devices.compiled(STRATEGY, noise=noise, norm=norm)
    with STRATEGY.scope():
        model.compile(
            keras.optimizers.SGD(0.05, momentum=0.9, weight_decay=1e-4, **(optimizer or {})),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
            **options,
        )
    return model


def main(folder, cases):
    for case in cases:
        model, history = devices.trained(STRATEGY, model=compiled(**CASES[case]))
        found = {variable.path: variable.numpy() for variable in model.variables if "seed" not in variable.path}
        found |= {f"average {weight.path}": average.numpy() for weight, average in weight_averages(model.optimizer)}
        found |= {f"history {name}": values for name, values in history.items()}
        who = peers().cluster.index if peers().cluster.count > 1 else "alone"
        np.savez(folder / f"{case}-{who}.npz", **found)
    peers().wait()
    peers().leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
