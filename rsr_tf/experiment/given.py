"""Networks in `.keras` files that no run made: their data and attacks come from the options of a command."""

import functools
import logging
from pathlib import Path

from rsr_tf import pruning
from rsr_tf.choices import MODELS
from rsr_tf.config import CONFIG_FILE, parse_config
from rsr_tf.errors import UserError, disk_errors, user_errors
from rsr_tf.experiment import export_benchmark
from rsr_tf.experiment.ball import choose_ball
from rsr_tf.experiment.builders import load_data
from rsr_tf.experiment.evaluate import attack_network, claimed, evaluation_images, write_verdict
from rsr_tf.experiment.load import check_fits, load_network, twins, variants
from rsr_tf.experiment.provenance import describe_network, versions
from rsr_tf.experiment.report import refresh_report, write_report_page
from rsr_tf.experiment.run_folder import RunFolder, suite_name
from rsr_tf.export.saved_model import export_saved_model
from rsr_tf.files import replacing
from rsr_tf.identity import content_hash
from rsr_tf.layers import reseed_noise

log = logging.getLogger(__name__)

GIVEN = "given"
"""Name of such a network where a run has `"pruned"` or `"trained"`."""
SECTIONS = ("seed", "data", "evaluation")
"""What a config says of it: nothing of how it was made."""
UNKNOWN = {"model": {"name": MODELS[0]}}
"""What stands for the rest, which no command reads."""


def is_given(path):
    """Return whether a path names a `.keras` file outside of a run folder."""
    return Path(path).suffix == ".keras" and not (Path(path).parent / CONFIG_FILE).exists()


def given_config(data, directory=None, overrides=()):
    """Return the config of a network that no run made.

    Args:
        data: value of `data.name`.
        directory: value of `data.directory`. Defaults to `None`, for none.
        overrides: changes such as `"evaluation.epsilon=0.1"`, of `SECTIONS` alone.

    Returns:
        A `Config`.

    Raises:
        UserError: for a wrong value, or an override of another section.
    """
    for override in overrides:
        if override.partition("=")[0].partition(".")[0].strip() not in SECTIONS:
            raise UserError(f"--set {override}: a network that no run made has keys of {', '.join(SECTIONS)} only")
    values = {"data": {"name": data, **({"directory": directory} if directory else {})}, **UNKNOWN}
    return parse_config(values, overrides, source="--data")


def evaluate_given(path, config, suite=None, num_images=None, output=None, *, norm=None, epsilon=None):
    """Attack the network of a `.keras` file, with and without its noise.

    Args:
        path: path of the file.
        config: a `Config`, see `given_config`.
        suite: one of `rsr_tf.choices.SUITES`; `None`, the default, runs the attacks of the config and stores nothing.
        num_images: number of test images that the suite draws. Defaults to that of the suite.
        output: path of a folder for state and verdict of the suite and the report. Defaults to `runs/NAME`.
        norm, epsilon: the ball of the suite, as for `rsr_tf.experiment.ball.choose_ball`.

    Returns:
        A JSON-serializable dict: the scores with and without noise, see `attack_network`, or the verdict of the suite.

    Raises:
        UserError: if the file cannot be read, the network does not fit the data, or `output` is used for something
            else.
    """
    model, data_set = _open(path), load_data(config)
    with user_errors():
        networks = variants(model, config.evaluation.ensemble)
    check_fits(networks, data_set, path)
    if suite is None:
        images, labels = evaluation_images(data_set, config)
        return {name: attack_network(model_fn, images, labels, config, name) for name, model_fn in networks.items()}
    ball = choose_ball(config, norm, epsilon)
    with _folder_of(path, config, output) as folder:
        verdict = write_verdict(
            folder,
            suite_name(suite, num_images=num_images, ball=ball.name),
            networks,
            data_set,
            config,
            suite,
            head=describe_network(config, data_set, GIVEN, _sparsity(model)) | _title(path),
            num_images=num_images,
            **ball.options,
            identity=content_hash(Path(path)),
            twins=twins(model, config.evaluation.ensemble),
            reseed=functools.partial(reseed_noise, model),
        )
        with disk_errors(folder.path):
            write_report_page(folder)
    return verdict


def measure_given(path, config, output=None, again=False):
    """Write the network of a `.keras` file in every export format, and measure the files. Keeps earlier results.

    Args:
        path, config: as for `evaluate_given`.
        output: path of a folder for the files and `artefacts.json`. Defaults to `runs/NAME`.
        again: whether to repeat the latency measurements. Defaults to `False`.

    Raises:
        UserError: as for `evaluate_given`.
    """
    model, data_set = _open(path), load_data(config)
    with user_errors():
        check_fits(variants(model), data_set, path)
    with _folder_of(path, config, output) as folder, user_errors(), disk_errors(folder.path):
        content = export_benchmark.describe(config, data_set) | folder.read_artefacts()
        content["model"] = Path(path).stem
        options = {"data_set": data_set, "config": config, "again": again}
        export_benchmark.measure_all({GIVEN: Path(path)}, lambda _: model, content, folder, **options)
        log.info("artefacts: %s", folder.measured_artefacts)
        refresh_report(folder)


def prune_given(path, output, sparsity):
    """Prune the network of a `.keras` file, without fine-tuning, and save it as another one.

    Args:
        path: path of the file.
        output: path of the new file, which must not exist.
        sparsity: share of the weights to prune, in [0, 1].

    Raises:
        UserError: if the file cannot be read, or the network has nothing to prune.
    """
    output = Path(output)
    if output.suffix != ".keras" or output.exists():
        raise UserError(f"--output must be a new file that ends with .keras. Received: {output}")
    model = _open(path)
    with user_errors(), disk_errors(output.parent):
        pruning.prune(model, sparsity=sparsity)
        with replacing(output) as temporary:
            model.save(temporary)
    log.info("%s", pruning.sparsity_table(model))
    log.info("pruned: %s", output)


def export_given(path, output=None):
    """Write the network of a `.keras` file as a SavedModel.

    Args:
        path: path of the file.
        output: path of the folder, which must not exist. Defaults to `runs/NAME/saved_model`.

    Raises:
        UserError: if the file cannot be read, the network cannot be exported, or the folder exists.
    """
    output = Path(output or _default_folder(path) / "saved_model")
    if output.exists():
        raise UserError(f"--output must be a new folder. Received: {output}")
    model = _open(path)
    metadata = {"sparsity": _sparsity(model), "versions": versions()}
    with user_errors(), disk_errors(output):
        export_saved_model(model, output, metadata=metadata)
    log.info("exported: %s", output)
    refresh_report(RunFolder(output.parent))


def _open(path):
    if not Path(path).is_file():
        raise UserError(f"{path}: no such file")
    return load_network(Path(path))


def _sparsity(model):
    """Return the share of pruned weights, or `None` for a network without kernels to prune."""
    try:
        return pruning.sparsity(model)
    except ValueError:
        return None


def _title(path):
    return {"model": Path(path).stem, "scheme": "Keras file"}


def _default_folder(path):
    return Path("runs") / Path(path).stem


def _folder_of(path, config, output):
    """Claim the folder for the results of a file; it remembers which file it belongs to."""
    about = {"network": {"file": Path(path).name, "sha256": content_hash(Path(path))}}

    def known(values):
        return {section: values[section] for section in SECTIONS if section in values}

    def complete(stored):
        full = parse_config(
            {**known(stored), **UNKNOWN}, source=f"{output or _default_folder(path)}/{CONFIG_FILE}"
        ).model_dump()
        return {**stored, **known(full)}

    return claimed(output or _default_folder(path), {**known(config.model_dump()), **about}, complete)
