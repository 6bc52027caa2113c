"""Write networks in all export formats, and compute the contents of `artefacts.json`: size, latency, accuracy."""

import functools
import logging
import shutil

import keras
import numpy as np

from rsr_tf import progress, pruning
from rsr_tf.attacks import ensemble
from rsr_tf.errors import first_line
from rsr_tf.experiment.evaluate import TEST_IMAGES, evaluation_images
from rsr_tf.experiment.provenance import attack_parameters, describe_machine
from rsr_tf.export import benchmark, formats
from rsr_tf.files import replacing
from rsr_tf.identity import content_hash
from rsr_tf.validation import fingerprint

log = logging.getLogger(__name__)

CALIBRATION = 500
"""Number of training images for the calibration of int8."""
BATCHES = (1, 128)
"""Batch sizes at which latency is measured."""


def describe(config, data_set):
    """Return the head of `artefacts.json`.

    Args:
        config: a `Config`.
        data_set: a `DataSet`.
    """
    return {
        "data": data_set.title,
        "model": config.model.title,
        "seed": config.seed,
        "attack": {**attack_parameters(config), "repeats": config.evaluation.draws},
        "calibration_images": min(CALIBRATION, len(data_set.train)),
        "networks": {},
    }


def measure_all(paths, load, content, run_folder, *, data_set, config, again=False):
    """Write networks in every export format, and measure what `artefacts.json` lacks.

    Args:
        paths: dict from the name of each network to the `Path` of its `.keras` file.
        load: function from a `Path` to the Keras model.
        content: earlier contents of `artefacts.json`, updated in place.
        run_folder: a `RunFolder`.
        data_set: a `DataSet`.
        config: a `Config`.
        again: whether to repeat the latency measurements. Defaults to `False`.
    """
    content["machine"] = describe_machine()

    def save():
        run_folder.write_artefacts(content)

    loaders = {}
    for name, path in paths.items():
        folder = run_folder.artefacts / name
        entry = entry_of(content, name, folder, path)
        loaders[name] = measure_network(load(path), entry, folder, data_set=data_set, config=config, save=save)
    images, _ = evaluation_images(data_set, config)
    measure_latencies(content, loaders, images, save, again=again)
    log.info("%s", benchmark.format_table(content))


def measure_network(model, entry, folder, *, data_set, config, save):
    """Write a network in every export format, and measure missing sizes and accuracies.

    Args:
        model: a Keras model.
        entry: dict with earlier measurements, updated in place.
        folder: `Path` of the folder for the files.
        data_set: a `DataSet`.
        config: a `Config`.
        save: function without arguments that is called after each measurement.

    Returns:
        A dict from the title of each format to a function without arguments that loads its file. Formats that cannot
        hold this network are left out, with a warning.
    """
    images, labels = evaluation_images(data_set, config)
    section = config.evaluation
    keras.utils.set_random_seed(config.seed)

    @functools.cache
    def attacked():
        options = {"repeats": section.draws, "batch_size": section.batch_size, **attack_parameters(config)}
        return benchmark.transferred_images(model, images, labels, **options)

    entry |= {"sparsity": pruning.sparsity(model), "dense_bytes": benchmark.dense_bytes(model)}
    measured, loaders = entry.setdefault("artefacts", {}), {}
    _drop_scores_of_others(entry, fingerprint(images, labels))
    found = formats.export_formats(model, calibration=data_set.train.first(CALIBRATION).pixels())
    told = progress.track(found, "format", title="artefacts", note=lambda export_format: export_format.title)
    for export_format in told:
        if export_format.title == "SavedModel, noisy" and config.training.deterministic:
            log.info("%s: not measured, as its noise does not run with training.deterministic", export_format.title)
            continue
        file = folder / export_format.file
        if not _is_written(export_format, model, file):
            measured.pop(export_format.title, None)
            continue
        found = measured.setdefault(export_format.title, {})
        found |= {"file": export_format.file, "runtime": export_format.runtime, "noisy": export_format.noisy}
        found |= benchmark.file_sizes(file)
        loaders[export_format.title] = functools.partial(export_format.load, file)
        if "scores" not in found:
            function, repeats = export_format.load(file), 1
            if export_format.noisy:
                function, repeats = ensemble(function, section.ensemble), section.draws
            sets = {"clean": [images] * repeats, "pgd": attacked()}
            found["scores"] = {
                name: benchmark.accuracy(function, inputs, labels, batch_size=section.batch_size).as_dict()
                for name, inputs in sets.items()
            }
        save()
    return loaders


def _is_written(export_format, model, file):
    """Write a network unless the file exists; return whether it does now, as not every network fits every format."""
    if not file.exists():
        try:
            with replacing(file) as temporary:
                export_format.write(model, temporary)
        except ValueError as error:
            log.warning("%s: left out. %s", export_format.title, first_line(error))
    return file.exists()


def _drop_scores_of_others(entry, images):
    """Remove the accuracies in the entry of a network if they are of other test images; `images` is a fingerprint."""
    if entry.setdefault(TEST_IMAGES, images) != images:
        log.info("the test images have changed since the exported files were attacked: attacking them again")
        entry[TEST_IMAGES] = images
        for found in entry["artefacts"].values():
            found.pop("scores", None)


def measure_latencies(content, loaders, images, save, *, again=False):
    """Measure the latency of all files of all networks, in rounds with one call of each, unless it is known.

    Files that run in TensorFlow and files that run in TFLite are measured separately, because idle threads of one
    runtime would slow down the other.

    Args:
        content: contents of `artefacts.json`, updated in place: `"latency"` of every format by batch size, and
            `"speedup"`, the latency of the first network divided by that of the last in the same round, by format and
            batch size; empty for a single network.
        loaders: dict from network to the result of `measure_network`.
        images: float32 `(n, h, w, c)`, repeated to fill a batch.
        save: function without arguments that is called at the end.
        again: whether to repeat known measurements. Defaults to `False`.
    """
    measured = {
        (name, title): content["networks"][name]["artefacts"][title]
        for name, files in loaders.items()
        for title in files
    }
    if not again and "speedup" in content and all("latency" in found for found in measured.values()):
        return
    content["speedup"] = {}
    for runtime in dict.fromkeys(found["runtime"] for found in measured.values()):
        keys = [key for key, found in measured.items() if found["runtime"] == runtime]
        functions = {(name, title): loaders[name][title]() for name, title in keys}
        for size in BATCHES:
            log.info("latency of %d files in %s, batch size %d", len(functions), runtime, size)
            times = benchmark.latencies(functions, np.resize(images, (size, *images.shape[1:])))
            for key in keys:
                latency = benchmark.spread(times[key]) | {"calls": len(times[key])}
                measured[key].setdefault("latency", {})[str(size)] = latency
            if len(loaders) > 1:
                _add_speedup(content["speedup"], times, *loaders, size=size)
    save()


UNSTABLE = 1.25
"""Quartiles of a speedup in this relation or a larger one say more of the machine than of the network."""


def _add_speedup(speedup, times, before, after, *, size):
    """Add the ratios of latencies before and after pruning, each within a round of calls."""
    for name, title in times:
        if name == before and (after, title) in times:
            ratio = benchmark.spread(times[before, title] / times[after, title])
            low, high = ratio["quartiles"]
            speedup.setdefault(title, {})[str(size)] = ratio | {"unstable": high > UNSTABLE * low}


def entry_of(content, name, folder, path):
    """Return the entry of a network, empty and without exported files if they belong to another network.

    Args:
        content: contents of `artefacts.json`, updated in place.
        name: name of the network in it.
        folder: `Path` of the folder with the exported files.
        path: `Path` of the `.keras` file of the network.
    """
    entry = content["networks"].setdefault(name, {})
    identity = content_hash(path)
    if entry.get("identity") != identity:
        entry.clear()
        content.pop("speedup", None)
        shutil.rmtree(folder, ignore_errors=True)
        entry["identity"] = identity
    return entry
