"""Attacks without gradients of their target (Table 3): ZOO on one network, transfer between several."""

import json
import logging
import zlib
from pathlib import Path

from rsr_tf import evaluation
from rsr_tf.errors import UserError, disk_errors, user_errors
from rsr_tf.experiment.ball import choose_ball
from rsr_tf.experiment.builders import load_data
from rsr_tf.experiment.load import check_fits, open_finished
from rsr_tf.experiment.provenance import versions
from rsr_tf.experiment.report import refresh_report
from rsr_tf.experiment.result_schema import read_result, write_result
from rsr_tf.experiment.run_folder import WRITING, RunFolder
from rsr_tf.experiment.transfer_pages import show_transfer
from rsr_tf.files import FolderLock, write_text

log = logging.getLogger(__name__)

NOISE_SUFFIX = {"noise_on": ", noise on", "noise_off": ", noise off"}
"""What distinguishes the two rows of a noisy network in a transfer matrix."""


def zoo(path, *, overrides=(), given=None, output=None, tier=1, images=200, columns=None, group=8):
    """Attack a finished network by ZOO; see `rsr_tf.evaluation.run_zoo`. Resumes a stopped attack.

    Args:
        path, overrides, given: as for `rsr_tf.experiment.load.open_finished`.
        output: path of a folder for the state and for `zoo_tierN_IMAGES.json`, which collects the columns of several
            calls. Defaults to `zoo/NAME` in the run folder, with the name of the `.keras` file.
        tier, columns, group: as for `run_zoo`.
        images: number of test images. Defaults to 200.

    Returns:
        `Path` of the JSON file.

    Raises:
        UserError: if the network or its data is missing, `output` is missing for a SavedModel, or another process is
            at work in `output`.
    """
    finished = open_finished(path, overrides, given)
    if output is None and (finished.folder / "saved_model.pb").exists():
        raise UserError("a SavedModel needs --output, the folder for the result")
    name = Path(path).stem if Path(path).suffix == ".keras" else "pruned"
    folder = Path(output or finished.folder / "zoo" / name)
    data_set = load_data(finished.config)
    check_fits(finished.networks, data_set, path, finished.classes)
    with user_errors(), disk_errors(folder), FolderLock(folder, shared=True):
        table = evaluation.run_zoo(
            finished.networks,
            data_set.test.pixels(),
            data_set.test.labels,
            tier=tier,
            num_images=images,
            columns=columns or None,
            group=group,
            seed=finished.config.seed,
            state=_state(folder, finished.identity, tier, group, finished.config.seed),
            identity=finished.identity,
            reseed=finished.reseed,
        )
        file = folder / f"zoo_tier{tier}_{images}.json"
        head = {"network": finished.name, "identity": finished.identity, "data": data_set.title}
        with FolderLock(folder, name=WRITING, wait=True):
            table = _with_earlier_columns({**head, "versions": versions(), **table}, file)
            write_result(file, table)
    _log_success(table, file)
    refresh_report(RunFolder(finished.folder))
    return file


def _log_success(table, file):
    for column, row in table["columns"].items():
        if row["success"]["of_attacked"]:
            of_attacked, of_all = (_share(row["success"][name]) for name in ("of_attacked", "of_all"))
            log.info("noise %s: success on %s of the attacked images, %s of all", column, of_attacked, of_all)
    log.info("highest success with noise %s; ZOO: %s", table["headline"], file)


def _with_earlier_columns(table, file):
    """Add the columns of earlier calls of the same attack on the same network to a table of ZOO."""
    try:
        earlier = read_result(file)
        same = all(earlier[key] == table[key] for key in ("identity", "tier", "seed"))
        same = same and sorted(earlier["images"]) == sorted(table["images"])
        columns = earlier["columns"] if same else {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # no file, or not a table
        return table
    columns = {**columns, **table["columns"]}
    return {**table, "columns": columns, "headline": evaluation.most_broken(columns)}


def transfer(
    paths, *, output, overrides=(), given=None, images=1000, steps=20, eot_samples=10, norm=None, epsilon=None
):
    """Evaluate images crafted on each of several finished networks on all of them; see `evaluate_transfer`.

    A noisy network has two rows: with and without its noise. The attack is PGD; its gradients are averaged over draws
    of the noise (EOT). Resumes a stopped evaluation.

    Args:
        paths: list of networks as for `rsr_tf.experiment.load.open_finished`, all for the same data.
        output: path of a folder for `transfer.json`, `transfer.csv`, `transfer.svg`, `transfer.html`, and the state of
            each different call. The reports of the runs show the matrix, too.
        overrides: changes to the config of each network.
        given: as for `open_finished`.
        images: number of test images, drawn by the seed. Defaults to 1000.
        steps: number of PGD steps. Defaults to 20.
        eot_samples: number of gradients averaged in each step on a noisy network. Defaults to 10.
        norm, epsilon: the ball, as for `rsr_tf.experiment.ball.choose_ball` with the config of the first network.

    Returns:
        `Path` of the JSON file.

    Raises:
        UserError: as for `zoo`, and if two networks have different data or the same name.
    """
    from rsr_tf.report.charts import draw_heat_map  # needs matplotlib; imported before the long evaluation

    finished = [open_finished(path, overrides, given) for path in paths]
    config = finished[0].config
    _check_same_data(finished)
    ball = choose_ball(config, norm, epsilon)
    networks, attacks = _rows(finished, ball, steps=steps, eot_samples=eot_samples)
    data_set = load_data(config)
    for each in finished:
        check_fits(each.networks, data_set, each.name, each.classes)
    chosen = evaluation.draw_test_images(len(data_set.test.labels), images, seed=config.seed)
    identity, folder = [[each.name, each.identity] for each in finished], Path(output)

    radius = [ball.epsilon] if ball.norm == "linf" else [ball.epsilon, ball.norm]

    def reseed(seed):
        for each in finished:
            each.reseed(seed)

    with user_errors(), disk_errors(folder), FolderLock(folder, shared=True):
        matrix = evaluation.evaluate_transfer(
            networks,
            networks,
            data_set.test.take(chosen).pixels(),
            data_set.test.labels[chosen],
            attack=attacks,
            seed=config.seed,
            state=_state(folder, identity, *radius, config.seed, images, steps, eot_samples),
            identity=identity,
            reseed=reseed,
        )
        table = {"data": data_set.title, "versions": versions(), **matrix.as_dict()}
        with FolderLock(folder, name=WRITING, wait=True):
            write_result(folder / "transfer.json", table)
            write_text(folder / "transfer.csv", matrix.csv())
            write_text(folder / "transfer.svg", draw_heat_map(table))
            show_transfer(table, folder, [each.folder for each in finished])
    log.info("%s", matrix)
    log.info("transfer: %s", folder / "transfer.json")
    return folder / "transfer.json"


def _check_same_data(finished):
    first = finished[0].config.data
    keys = {"npz": ("name", "directory"), "folder": ("name", "directory", "test", "resize")}.get(first.name, ("name",))
    for each in finished:
        for key in keys:
            found, expected = getattr(each.config.data, key), getattr(first, key)
            if found != expected:
                raise UserError(f"the data of {each.name} is {found}, not {expected}")


def _rows(finished, ball, *, steps, eot_samples):
    """Return the networks of a transfer matrix and the attack on each, as two dicts by name."""
    networks, attacks = {}, {}
    for each in finished:
        for variant, model_fn in each.networks.items():
            name = f"{each.name}{NOISE_SUFFIX[variant] if len(each.networks) > 1 else ''}"
            if name in networks:
                raise UserError(f"two networks are called {name}")
            averaged = eot_samples if variant == "noise_on" else 1
            options = {"steps": steps, "eot_samples": averaged}
            attacks[name] = evaluation.EOTPGD(**ball.options, **options)
            networks[name] = model_fn
    return networks, attacks


def _state(folder, *call):
    """Return the path of the folder for the state of a call; different calls have different folders."""
    return folder / f"state_{zlib.crc32(json.dumps(call).encode()):08x}"


def _share(share):
    low, high = share["interval"]
    return f"{share['mean']:.1%} ({low:.1%} to {high:.1%}, n={share['num_images']})"
