"""The metadata of the JSON files of a run: data, network, scheme, versions of packages, machine."""

import importlib.metadata
import os
import platform

import tensorflow as tf

from rsr_tf.errors import user_errors
from rsr_tf.export.saved_model import read_metadata
from rsr_tf.export.tflite import interpreter_class
from rsr_tf.identity import content_hash

VERSIONED = ("rsr_tf", "tensorflow", "keras", "cleverhans", "numpy")
"""Packages whose versions can change a result."""


SELECTION = "by class"
"""How test images are chosen: with the shares of the classes. Results without this entry are of the first ones."""


def scheme_name(config):
    """Return the name of the training scheme of a config.

    The names are those of Table 1; PNI is parametric noise injection (He et al. 2019).

    Args:
        config: a `Config`.

    Returns:
        `"PGD training"`, `"CNI"`, `"Lasso"`, `"RSR"`, `"PNI"` for noise by layer or weight, or one of these with its
        additional penalty; `"DQ"`, `"SR"`, `"DP"` or `"RSE"` for the other methods of Table 4.
    """
    section, method = config.model, _method(config)
    if method:
        return f"{method} with PGD training" if config.attack.steps else method
    if not config.attack.steps:
        return "training without attack"
    noise = {"none": "", "channel": "CNI", "layer": "PNI", "element": "PNI"}[section.noise]
    if noise == "CNI" and section.lasso:
        noise = "RSR"
    penalties = {"lasso": section.lasso and noise != "RSR", "group lasso": section.group_lasso}
    penalty = " and ".join(name for name, weight in penalties.items() if weight)
    if noise:
        scheme = f"{noise} with {penalty}" if penalty else noise
    else:
        scheme = penalty[0].upper() + penalty[1:] if penalty else "PGD training"
    objective = config.training.objective
    return scheme if objective == "adversarial-training" else f"{scheme}, objective {objective}"


def _method(config):
    """Return the name of another method of Table 4 that a config follows, or `None`."""
    section = config.model
    found = {
        "DQ": section.activation_bits or section.orthogonality,
        "SR": config.pruning.schedule == "admm",
        "RSE": section.feature_noise,
        "DP": section.image_noise and not section.feature_noise,
    }
    return " and ".join(name for name, used in found.items() if used)


def describe(config, data_set, *, num_images):
    """Return the head of `evaluation.json`: data, network, training and attack.

    Args:
        config: a `Config`.
        data_set: a `DataSet`.
        num_images: number of test images that are attacked.
    """
    return {
        "data": data_set.title,
        "class_names": list(data_set.class_names),
        "model": config.model.title,
        "scheme": scheme_name(config),
        "seed": config.seed,
        "attack": {**attack_parameters(config), "num_images": num_images, "repeats": config.evaluation.draws}
        | {"selection": SELECTION},
        "training_attack": config.attack.model_dump(),
        "networks": {},
    }


def describe_network(config, data_set, network, sparsity):
    """Return the head of a verdict: the network that was attacked.

    Args:
        config: a `Config`.
        data_set: a `DataSet`.
        network: one of `rsr_tf.choices.NETWORKS`, `"exported"` for a SavedModel, or `"given"`
            for a network that no run made.
        sparsity: share of pruned weights, or `None` if unknown.
    """
    return {
        "data": data_set.title,
        "model": config.model.title,
        "scheme": scheme_name(config),
        "network": network,
        "sparsity": sparsity,
    }


def attack_parameters(config):
    """Return epsilon, step size and number of steps of the evaluation as a dict."""
    section = config.evaluation
    return {"epsilon": section.epsilon, "step_size": section.step_size, "steps": section.steps}


def versions():
    """Return the versions of the installed packages in `VERSIONED` as a dict."""
    installed = {}
    for name in VERSIONED:
        try:
            installed[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # cleverhans is optional
            continue
    return installed


def is_exported(file, saved_model):
    """Return whether a SavedModel exists and was exported from the present file of a network.

    A SavedModel without a hash, as earlier versions wrote it, counts as exported from the present file.

    Args:
        file: `Path` of the `.keras` file of the network, which may be gone.
        saved_model: `Path` of the folder, with the hash of the network's file in its metadata.

    Raises:
        UserError: if the metadata cannot be read.
    """
    if not (saved_model.exists() and file.exists()):
        return saved_model.exists()
    with user_errors():
        hash_of_exported = read_metadata(saved_model).get("network_sha256")
    return hash_of_exported in (None, content_hash(file))


def describe_machine():
    """Return what latencies depend on: processor, cores, threads and runtimes."""
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "tflite_threads": 2,
        "tflite_runtime": interpreter_class().__module__.split(".")[0],
        "tensorflow": tf.__version__,
    }
