"""Load a finished network from a run folder, a `.keras` file or a SavedModel."""

import functools
import itertools
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from rsr_tf import evaluation
from rsr_tf.attacks import average_over_draws
from rsr_tf.config import Config, load_config, parse_config
from rsr_tf.errors import UserError, first_line, user_errors
from rsr_tf.experiment.classes import check_classes
from rsr_tf.experiment.draws import averaged, draws_of_exported, named, twins_of_mean
from rsr_tf.experiment.result_schema import check_result
from rsr_tf.experiment.run_folder import RunFolder
from rsr_tf.export.saved_model import METADATA, read_metadata
from rsr_tf.files.arrays import check_expansion
from rsr_tf.identity import content_hash
from rsr_tf.layers import draws_noise, float_twin, prunable_kernels, reseed_noise, wide_twin
from rsr_tf.layers.conversion import enclosed_noise, in_float32, strip
from rsr_tf.layers.quantized_relu import quantized_activations


@dataclass(frozen=True)
class FinishedNetwork:
    """A network to attack, with and without its noise.

    Args:
        name: string for tables: the name of its run folder, and of its file unless that is `pruned.keras`.
        folder: `Path` of the run folder, or of the SavedModel.
        config: the `Config` that it was trained with.
        networks: dict with `"noise_on"`, `"noise_off"` or both, each a `model_fn`. A network from a `.keras` file
            computes in float32 even if it was trained in mixed precision: black-box attacks need small differences of
            scores.
        identity: string, a hash of its files, with the precision if it is not that of the file.
        reseed: function of an integer that restarts its noise; it does nothing for a SavedModel.
        classes: list of the names of its classes in their order; empty if they are unknown.
    """

    name: str
    folder: Path
    config: Config
    networks: dict
    identity: str
    reseed: Callable
    classes: list


def open_finished(path, overrides=(), given=None):
    """Open a finished network.

    Args:
        path: a run folder, for its pruned network, a `.keras` file in one, or a SavedModel that `rsr` exported and
            that you trust, as its graph is code.
        overrides: changes to the stored config, such as `"data.directory=FOLDER"`; see `rsr_tf.config.load_config`.
        given: the `Config` of `.keras` files that are in no run folder. Defaults to `None`, which takes no such file.

    Returns:
        A `FinishedNetwork`.

    Raises:
        UserError: if config or network is missing or cannot be read.
    """
    path = Path(path)
    if (path / "saved_model.pb").exists():
        return _open_exported(path, overrides)
    folder = RunFolder(path.parent if path.suffix == ".keras" else path)
    if given is not None and path.suffix == ".keras" and not folder.config.exists():
        config, own = given, Path("runs") / path.stem
    elif folder.config.exists():
        config, own = load_config(folder.path, overrides), folder.path
    else:
        raise UserError(f"{path} is neither a run folder, nor a .keras file in one, nor a SavedModel")
    file = path if path.suffix == ".keras" else folder.pruned
    with user_errors():
        model = in_float32(load_network(file))
        classes = RunFolder(own).read_evaluation().get("class_names", [])
    name, draws = own.resolve().name, config.evaluation.ensemble
    return FinishedNetwork(
        name if own != folder.path or file.name == folder.pruned.name else f"{name}/{file.stem}",
        own,
        config,
        variants(model, draws),
        named(f"{content_hash(file)} in float32", draws),
        functools.partial(reseed_noise, model),
        classes,
    )


def _open_exported(path, overrides):
    endpoints, metadata = open_saved_model(path)
    if "config" not in metadata:
        raise UserError(f"{path} was not exported by `rsr`, so its data is unknown")
    config = parse_config(metadata["config"], overrides, source=path)
    name, draws = "/".join(path.resolve().parts[-2:]), draws_of_exported(config, metadata)
    networks, classes = networks_of(endpoints, metadata, draws), metadata.get("classes", [])
    return FinishedNetwork(name, path, config, networks, named(content_hash(path), draws), lambda seed: None, classes)


def load_network(path, data_set=None):
    """Load a Keras model from a file.

    Args:
        path: `Path` of a `.keras` file.
        data_set: the `DataSet` that the network must have been trained on, see `check_own`. Defaults to `None`, which
            does not check it.

    Raises:
        UserError: if the file is missing or cannot be read, or the network is another one.
    """
    if not path.exists():
        raise UserError(f"{path} not found. Run `rsr train` or `rsr prune` first")
    model = read_model(path)
    if data_set is not None:
        check_own(model, data_set, path)
    return model


def read_model(path):
    """Read a Keras model from a `.keras` file, whatever network it is.

    Args:
        path: `Path` of the file.

    Raises:
        UserError: if the file cannot be read, or has layers of classes that nothing has imported.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            check_expansion(archive)
        return keras.models.load_model(path)
    except Exception as error:  # zipfile, h5py and Keras raise many kinds for a broken file
        unknown = re.search(r"Could not locate \w+ '\w+'", str(error))
        if unknown:
            cause = f"{unknown[0]}. If it is yours, import its module: rsr --import MODULE ..."
        else:
            cause = first_line(error)
        raise UserError(f"cannot read the model {path}: {cause}") from error


def check_own(model, data_set, path):
    """Check that a network of a run folder is one that a run on this data can have written.

    Args:
        model: what Keras has loaded.
        data_set: a `DataSet`.
        path: `Path` of the file, for messages.

    Raises:
        UserError: if its input, its outputs or its kinds of layers are others, a weight is not finite, or the run has
            results for other numbers of the classes.
    """
    expected = [(None, *data_set.image_shape)], [(None, len(data_set.class_names))]
    found = tuple(
        [tuple(tensor.shape) for tensor in getattr(model, name, None) or []] for name in ("inputs", "outputs")
    )
    if found != expected:
        shapes = [" and ".join(map(str, shapes)) or "none" for shapes in (*expected, *found)]
        raise UserError(
            f"{path} is not a network of this run: it must map images {shapes[0]} to logits {shapes[1]}. "
            f"Received: {shapes[2]} to {shapes[3]}"
        )
    if not prunable_kernels(model):
        raise UserError(f"{path} is not a network of this run: it has no kernel to prune")
    for weight in model.weights:
        if not np.all(np.isfinite(weight.numpy())):
            raise UserError(f"{path} is damaged: its weight {weight.path} is not finite")
    with user_errors():
        known = RunFolder(path.parent).read_evaluation().get("class_names", [])
    check_classes(known, data_set, path.parent)


def variants(model, draws=1):
    """Return a Keras model with and without its noise.

    Args:
        model: a Keras model.
        draws: integer, number of draws of the noise whose mean probabilities are one prediction. Defaults to 1.

    Returns:
        A dict of `model_fn`s: `"noise_on"`, unless the model has no noise, and `"noise_off"`, unless it has noise that
        `strip` cannot remove.
    """
    networks = {} if enclosed_noise(model) else {"noise_off": evaluation.as_model_fn(strip(model, fold=True))}
    if not draws_noise(model):
        return networks
    return {"noise_on": averaged(evaluation.as_model_fn(model), draws), **networks}


def twins(model, draws=1):
    """Return further networks on which attacks on a model are crafted, as its own gradients may mislead.

    Args:
        model: a Keras model.
        draws: as for `variants`.

    Returns:
        A dict of `model_fn`s for the argument `twins` of `rsr_tf.evaluation.run_suite`: for quantized activations the
        twins without rounding and with a wider gradient, for an ensemble the mean of the gradients. All twins of an
        ensemble average as many draws as it does.
    """
    found, draws = {}, draws if draws_noise(model) else 1
    if quantized_activations(model):
        twin_models = {"without rounding": float_twin(model), "with a wider gradient": wide_twin(model)}
        for name, twin in twin_models.items():
            found[name] = averaged(evaluation.as_model_fn(twin), draws, average_over_draws)
    return found | twins_of_mean(evaluation.as_model_fn(model), draws)


def open_saved_model(path):
    """Load the endpoints of a SavedModel that you trust, and the metadata that `rsr export` writes.

    Its graph is code, which TensorFlow runs: it can read and write files.

    Args:
        path: folder of the SavedModel.

    Returns:
        A dict with a `model_fn` for `"serve"` and, if the endpoint exists, `"serve_deterministic"`; and the contents of
        `rsr_tf.json`, an empty dict without that file.

    Raises:
        UserError: if the folder cannot be read, or has no endpoint `serve` with one input of floating-point numbers.
    """
    with user_errors():
        metadata = read_metadata(path)
        check_result(Path(path) / METADATA, metadata)
    try:
        loaded = tf.saved_model.load(path)
    except Exception as error:  # TensorFlow raises many kinds for a broken folder
        raise UserError(f"cannot read the SavedModel {path}: {type(error).__name__}") from error
    if not (hasattr(loaded, "serve") and "serving_default" in loaded.signatures):
        raise UserError(f"the SavedModel {path} has no endpoint `serve`")
    _, inputs = loaded.signatures["serving_default"].structured_input_signature
    if len(inputs) != 1:
        raise UserError(f"the SavedModel {path} must take one input. Received: {', '.join(sorted(inputs))}")
    names = [name for name in ("serve", "serve_deterministic") if hasattr(loaded, name)]
    try:
        return {name: evaluation.as_model_fn(loaded, endpoint=name) for name in names}, metadata
    except ValueError as error:
        raise UserError(f"cannot evaluate the SavedModel {path}: {first_line(error)}") from error


def networks_of(endpoints, metadata, draws):
    """Return the endpoints of a SavedModel under the names that `variants` uses, and with the same predictions.

    Args:
        endpoints, metadata: as returned by `open_saved_model`. A SavedModel without metadata is taken to be noisy.
        draws: integer, see `draws_of_exported`.
    """
    endpoints = endpoints | {"serve": averaged(endpoints["serve"], draws)}
    if not metadata.get("noisy", True):
        return {"noise_off": endpoints["serve"]}
    names = {"noise_on": "serve"} | ({"noise_off": "serve_deterministic"} if metadata.get("noisy") else {})
    return {name: endpoints[endpoint] for name, endpoint in names.items() if endpoint in endpoints}


def check_fits(networks, data_set, path, classes=()):
    """Check that networks classify the images of a data set.

    Args:
        networks: dict from name to `model_fn`.
        data_set: a `DataSet`; each network is called with one of its test images, twice and three times.
        path: name of the networks in messages.
        classes: names of the classes that they were trained with, see `check_classes`. Defaults to none.

    Raises:
        UserError: if a network does not take the images, or returns too few logits, or too few rows of them, or its
            classes have other numbers.
    """
    check_classes(list(classes), data_set, path)
    image, least = data_set.test.first(1).pixels(), len(data_set.class_names)
    for model_fn, count in itertools.product(networks.values(), (2, 3)):
        images = np.repeat(image, count, axis=0)
        try:
            logits = model_fn(tf.constant(images))
        except Exception as error:  # TensorFlow and Keras raise many kinds for images of another shape
            raise UserError(f"{path} does not take images of shape {images.shape}: {first_line(error)}") from error
        if logits.shape.rank != 2 or logits.shape[-1] < least:
            raise UserError(
                f"{path} must return logits of at least the {least} classes of the data. Received: {logits.shape[1:]}"
            )
        if logits.shape[0] != count:
            raise UserError(f"{path} must return a row of logits for each of {count} images. Received: {logits.shape}")
