"""Attack networks, and compute the contents of `evaluation.json` and of the verdicts."""

import base64
import contextlib
import logging
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from rsr_tf import evaluation, pruning
from rsr_tf.config import CONFIG_FILE, parse_config
from rsr_tf.data import Split
from rsr_tf.errors import UserError, disk_errors, user_errors
from rsr_tf.experiment.ball import choose_ball
from rsr_tf.experiment.builders import load_data
from rsr_tf.experiment.draws import averaged, draws_of_exported, named, twins_of_mean
from rsr_tf.experiment.load import check_fits, networks_of, open_saved_model
from rsr_tf.experiment.provenance import SELECTION, attack_parameters, describe_network, versions
from rsr_tf.experiment.report import write_report_page
from rsr_tf.experiment.result_schema import write_result
from rsr_tf.experiment.run_folder import RunFolder, suite_name
from rsr_tf.identity import content_hash
from rsr_tf.layers import reseed_noise
from rsr_tf.training.shown_images import as_shown
from rsr_tf.validation import fingerprint

log = logging.getLogger(__name__)

HISTOGRAM_EDGES = np.linspace(-0.305, 0.305, 62)
"""Bin edges of Fig. 1; zero is in the middle of a bin."""
EXAMPLES = 8
"""Number of images that the report shows."""
TEST_IMAGES = "test_images"
"""Key of the fingerprint of the test images in the results."""
GAMMAS = [mantissa * 10.0**power for power in range(-6, 0) for mantissa in (1, 2, 5)]
"""Thresholds of Fig. 2c."""


def evaluation_images(data_set, config, earlier=None):
    """Return the test images of the evaluation as float32 in [0,1], and their labels.

    They are drawn by the seed, with the shares of the classes.

    Args:
        data_set: a `DataSet`.
        config: a `Config`.
        earlier: earlier results that are continued. Those of version 0.2.0 are of the first images. Defaults to `None`.
    """
    test, count = data_set.test, config.evaluation.images
    if earlier and earlier["attack"].get("selection") != SELECTION:
        chosen = np.arange(len(test))[: count or None]
    else:
        chosen = evaluation.draw_by_class(test.labels, count or len(test), seed=config.seed)
    chosen = Split(test.images[chosen], test.labels[chosen])
    return chosen.pixels(), chosen.labels


def continued_images(data_set, config, earlier):
    """Return the test images of an evaluation, and the earlier results that are of the same ones.

    Args:
        data_set, config, earlier: as for `evaluation_images`. Results without the entry `TEST_IMAGES`, as those of
            earlier versions, are taken to be of the same images.

    Returns:
        Images and labels as `evaluation_images` returns them, their fingerprint for the entry `TEST_IMAGES`, and
        `earlier`, or `None` if the data has changed since.
    """
    images, labels = evaluation_images(data_set, config, earlier)
    found = fingerprint(images, labels)
    if earlier and earlier.get(TEST_IMAGES, found) != found:
        return continued_images(data_set, config, None)
    return images, labels, found, earlier


def attack_network(model_fn, images, labels, config, title):
    """Attack one network with cleverhans; see `rsr_tf.evaluation.evaluate_whitebox`.

    Args:
        model_fn: see `rsr_tf.evaluation.as_model_fn`.
        images: float32 `(n, h, w, c)` in [0,1].
        labels: integers `(n,)`.
        config: a `Config`.
        title: name of the network in the log.

    Returns:
        A dict from `"clean"`, `"fgsm"` and `"pgd"` to a JSON-serializable dict, see `Score.as_dict`.
    """
    section = config.evaluation
    keras.utils.set_random_seed(config.seed)
    scores = evaluation.evaluate_whitebox(
        model_fn, images, labels, repeats=section.draws, batch_size=section.batch_size, **attack_parameters(config)
    )
    shares = ", ".join(f"{name} {score.mean:.1%} ± {score.std:.1%}" for name, score in scores.items())
    log.info("%s: %s (n=%d, %d repeats)", title, shares, len(images), section.draws)
    return {name: score.as_dict() for name, score in scores.items()}


def run_suite_on(networks, data_set, config, suite, **options):
    """Attack one network with a suite of attacks; see `rsr_tf.evaluation.run_suite`.

    Args:
        networks: dict of `model_fn`s with `"noise_on"`, `"noise_off"` or both, as returned by `variants`.
        data_set: a `DataSet`; the suite draws some of its test images.
        config: a `Config`.
        suite: one of `rsr_tf.choices.SUITES`.
        **options: for `rsr_tf.evaluation.run_suite`, such as `state`; `epsilon` defaults to that of the config.

    Returns:
        The verdict as a JSON-serializable dict.
    """
    return evaluation.run_suite(
        networks.get("noise_on", networks.get("noise_off")),
        data_set.test.pixels(),
        data_set.test.labels,
        suite=suite,
        stripped_fn=networks["noise_off"] if len(networks) > 1 else None,
        ensemble=config.evaluation.ensemble if "noise_on" in networks else 1,
        seed=config.seed,
        **{"epsilon": config.evaluation.epsilon, **options},
    )


def write_verdict(folder, name, networks, data_set, config, suite, *, head, **options):
    """Run a suite, with its state in a run folder, and write its verdict there. Resumes a stopped suite.

    Args:
        folder: a `RunFolder`.
        name: name of state and verdict, see `suite_name`.
        networks, data_set, config, suite: as for `run_suite_on`.
        head: JSON-serializable dict that precedes the contents of the verdict.
        **options: for `rsr_tf.evaluation.run_suite`, such as `identity`.

    Returns:
        The verdict.

    Raises:
        UserError: if the state belongs to another evaluation, or the disk is full.
    """
    with user_errors(), disk_errors(folder.path):
        found = run_suite_on(networks, data_set, config, suite, state=folder.suite_state(name), **options)
        verdict = {**head, "versions": versions(), **found}
        with folder.writing():
            write_result(folder.verdict(name), verdict)
    for check in verdict["checks"]:
        level, outcome = (logging.DEBUG, "passed") if check["passed"] else (logging.WARNING, "FAILED")
        log.log(level, "%s %s: %s", outcome, check["name"], check["sentence"])
    log.info("checks: %d of %d passed", sum(check["passed"] for check in verdict["checks"]), len(verdict["checks"]))
    log.info("verdict: %s", folder.verdict(name))
    return verdict


def weight_statistics(model):
    """Compute sparsity, histogram (Fig. 1) and shares of small weights (Fig. 2c) of all prunable kernels.

    Args:
        model: a Keras model.

    Returns:
        A JSON-serializable dict, with an empty dict `"scores"` to fill in.
    """
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
    """Attack a few of the test images with PGD for the report.

    Args:
        networks: dict from name to Keras model.
        images: float32 `(n, h, w, c)` in [0,1], of which `EXAMPLES` are drawn.
        labels: integers `(n,)`.
        config: a `Config`.

    Returns:
        A JSON-serializable dict with the labels, the clean images, and for each network the adversarial images and its
        predictions for both; images are base64 PNGs.
    """
    keras.utils.set_random_seed(config.seed)  # and of the noise below: the same if a run was stopped before
    chosen = evaluation.draw_by_class(labels, EXAMPLES, seed=config.seed)
    images, labels = images[chosen], labels[chosen]
    examples = {"labels": [int(label) for label in labels], "clean": [_png(image) for image in images]}
    for name, network in networks.items():
        reseed_noise(network, config.seed)
        x_adv, clean, adversarial = evaluation.adversarial_examples(
            evaluation.as_model_fn(network), images, labels, **attack_parameters(config)
        )
        examples[name] = {
            "adversarial": [_png(image) for image in x_adv],
            "clean_predictions": clean.tolist(),
            "adversarial_predictions": adversarial.tolist(),
        }
    return examples


def _png(image):
    """Encode an image `(h, w, c)` in [0,1] as a base64 PNG."""
    pixels = tf.image.convert_image_dtype(as_shown(image), tf.uint8, saturate=True)
    return base64.b64encode(tf.io.encode_png(pixels).numpy()).decode()


def evaluate_saved_model(
    path, config=None, overrides=(), suite=None, num_images=None, output=None, *, norm=None, epsilon=None
):
    """Attack a SavedModel through its endpoints `serve` and, if it exists, `serve_deterministic`.

    With `evaluation.ensemble` above 1, the network is the mean of as many draws of `serve`, as before its export.

    Args:
        path: folder of the SavedModel.
        config: a `Config`; `None`, the default, takes the exported one.
        overrides: changes to the exported config, as for `rsr_tf.config.load_config`.
        suite: one of `rsr_tf.choices.SUITES`; `None`, the default, runs the attacks of the config.
        num_images: number of test images that the suite draws. Defaults to that of the suite.
        output: path of a folder for state and verdict of the suite and the report. Defaults to `None`, which stores
            nothing.
        norm, epsilon: the ball of the suite, as for `rsr_tf.experiment.ball.choose_ball`.

    Returns:
        A JSON-serializable dict: the scores of each endpoint, see `attack_network`, or the verdict of the suite.

    Raises:
        UserError: if the SavedModel cannot be read, has no endpoint `serve` or no config, or if `output` is used for
            something else.
    """
    endpoints, metadata = open_saved_model(path)
    if config is None:
        exported = metadata.get("config")
        if exported is None:
            raise UserError(f"{path} was not exported by `rsr`. Pass data and attack with --config")
        config = parse_config(exported, overrides, source=path)
    data_set = load_data(config)
    check_fits(endpoints, data_set, path, metadata.get("classes", ()))
    shown = data_set.test.first(100).pixels()
    endpoints = {name: evaluation.with_logits(model_fn, shown) for name, model_fn in endpoints.items()}
    draws = draws_of_exported(config, metadata)
    if suite is None:
        images, labels = evaluation_images(data_set, config)
        endpoints |= {"serve": averaged(endpoints["serve"], draws)}
        return {name: attack_network(model_fn, images, labels, config, name) for name, model_fn in endpoints.items()}
    networks, ball = networks_of(endpoints, metadata, draws), choose_ball(config, norm, epsilon)
    options = {"num_images": num_images, **ball.options, "twins": twins_of_mean(endpoints["serve"], draws)}
    if output is None:
        with user_errors():
            return run_suite_on(networks, data_set, config, suite, **options)
    head = describe_network(config, data_set, "exported", metadata.get("sparsity"))
    if "config" not in metadata:  # the config tells how to attack it, but not how it was trained
        head |= {"model": Path(path).name, "scheme": "SavedModel"}
    name, identity = suite_name(suite, num_images=num_images, ball=ball.name), named(content_hash(Path(path)), draws)
    values = config.model_dump()
    with claimed(
        output, values, lambda stored: parse_config(stored, source=f"{output}/{CONFIG_FILE}").model_dump()
    ) as folder:
        options |= {"head": head, "identity": identity}
        verdict = write_verdict(folder, name, networks, data_set, config, suite, **options)
        with disk_errors(folder.path), folder.writing():
            write_report_page(folder)
    return verdict


@contextlib.contextmanager
def claimed(output, values, complete):
    """Claim a folder for the evaluation of a network that was not trained in it.

    Args:
        output: path of the folder.
        values, complete: as for `RunFolder.check`.

    Yields:
        The `RunFolder`.

    Raises:
        UserError: if the folder is used for something else.
    """
    folder = RunFolder(output, shared=True)
    try:
        with user_errors(), disk_errors(output):
            folder.check(values, complete)
            if folder.model.exists() or folder.checkpoints.exists():
                raise UserError(f"{output} is the folder of a training. Choose another --output")
            with folder.writing():
                folder.claim(values, versions())
        yield folder
    finally:
        folder.release()
