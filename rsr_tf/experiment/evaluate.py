"""What a network is worth, as plain numbers for `evaluation.json`: scores under attack, weights, a few images."""

import base64
import hashlib
import importlib.metadata
import logging

import keras
import numpy as np
import tensorflow as tf

from rsr_tf import evaluation, pruning
from rsr_tf.config.schema import UserError
from rsr_tf.errors import first_line
from rsr_tf.experiment import builders as build
from rsr_tf.experiment.report import write_page
from rsr_tf.layers import noisy_layers
from rsr_tf.layers.conversion import strip

log = logging.getLogger(__name__)

VERSIONED = ("rsr_tf", "tensorflow", "keras", "cleverhans", "numpy")
HISTOGRAM_EDGES = np.linspace(-0.305, 0.305, 62)
"""Edges of Fig. 1, one bin in the middle of which is zero."""
GAMMAS = [mantissa * 10.0**power for power in range(-6, 0) for mantissa in (1, 2, 5)]


def scheme_name(config):
    """Name the training scheme of a config: those of Table 1, their ancestor PNI, and the group lasso beside them.

    Args:
        config: a `Config`.

    Returns:
        `"PGD training"`, `"CNI"`, `"Lasso"`, `"RSR"`, `"PNI"` for noise by layer or weight, or one of these with the
        penalty that it has in addition.
    """
    section = config.model
    if not config.attack.steps:
        return "training without attack"
    noise = {"none": "", "channel": "CNI", "layer": "PNI", "element": "PNI"}[section.noise]
    if noise == "CNI" and section.lasso:
        noise = "RSR"
    penalties = {"lasso": section.lasso and noise != "RSR", "group lasso": section.group_lasso}
    penalty = " and ".join(name for name, weight in penalties.items() if weight)
    if noise:
        return f"{noise} with {penalty}" if penalty else noise
    return penalty[0].upper() + penalty[1:] if penalty else "PGD training"


def describe(config, data_set, *, count):
    """What the scores of a run were measured on, and how: the head of `evaluation.json`."""
    return {
        "data": data_set.title,
        "class_names": list(data_set.class_names),
        "model": config.model.name,
        "scheme": scheme_name(config),
        "seed": config.seed,
        "attack": {**attack_parameters(config), "n": count, "draws": config.evaluation.draws},
        "training_attack": config.attack.model_dump(),
        "networks": {},
    }


def describe_network(config, data_set, network, sparsity):
    """What a verdict of a run is about: its head."""
    return {
        "data": data_set.title,
        "model": config.model.name,
        "scheme": scheme_name(config),
        "network": network,
        "sparsity": sparsity,
    }


def versions():
    """The packages that decide about a number, and their versions."""
    return {name: importlib.metadata.version(name) for name in VERSIONED}


def test_images(data_set, config):
    """The test images of the evaluation as float32 in [0,1], and their labels."""
    test = data_set.test.first(config.evaluation.images or None)
    return test.pixels(), test.labels


def attack_parameters(config):
    section = config.evaluation
    return {"epsilon": section.epsilon, "step_size": section.step_size, "steps": section.steps}


def attack(model_fn, images, labels, config, title):
    """The scores of one network as plain numbers; see `rsr_tf.evaluation.evaluate_whitebox`."""
    section = config.evaluation
    keras.utils.set_random_seed(config.seed)
    scores = evaluation.evaluate_whitebox(
        model_fn, images, labels, draws=section.draws, batch_size=section.batch_size, **attack_parameters(config)
    )
    log.info("%s: %s", title, ", ".join(f"{name} {score}" for name, score in scores.items()))
    return {name: score.as_dict() for name, score in scores.items()}


def judge(networks, images, labels, config, suite, **options):
    """The verdict of a suite of attacks on a network, as plain numbers; see `rsr_tf.evaluation.run_suite`.

    Args:
        networks: `model_fn`s by name as of `variants`, with `"noisy"` and `"stripped"`, or one of them alone.
        images, labels: the test images; the suite draws its own number of them.
        config: a `Config`.
        suite: one of `rsr_tf.choices.SUITES`.
        **options: for `run_suite`, such as `state`.
    """
    model_fn = networks.get("noisy", networks.get("stripped"))
    stripped_fn = networks["stripped"] if len(networks) > 1 else None
    section = config.evaluation
    return evaluation.run_suite(
        model_fn,
        images,
        labels,
        suite=suite,
        epsilon=section.epsilon,
        stripped_fn=stripped_fn,
        seed=config.seed,
        **options,
    )


def judge_into(folder, name, networks, data_set, config, suite, *, head, **options):
    """Judge a network, with the state of the suite and its verdict in a folder, and write the folder's report.

    Args:
        folder: a `rsr_tf.run_folder.RunFolder`.
        name: of state and verdict in it.
        networks, config, suite: as for `judge`.
        data_set: its test images are attacked.
        head: dict of plain values to go before the verdict's own.
        **options: for `run_suite`, such as `identity`.

    Returns:
        The verdict.

    Raises:
        UserError: for the state of another evaluation, or a full disk.
    """
    state = folder.suite_state(name)
    with build.user_errors(), build.disk_errors(folder.path):
        found = judge(networks, data_set.test.pixels(), data_set.test.labels, config, suite, state=state, **options)
        verdict = {**head, "versions": versions(), **found}
        folder.write_json(folder.verdict(name), verdict)
    for check in verdict["checks"]:
        log.info("%s %s: %s", "passed" if check["passed"] else "FAILED", check["name"], check["sentence"])
    log.info("verdict: %s", folder.verdict(name))
    with build.disk_errors(folder.path):
        write_page(folder)
    return verdict


def variants(model):
    """The network as trained, and without its noise if it has any."""
    networks = {"noisy": model, "stripped": strip(model, fold=True)}
    if not any(layer.noise != "none" for layer in noisy_layers(model)):
        networks.pop("noisy")
    return {name: evaluation.as_model_fn(network) for name, network in networks.items()}


def weight_statistics(model):
    """Sparsity, histogram (Fig. 1) and shares of small weights (Fig. 2c) over all conv and dense kernels."""
    table = pruning.sparsity_table(model)
    weights = np.concatenate([kernel.ravel() for kernel in pruning.effective_kernels(model).values()])
    counts, _ = np.histogram(np.clip(weights, HISTOGRAM_EDGES[0], HISTOGRAM_EDGES[-1]), HISTOGRAM_EDGES)
    return {
        "sparsity": table.sparsity,
        "weights": table.weights,
        "layers": [
            {"path": row.path, "shape": list(row.shape), "weights": row.weights, "zeros": row.zeros} for row in table
        ],
        "histogram": {"edges": HISTOGRAM_EDGES.tolist(), "counts": counts.tolist()},
        "share_below": {"gamma": GAMMAS, "share": [float(np.mean(np.abs(weights) < gamma)) for gamma in GAMMAS]},
        "scores": {},
    }


def attack_examples(networks, images, labels, config):
    """A few test images, clean and attacked, with what each of some networks makes of them, for the report.

    Args:
        networks: dict from name to Keras model.
        images: float32 `(n, h, w, c)` in [0,1].
        labels: integers `(n,)`.
        config: a `Config`.
    """
    examples = {"labels": [int(label) for label in labels], "clean": [_png(image) for image in images]}
    for name, network in networks.items():
        x_adv, clean, adversarial = evaluation.adversarial_examples(
            evaluation.as_model_fn(network), images, labels, **attack_parameters(config)
        )
        examples[name] = {
            "adversarial": [_png(image) for image in x_adv],
            "clean_predictions": clean.tolist(),
            "adversarial_predictions": adversarial.tolist(),
        }
    return examples


def digest(path):
    """What tells the content of a file from that of others; of a folder, all its files, their names included."""
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    digest = hashlib.sha256()
    for file in sorted(file for file in path.rglob("*") if file.is_file()):
        digest.update(f"{file.relative_to(path).as_posix()} {file.stat().st_size} ".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def check_fits(networks, data_set, path):
    """Raise `UserError` unless networks classify the images of a data set.

    Args:
        networks: dict from name to `model_fn`.
        data_set: a `DataSet`; two of its test images are shown to each.
        path: what the message calls the networks.
    """
    images, classes = data_set.test.first(2).pixels(), len(data_set.class_names)
    for model_fn in networks.values():
        try:
            logits = model_fn(tf.constant(images))
        except Exception as error:  # whatever TensorFlow and Keras make of other images
            raise UserError(f"{path} does not take images of shape {images.shape}: {first_line(error)}") from error
        if logits.shape.rank != 2 or logits.shape[-1] < classes:
            raise UserError(
                f"{path} must return logits of at least the {classes} classes of the data. Received: {logits.shape[1:]}"
            )


def _png(image):
    """An image `(h, w, c)` in [0,1] as a base64 PNG."""
    pixels = tf.image.convert_image_dtype(image, tf.uint8, saturate=True)
    return base64.b64encode(tf.io.encode_png(pixels).numpy()).decode()
