"""The files of a run that can be shipped, and what each weighs and costs, as plain numbers for `artefacts.json`."""

import functools
import logging
import os
import platform
import shutil

import keras
import numpy as np
import tensorflow as tf

from rsr_tf import pruning
from rsr_tf.experiment.evaluate import attack_parameters, digest, test_images
from rsr_tf.export import benchmark, formats
from rsr_tf.export.tflite import interpreter_class
from rsr_tf.files import replacing

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


def measure_network(model, entry, folder, data_set, config, save):
    """Write every artefact of a network, and measure its bytes and accuracy where they are missing.

    Args:
        model: the network as trained.
        entry: dict with what was measured before, filled in place.
        folder: `Path` of the artefacts.
        data_set: a `DataSet`.
        config: a `Config`.
        save: called, without arguments, whenever an artefact is measured.

    Returns:
        A dict from title to a function without arguments that loads the artefact, for `measure_latencies`.
    """
    images, labels = test_images(data_set, config)
    section = config.evaluation
    keras.utils.set_random_seed(config.seed)

    @functools.cache
    def attacked():
        options = {"draws": section.draws, "batch_size": section.batch_size, **attack_parameters(config)}
        return benchmark.transferred_images(model, images, labels, **options)

    entry |= {"sparsity": pruning.sparsity(model), "dense_bytes": benchmark.dense_bytes(model)}
    measured, loaders = entry.setdefault("artefacts", {}), {}
    for export_format in formats.export_formats(model, calibration=data_set.train.first(CALIBRATION).pixels()):
        if export_format.title == "SavedModel, noisy" and config.training.deterministic:
            log.info("%s: not measured, as its noise does not run with training.deterministic", export_format.title)
            continue
        file, found = folder / export_format.file, measured.setdefault(export_format.title, {})
        if not file.exists():
            with replacing(file) as temporary:
                export_format.write(model, temporary)
        found |= {"file": export_format.file, "runtime": export_format.runtime, "noisy": export_format.noisy}
        found |= benchmark.file_sizes(file)
        loaders[export_format.title] = functools.partial(export_format.load, file)
        if "scores" not in found:
            function = export_format.load(file)
            draws = section.draws if export_format.noisy else 1
            sets = {"clean": [images] * draws, "pgd": attacked()}
            found["scores"] = {
                name: benchmark.accuracy(function, inputs, labels, batch_size=section.batch_size).as_dict()
                for name, inputs in sets.items()
            }
        save()
    return loaders


def measure_latencies(content, loaders, images, save, *, again=False):
    """Time all artefacts of all networks in turn, unless that is done: a call of each in every round.

    Those that run in TensorFlow and those that run in TFLite are timed apart, as the threads of one would spin while
    the other works.

    Args:
        content: what goes into `artefacts.json`, filled in place: `"latency"` of every artefact, by batch size, and
            `"speedup"`, the latency of the first network over that of the last within a round, by artefact and size;
            empty for one network.
        loaders: dict from each network to what `measure_network` returned of it.
        images: float32 `(n, h, w, c)`, repeated to the size of a batch.
        save: called, without arguments, when all is measured.
        again: measure what is there anew. Defaults to `False`.
    """
    measured = {
        (name, title): content["networks"][name]["artefacts"][title] for name, of in loaders.items() for title in of
    }
    if not again and "speedup" in content and all("latency" in found for found in measured.values()):
        return
    content["speedup"] = {}
    for runtime in dict.fromkeys(found["runtime"] for found in measured.values()):
        keys = [key for key, found in measured.items() if found["runtime"] == runtime]
        functions = {(name, title): loaders[name][title]() for name, title in keys}
        for size in BATCHES:
            log.info("latency of %d artefacts of %s in turn, batch %d", len(functions), runtime, size)
            times = benchmark.latencies(functions, np.resize(images, (size, *images.shape[1:])))
            for key in keys:
                latency = benchmark.spread(times[key]) | {"calls": len(times[key])}
                measured[key].setdefault("latency", {})[str(size)] = latency
            if len(loaders) > 1:
                _compare(content["speedup"], times, *loaders, size=size)
    save()


def _compare(speedup, times, before, after, *, size):
    """Fill in how many times as fast an artefact is after pruning, within a round of calls."""
    for name, title in times:
        if name == before and (after, title) in times:
            ratio = benchmark.spread(times[before, title] / times[after, title])
            speedup.setdefault(title, {})[str(size)] = ratio


def start_over(content, name, folder, path):
    """What was measured of the network in the file `path`; of another one it is forgotten, its artefacts removed."""
    entry = content["networks"].setdefault(name, {})
    identity = digest(path)
    if entry.get("identity") != identity:
        entry.clear()
        content.pop("speedup", None)
        shutil.rmtree(folder, ignore_errors=True)
        entry["identity"] = identity
    return entry
