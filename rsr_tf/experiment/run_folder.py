"""The folder of a run: the paths of its files, and the lock that keeps other processes out."""

import os
from pathlib import Path

import tomli_w

from rsr_tf.config import CONFIG_FILE, parse_toml
from rsr_tf.experiment.result_schema import read_history_rows, read_result, write_result
from rsr_tf.files import LOCK_FILE, FolderLock, is_partial, is_utf8, read_text, replacing
from rsr_tf.identity import first_difference

WRITING = ".results.lock"
"""Name of the file that is locked while results are written."""


class RunFolder:
    """The paths of all files of one run.

    Args:
        path: path of the folder; `claim` creates it.
        writes: `False` for a process that only reads what the chief of its cluster writes. Defaults to `True`.
        shared: whether other processes may work in the folder too, as those that attack its networks do. Defaults to
            `False`.
    """

    def __init__(self, path, *, writes=True, shared=False):
        self.path = Path(path)
        self.writes = writes
        self.config = self.path / CONFIG_FILE
        self.history = self.path / "history.csv"
        self.logs = self.path / "logs"
        self.checkpoints = self.path / "checkpoints"
        self.training_images = self.checkpoints / "training_images.txt"
        self.model = self.path / "model.keras"
        self.best_epoch = self.path / "model_best.keras"
        self.last_epoch = self.path / "model_last.keras"
        self.admm = self.path / "admm.keras"
        self.pruned = self.path / "pruned.keras"
        self.undefended = self.path / "undefended.keras"
        self.saved_model = self.path / "saved_model"
        self.evaluation = self.path / "evaluation.json"
        self.certificates = self.path / "certificates.json"
        self.artefacts = self.path / "artefacts"
        self.measured_artefacts = self.path / "artefacts.json"
        self.stages = self.path / "stages.json"
        self.sweep = self.path / "sweep" / "sweep.json"
        self.zoo = self.path / "zoo"
        self.transfer = self.path / "transfer"
        self.report = self.path / "report.html"
        self._lock = FolderLock(self.path, shared=shared)
        self._complete = lambda stored: stored

    def check(self, values, complete=lambda stored: stored):
        """Check that the folder is absent, empty or of the same config, and lock a folder of the same config.

        Args:
            values: the config with all defaults, as a nested dict.
            complete: function that adds missing keys to a stored config, for folders of earlier versions. Defaults to
                the identity.

        Raises:
            ValueError: if the folder belongs to another config, holds something else, or is locked, or its name is not
                in UTF-8.
        """
        self._complete = complete
        if not is_utf8(str(self.path)):
            raise ValueError(f"the name of a run folder must be in UTF-8. Received: {os.fsencode(self.path)}")
        if not self.path.exists():
            return
        if not self.config.exists():
            if not self.path.is_dir() or any(not _is_leftover(path) for path in self.path.iterdir()):
                raise ValueError(f"{self.path} is not a run folder. Choose another --output")
            return
        self.check_config(values, complete)
        if self.writes:
            self._lock.acquire()

    def check_config(self, values, complete=lambda stored: stored):
        """Raise `ValueError` if the folder belongs to another config than `values`; see `check`."""
        text = read_text(self.config)
        try:
            found = parse_toml(text)
        except ValueError as error:
            raise ValueError(f"cannot read {self.config}: {error}") from error
        found.pop("versions", None)
        difference = first_difference(drop_none(complete(found)), drop_none(values))
        if difference:
            raise ValueError(
                f"the run folder {self.path} belongs to another config: {difference}. "
                "Choose another --output, or remove it"
            )

    def claim(self, values, versions):
        """Create and lock the folder, and write config and versions into it unless it has a config.

        Args:
            values: the config with all defaults, as a nested dict.
            versions: dict from package to version.

        Raises:
            ValueError: if another process holds the lock, or has claimed the folder for another config since `check`.
        """
        if not self.writes:
            return
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock.acquire()
        if self.config.exists():
            self.check_config(values, self._complete)
        else:
            with replacing(self.config) as temporary:
                temporary.write_bytes(tomli_w.dumps({**drop_none(values), "versions": versions}).encode())

    def writing(self):
        """Return a context manager in which no other process writes results, as it waits for its turn."""
        return FolderLock(self.path, name=WRITING, wait=True)

    def release(self):
        """Release the lock."""
        self._lock.release()

    def read_evaluation(self):
        """Return the contents of `evaluation.json`, see `read_result`."""
        return read_result(self.evaluation)

    def read_verdicts(self):
        """Return a dict from file name to contents of all verdicts, see `read_result`."""
        return {path.name: read_result(path) for path in sorted(self.path.glob(self.verdict("*").name))}

    def read_history(self):
        """Return the rows of `history.csv`, see `read_history_rows`."""
        return read_history_rows(self.history)

    def write_evaluation(self, content):
        """Write `evaluation.json`."""
        write_result(self.evaluation, content)

    def read_artefacts(self):
        """Return the contents of `artefacts.json`, see `read_result`."""
        return read_result(self.measured_artefacts)

    def read_sweep(self):
        """Return the contents of `sweep/sweep.json`, see `read_result`."""
        return read_result(self.sweep)

    def read_stages(self):
        """Return the stages in `stages.json`, see `read_result`; an empty dict without one."""
        return read_result(self.stages).get("stages", {})

    def read_zoo(self):
        """Return a dict from the path in the folder to contents of all tables of ZOO, see `read_result`."""
        return self._read_all(self.zoo.glob("*/zoo_*.json"))

    def read_transfers(self):
        """Return a dict from the path in the folder to contents of all transfer matrices, see `read_result`."""
        return self._read_all(self.transfer.glob("transfer_*.json"))

    def _read_all(self, paths):
        return {path.relative_to(self.path).as_posix(): read_result(path) for path in sorted(paths)}

    def write_artefacts(self, content):
        """Write `artefacts.json`."""
        write_result(self.measured_artefacts, content)

    def verdict(self, name):
        """Return the path of the verdict of a suite; `name` is that of `suite_name`."""
        return self.path / f"verdict_{name}.json"

    def suite_state(self, name):
        """Return the path of the folder with the state of a suite; `name` is that of `suite_name`."""
        return self.path / "suites" / name


def _is_leftover(path):
    """Return whether a file may lie in a folder that no run has claimed: a lock, or what a killed process left."""
    return path.name in (LOCK_FILE, WRITING) or is_partial(path)


def suite_name(suite, network="pruned", num_images=None, ball=""):
    """Return the name of the files of a suite: suite, network, number of images and ball, without default values.

    Args:
        suite, network, num_images: as for `Experiment.run_suite`.
        ball: string, name of a `rsr_tf.experiment.ball.Ball`. Defaults to that of the config.
    """
    network, images = "" if network == "pruned" else network, "" if num_images is None else str(num_images)
    return "_".join(part for part in (suite, network, images, ball) if part)


def drop_none(values):
    """Return a nested dict without the keys whose value is `None`, which TOML cannot express."""
    return {
        key: drop_none(value) if isinstance(value, dict) else value
        for key, value in values.items()
        if value is not None
    }


def flattened(values, prefix=""):
    """Return a nested dict as one dict with keys such as `"model.noise"`."""
    flat = {}
    for key, value in values.items():
        flat |= flattened(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
