"""SavedModels, as they would be served: opened and looked at in one place, and attacked."""

import contextlib
from pathlib import Path

import tensorflow as tf

from rsr_tf import evaluation
from rsr_tf.config.schema import UserError, parse_config
from rsr_tf.experiment import builders as build
from rsr_tf.experiment import evaluate as assess
from rsr_tf.experiment.run_folder import RunFolder, suite_name
from rsr_tf.export import saved_model as export


def open_saved_model(path):
    """The endpoints of a SavedModel, and what was written beside it.

    Args:
        path: its folder.

    Returns:
        A dict with a `model_fn` for `"serve"` and, if there is one, `"serve_deterministic"`; and the dict of
        `rsr_tf.json`, empty where there is none.

    Raises:
        UserError: for a folder that cannot be read, or has no endpoint `serve` of one input.
    """
    with build.user_errors():
        metadata = export.read_metadata(path)
    try:
        loaded = tf.saved_model.load(path)
    except Exception as error:  # whatever TensorFlow makes of a broken folder
        raise UserError(f"cannot read the SavedModel {path}: {type(error).__name__}") from error
    if not (hasattr(loaded, "serve") and "serving_default" in loaded.signatures):
        raise UserError(f"the SavedModel {path} has no endpoint `serve`")
    _, inputs = loaded.signatures["serving_default"].structured_input_signature
    if len(inputs) != 1:
        raise UserError(f"the SavedModel {path} must take one input. Received: {', '.join(sorted(inputs))}")
    names = [name for name in ("serve", "serve_deterministic") if hasattr(loaded, name)]
    return {name: _keeping(loaded, evaluation.as_model_fn(getattr(loaded, name))) for name in names}, metadata


def _keeping(loaded, model_fn):
    """The endpoints of a SavedModel alone do not hold its variables; this keeps the whole of it."""
    return lambda x: (loaded, model_fn(x))[1]


def networks_of(endpoints, metadata):
    """The endpoints as `rsr_tf.experiment.assess.variants` names them: what serves, and without its noise.

    Args:
        endpoints, metadata: of `open_saved_model`. What was not exported here is taken for noisy.
    """
    if not metadata.get("noisy", True):
        return {"stripped": endpoints["serve"]}
    names = {"noisy": "serve"} | ({"stripped": "serve_deterministic"} if metadata.get("noisy") else {})
    return {name: endpoints[endpoint] for name, endpoint in names.items() if endpoint in endpoints}


def evaluate_saved_model(path, config=None, overrides=(), suite=None, count=None, output=None):
    """Attack a SavedModel as it would be served: `serve`, and `serve_deterministic` if it has one.

    Args:
        path: folder of the SavedModel.
        config: a `Config`; `None` takes the one that was exported with it.
        overrides: changes to the exported config, as for `rsr_tf.config.load_config`.
        suite: `None`, the default, for the attacks of the config, or the name of a suite.
        count: number of test images that a suite draws; `None`, the default, for its own.
        output: path of a folder for the state of the suite, its verdict and the report. `None` keeps nothing.

    Returns:
        A dict from the name of the endpoint to its scores as plain numbers; of a suite, the verdict.

    Raises:
        UserError: for a folder that cannot be read, or has no config or no endpoint `serve`; for an `output` that
            belongs to something else.
    """
    endpoints, metadata = open_saved_model(path)
    if config is None:
        exported = metadata.get("config")
        if exported is None:
            raise UserError(f"{path} was not exported by `rsr`; give the data and the attack with --config")
        config = parse_config(exported, overrides, source=path)
    data_set = build.load_data(config)
    assess.check_fits(endpoints, data_set, path)
    if suite is None:
        images, labels = assess.test_images(data_set, config)
        return {name: assess.attack(model_fn, images, labels, config, name) for name, model_fn in endpoints.items()}
    networks = networks_of(endpoints, metadata)
    if output is None:
        return assess.judge(networks, data_set.test.pixels(), data_set.test.labels, config, suite, n=count)
    head = assess.describe_network(config, data_set, "exported", metadata.get("sparsity"))
    if "config" not in metadata:  # not made here: the config says what to attack it with, not what it is
        head |= {"model": Path(path).name, "scheme": "SavedModel"}
    with _claimed(output, config) as folder:
        return assess.judge_into(
            folder,
            suite_name(suite, images=count),
            networks,
            data_set,
            config,
            suite,
            head=head,
            n=count,
            identity=assess.digest(Path(path)),
        )


@contextlib.contextmanager
def _claimed(output, config):
    """The folder of an evaluation: like that of a run, but without one in it."""
    folder, values = RunFolder(output), config.model_dump()
    with build.user_errors(), build.disk_errors(output):
        folder.check(values, lambda stored: parse_config(stored, source=folder.config).model_dump())
        if folder.model.exists() or folder.checkpoints.exists():
            raise UserError(f"{output} is the folder of a training. Choose another --output")
        folder.claim(values, assess.versions())
    try:
        yield folder
    finally:
        folder.release()
