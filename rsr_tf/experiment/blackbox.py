"""Attacks that see no gradient of their target (Table 3): ZOO on one network, transfer between several."""

import json
import logging
import zlib
from pathlib import Path

from rsr_tf import evaluation
from rsr_tf.config.schema import UserError
from rsr_tf.experiment import builders as build
from rsr_tf.experiment import evaluate as assess
from rsr_tf.experiment.folder_lock import FolderLock
from rsr_tf.experiment.load import open_finished
from rsr_tf.files import write_text
from rsr_tf.report.charts import draw_heat_map

log = logging.getLogger(__name__)


def zoo(path, *, overrides=(), output=None, tier=1, images=200, columns=None, group=8):
    """Attack a finished network by ZOO; see `rsr_tf.evaluation.run_zoo`. A stopped attack goes on.

    Args:
        path, overrides: as for `rsr_tf.experiment.finished.open_finished`.
        output: folder for `zoo_tierN_IMAGES.json`, which gathers the columns of several calls, and the state; `None`,
            the default, is `zoo/NAME` of the run folder, with the name of the network's file.
        tier, columns, group: as for `run_zoo`.
        images: number of test images.

    Returns:
        Path of the file.

    Raises:
        UserError: for a folder without a network, data that is missing, a SavedModel without `output`, or an `output`
            that another process is at work in.
    """
    finished = open_finished(path, overrides)
    if output is None and (finished.folder / "saved_model.pb").exists():
        raise UserError("for a SavedModel, --output says where the result goes")
    file = Path(path).stem if Path(path).suffix == ".keras" else "pruned"
    folder = Path(output or finished.folder / "zoo" / file)
    data_set = build.load_data(finished.config)
    assess.check_fits(finished.networks, data_set, path)
    with build.user_errors(), build.disk_errors(folder), FolderLock(folder):
        table = evaluation.run_zoo(
            finished.networks,
            data_set.test.pixels(),
            data_set.test.labels,
            tier=tier,
            n=images,
            columns=columns or None,
            group=group,
            seed=finished.config.seed,
            state=_state(folder, finished.identity, tier, group, finished.config.seed),
            identity=finished.identity,
            reseed=finished.reseed,
        )
        file = folder / f"zoo_tier{tier}_{images}.json"
        head = {"network": finished.name, "identity": finished.identity, "data": data_set.title}
        table = _with_earlier_columns({**head, "versions": assess.versions(), **table}, file)
        write_text(file, json.dumps(table, indent=1) + "\n")
    for column, row in table["columns"].items():
        if row["success"]["of_attacked"]:
            of_attacked, of_all = (_share(row["success"][name]) for name in ("of_attacked", "of_all"))
            log.info("noise %s: broken %s of the attacked, %s of all", column, of_attacked, of_all)
    log.info("most are broken with noise %s; ZOO: %s", table["headline"], file)
    return file


def _with_earlier_columns(table, file):
    """A table of ZOO with the columns that an earlier call left of the same attack on the same network."""
    try:
        earlier = json.loads(file.read_text(encoding="utf-8"))
        same = all(earlier[key] == table[key] for key in ("identity", "tier", "seed"))
        same = same and sorted(earlier["images"]) == sorted(table["images"])
        columns = earlier["columns"] if same else {}
    except (OSError, ValueError, KeyError, TypeError):  # there is none, or none to go on with
        return table
    columns = {**columns, **table["columns"]}
    return {**table, "columns": columns, "headline": evaluation.most_broken(columns)}


def transfer(paths, *, output, overrides=(), images=1000, steps=20, draws=10):
    """Craft images on each of several finished networks and show them to all; see `evaluate_transfer`.

    A stopped evaluation goes on.

    Every noisy network stands for two, with its noise and without. The attack is PGD of the first network's epsilon,
    its gradients averaged over draws where the network is random.

    Args:
        paths: networks as for `rsr_tf.experiment.finished.open_finished`, all of one data set.
        output: folder for `transfer.json`, `transfer.csv` and `transfer.svg`, and the state, a folder for each
            different call.
        overrides: changes to their configs.
        images: number of test images, drawn by the seed. Defaults to 1000.
        steps: of PGD. Defaults to 20.
        draws: gradients that are averaged in each step. Defaults to 10.

    Returns:
        Path of the JSON file.

    Raises:
        UserError: as `zoo`, and for networks of different data or the same name.
    """
    finished = [open_finished(path, overrides) for path in paths]
    first = finished[0].config
    networks, attacks = {}, {}
    for each in finished:
        for key in ("name", "directory") if first.data.name == "npz" else ("name",):
            own, others = getattr(each.config.data, key), getattr(first.data, key)
            if own != others:
                raise UserError(f"the data of {each.name} is {own}, not {others}")
        for variant, model_fn in each.networks.items():
            noise = {"noisy": ", noise on", "stripped": ", noise off"}[variant] if len(each.networks) > 1 else ""
            name = f"{each.name}{noise}"
            if name in networks:
                raise UserError(f"two networks are called {name}")
            averaged = draws if variant == "noisy" else 1
            attacks[name] = evaluation.EOTPGD(epsilon=first.evaluation.epsilon, steps=steps, eot_samples=averaged)
            networks[name] = model_fn
    data_set = build.load_data(first)
    for each in finished:
        assess.check_fits(each.networks, data_set, each.name)
    chosen = evaluation.draw_test_images(len(data_set.test.labels), images, seed=first.seed)
    identity, folder = [[each.name, each.identity] for each in finished], Path(output)

    def reseed(seed):
        for each in finished:
            each.reseed(seed)

    with build.user_errors(), build.disk_errors(folder), FolderLock(folder):
        matrix = evaluation.evaluate_transfer(
            networks,
            networks,
            data_set.test.pixels()[chosen],
            data_set.test.labels[chosen],
            attack=attacks,
            seed=first.seed,
            state=_state(folder, identity, first.evaluation.epsilon, first.seed, images, steps, draws),
            identity=identity,
            reseed=reseed,
        )
        table = {"data": data_set.title, "versions": assess.versions(), **matrix.as_dict()}
        write_text(folder / "transfer.json", json.dumps(table, indent=1) + "\n")
        write_text(folder / "transfer.csv", matrix.csv())
        write_text(folder / "transfer.svg", draw_heat_map(table))
    log.info("%s", matrix)
    log.info("transfer: %s", folder / "transfer.json")
    return folder / "transfer.json"


def _state(folder, *call):
    """Where an attack keeps its state: a folder for each different call, so that none is in the way of another."""
    return folder / f"state_{zlib.crc32(json.dumps(call).encode()):08x}"


def _share(share):
    low, high = share["interval"]
    return f"{share['mean']:.1%} ({low:.1%} to {high:.1%}, n={share['n']})"
