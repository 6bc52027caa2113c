"""What each of several processes does in `test_workers.py`: trains, and writes down what it ended with.

    python workers.py FOLDER

The cluster is that of `TF_CONFIG`; without it the process is alone.
"""

import sys
from pathlib import Path

from rsr_tf.training.distribution import choose_strategy, peers

STRATEGY = choose_strategy("all")  # before anything else of TensorFlow

import devices  # noqa: E402
import numpy as np  # noqa: E402

import rsr_tf  # noqa: E402


def main(folder):
    for case, options in {"none": {"noise": "none"}, "per worker": {"noise": "channel", "norm": "own"}}.items():
        model, history = devices.trained(STRATEGY, **options)
        weights = {variable.path: variable.numpy() for variable in model.variables}
        np.savez(folder / f"{case}-{peers().cluster.index}.npz", **weights)
        print(case, rsr_tf.sparsity(model), {name: values[-1] for name, values in history.items()}, flush=True)
    peers().wait()
    peers().leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
