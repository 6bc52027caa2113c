"""The files of a run that can be shipped, and what each weighs and costs, as plain numbers for `artefacts.json`."""

import functools
import hashlib
import logging
import os
import platform
import shutil

import keras
import numpy as np
import tensorflow as tf

from rsr_tf import artefacts, pruning
from rsr_tf.atomic import replacing
from rsr_tf.experiment.assess import attack_parameters, test_images
from rsr_tf.tflite import interpreter_class

log = logging.getLogger(__name__)

CALIBRATION = 500
"""Training images that int8 is calibrated on."""
BATCHES = (1, 128)
"""Batch sizes whose latency is measured."""


def describe(config, data_set):
    """What is measured on what: the head of `artefacts.json`."""
    return {
        "data": data_set.title,
        "model": config.model.name,
        "seed": config.seed,
        "attack": {**attack_parameters(config), "draws": config.evaluation.draws},
        "calibration_images": min(CALIBRATION, len(data_set.train)),
        "networks": {},
    }


def machine():
    """What the latency depends on beside the file."""
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "tflite_threads": 2,
        "tflite_runtime": interpreter_class().__module__.split(".")[0],
        "tensorflow": tf.__version__,
    }


def measure_network(model, entry, folder, data_set, config, save, *, again=False):
    """Write every artefact of a network, and measure what is missing of it.

    Args:
        model: the network as trained.
        entry: dict with what was measured before, filled in place.
        folder: `Path` of the artefacts.
        data_set: a `DataSet`.
        config: a `Config`.
        save: called, without arguments, whenever an artefact is measured.
        again: measure latencies that are there too. Defaults to `False`.
    """
    images, labels = test_images(data_set, config)
    section = config.evaluation
    keras.utils.set_random_seed(config.seed)

    @functools.cache
    def attacked():
        options = {"draws": section.draws, "batch_size": section.batch_size, **attack_parameters(config)}
        return artefacts.transferred_images(model, images, labels, **options)

    entry |= {"sparsity": pruning.sparsity(model), "dense_bytes": artefacts.dense_bytes(model)}
    measured = entry.setdefault("artefacts", {})
    for artefact in artefacts.artefacts_of(model, calibration=data_set.train.first(CALIBRATION).pixels()):
        if artefact.title == "SavedModel, noisy" and config.training.deterministic:
            log.info("%s: not measured, as its noise does not run with training.deterministic", artefact.title)
            continue
        file, found = folder / artefact.file, measured.setdefault(artefact.title, {})
        if not file.exists():
            with replacing(file) as temporary:
                artefact.write(model, temporary)
        found |= {"file": artefact.file, "runtime": artefact.runtime, "noisy": artefact.noisy}
        found |= artefacts.file_sizes(file)
        if again or "latency" not in found:
            function = artefact.load(file)
        if "scores" not in found:
            draws = section.draws if artefact.noisy else 1
            sets = {"clean": [images] * draws, "pgd": attacked()}
            found["scores"] = {
                name: artefacts.accuracy(function, inputs, labels, batch_size=section.batch_size).as_dict()
                for name, inputs in sets.items()
            }
        if again or "latency" not in found:
            found["latency"] = {
                str(size): artefacts.latency(function, np.resize(images, (size, *images.shape[1:]))) for size in BATCHES
            }
        save()


def start_over(entry, folder, path):
    """Forget what was measured of another network than that of the file `path`, and remove its artefacts."""
    identity = hashlib.sha256(path.read_bytes()).hexdigest()
    if entry.get("identity") != identity:
        entry.clear()
        shutil.rmtree(folder, ignore_errors=True)
        entry["identity"] = identity
