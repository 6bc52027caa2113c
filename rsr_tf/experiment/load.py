"""Networks that are finished, to be attacked where they lie: in a run folder, or as a SavedModel."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rsr_tf.config.schema import Config, UserError, load_config, parse_config
from rsr_tf.experiment import builders as build
from rsr_tf.experiment import evaluate as assess
from rsr_tf.experiment.run_folder import RunFolder
from rsr_tf.experiment.saved_model import networks_of, open_saved_model
from rsr_tf.layers import reseed_noise
from rsr_tf.layers.conversion import in_float32


@dataclass(frozen=True)
class Finished:
    """A network as attacks want it.

    Args:
        name: what it is called in a table: its run folder, and its file unless that is the pruned network's.
        folder: the run folder, or that of the SavedModel.
        config: what it was made by, which names its data.
        networks: dict with `"noisy"`, `"stripped"` or both, each a `model_fn`; that of a `.keras` file computes in
            float32 whatever it was trained in, since black-box attacks live on small differences of scores.
        identity: hash of its file or files, and the precision where it isn't their own.
        reseed: function of an integer that restarts its noise, if that can be.
    """

    name: str
    folder: Path
    config: Config
    networks: dict
    identity: str
    reseed: Callable


def open_finished(path, overrides=()):
    """A network and what goes with it.

    Args:
        path: a run folder, for its pruned network, a `.keras` file in one, or a SavedModel that `rsr` exported.
        overrides: changes to the config that lies there, such as `"data.directory=FOLDER"`.

    Returns:
        A `Finished`.

    Raises:
        UserError: for a folder without a config or network, or one that cannot be read.
    """
    path = Path(path)
    if (path / "saved_model.pb").exists():
        return _open_saved_model(path, overrides)
    folder = RunFolder(path.parent if path.suffix == ".keras" else path)
    if not folder.config.exists():
        raise UserError(f"{path} is neither a run folder, nor a .keras file in one, nor a SavedModel")
    config = load_config(folder.path, overrides)
    file = path if path.suffix == ".keras" else folder.pruned
    model, name = in_float32(build.load_network(file)), folder.path.resolve().name
    return Finished(
        name if file.name == folder.pruned.name else f"{name}/{file.stem}",
        folder.path,
        config,
        assess.variants(model),
        f"{assess.digest(file)} in float32",
        functools.partial(reseed_noise, model),
    )


def _open_saved_model(path, overrides):
    endpoints, metadata = open_saved_model(path)
    if "config" not in metadata:
        raise UserError(f"{path} was not exported by `rsr`, so its data is unknown")
    config = parse_config(metadata["config"], overrides, source=path)
    name = "/".join(path.resolve().parts[-2:])
    return Finished(name, path, config, networks_of(endpoints, metadata), assess.digest(path), lambda seed: None)
