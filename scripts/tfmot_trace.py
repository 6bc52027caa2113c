"""What TensorFlow Model Optimization (TFMOT) does with given weights, step by step; `compare_tfmot.py` calls it.

    python scripts/tfmot_trace.py FOLDER

Reads `job.json` and `given.npz` in the folder and writes `trace.npz` there. For a separate environment, that of
`scripts/requirements-tfmot.txt`: importing TFMOT makes Keras 2 of `tf.keras` for the whole process.
"""

import json
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras


def main():
    folder = Path(sys.argv[1])
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    with np.load(folder / "given.npz") as given:
        images, labels = given["images"], given["labels"]
        kernels = [given[f"kernel{number}"] for number in range(job["kernels"])]
    schedule = getattr(tfmot.sparsity.keras, job["schedule"])(**job["arguments"])
    model, layers = network(kernels, images.shape[1:], schedule)
    optimizer = tf_keras.optimizers.SGD(job["learning_rate"], momentum=job["momentum"])
    model.compile(optimizer, tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    update = tfmot.sparsity.keras.UpdatePruningStep()
    update.set_model(model)
    update.on_train_begin()
    rows = [train_step(model, layers, images, labels, schedule) for _ in range(job["steps"])]
    np.savez_compressed(folder / "trace.npz", **{name: np.stack([row[name] for row in rows]) for name in rows[0]})


def network(kernels, image_shape, schedule):
    """A chain of pruned layers with given kernels, and these layers."""
    wrapped, chain = [], [tf_keras.Input(image_shape)]
    for kernel in kernels:
        if kernel.ndim == 4:
            layer = tf_keras.layers.Conv2D(kernel.shape[-1], kernel.shape[:2], activation="relu", use_bias=False)
        else:
            chain.append(tf_keras.layers.Flatten())
            layer = tf_keras.layers.Dense(kernel.shape[-1], use_bias=False)
        wrapped.append(tfmot.sparsity.keras.prune_low_magnitude(layer, pruning_schedule=schedule))
        chain.append(wrapped[-1])
    model = tf_keras.Sequential(chain)
    for layer, kernel in zip(wrapped, kernels, strict=True):
        layer.layer.kernel.assign(kernel)
    return model, wrapped


def train_step(model, layers, images, labels, schedule):
    """One step, and all that belongs to it; its masks come from the weights as they are before it."""
    row = {f"weights{number}": layer.layer.kernel.numpy() for number, layer in enumerate(layers)}
    model.train_on_batch(images, labels)
    step = layers[0].pruning_step.numpy()
    should_prune, sparsity = schedule(tf.constant(step, tf.int64))
    row |= {"step": step, "should_prune": np.array(should_prune), "sparsity": np.array(sparsity)}
    for number, layer in enumerate(layers):
        ((_, mask, threshold),) = layer.pruning_vars
        row |= {f"mask{number}": mask.numpy().astype(bool), f"threshold{number}": threshold.numpy()}
    return row


if __name__ == "__main__":
    main()
