"""The folder of a run: what lies where, and that no two processes are in it."""

import json
import tomllib
from pathlib import Path

import tomli_w

from rsr_tf.experiment.folder_lock import FolderLock
from rsr_tf.files import is_partial, replacing, write_text
from rsr_tf.identity import first_difference


class RunFolder:
    """Paths of the artefacts of one run.

    Args:
        path: the folder; `claim` makes it.
    """

    def __init__(self, path):
        self.path = Path(path)
        self.config = self.path / "config.toml"
        self.history = self.path / "history.csv"
        self.logs = self.path / "logs"
        self.checkpoints = self.path / "checkpoints"
        self.model = self.path / "model.keras"
        self.pruned = self.path / "pruned.keras"
        self.undefended = self.path / "undefended.keras"
        self.saved_model = self.path / "saved_model"
        self.evaluation = self.path / "evaluation.json"
        self.artefacts = self.path / "artefacts"
        self.measured_artefacts = self.path / "artefacts.json"
        self.report = self.path / "report.html"
        self._lock = FolderLock(self.path)

    def check(self, values, complete=lambda stored: stored):
        """Raise `ValueError` for a folder that belongs to another config, or holds something else.

        Args:
            values: the resolved config as nested dicts.
            complete: function that gives a stored config the keys it lacks, for a folder of an earlier version.
        """
        if not self.path.exists():
            return
        if not self.config.exists():
            if not self.path.is_dir() or any(not is_partial(path) for path in self.path.iterdir()):
                raise ValueError(f"{self.path} is not a run folder. Choose another --output")
            return
        try:
            found = tomllib.loads(self.config.read_text(encoding="utf-8"))
        except ValueError as error:  # of TOML or of UTF-8
            raise ValueError(f"cannot read {self.config}: {error}") from error
        found.pop("versions", None)
        difference = first_difference(drop_none(complete(found)), drop_none(values))
        if difference:
            raise ValueError(
                f"the run folder {self.path} belongs to another config: {difference}. "
                "Choose another --output, or remove it"
            )
        self._lock.acquire()

    def claim(self, values, versions):
        """Make the folder and write the config into it, with the versions it runs under; once.

        Args:
            values: the resolved config as nested dicts.
            versions: dict from package to version.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock.acquire()
        if not self.config.exists():
            with replacing(self.config) as temporary:
                temporary.write_bytes(tomli_w.dumps({**drop_none(values), "versions": versions}).encode())

    def release(self):
        """Let other processes in again."""
        self._lock.release()

    def read_evaluation(self):
        return self.read_json(self.evaluation)

    def read_verdicts(self):
        """A dict from the name of each file of a verdict to its content."""
        return {path.name: self.read_json(path) for path in sorted(self.path.glob(self.verdict("*").name))}

    def write_evaluation(self, content):
        self.write_json(self.evaluation, content)

    def read_artefacts(self):
        return self.read_json(self.measured_artefacts)

    def write_artefacts(self, content):
        self.write_json(self.measured_artefacts, content)

    def verdict(self, name):
        """Path of the verdict of a suite of attacks; see `suite_name`."""
        return self.path / f"verdict_{name}.json"

    def suite_state(self, name):
        """Path of the folder with what is done of a suite; see `suite_name`."""
        return self.path / "suites" / name

    def read_json(self, path):
        """The content of a file, an empty dict where there is none; `ValueError` for one that cannot be read."""
        if not path.exists():
            return {}
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"cannot read {path}: {error}") from error

    def write_json(self, path, content):
        write_text(path, json.dumps(content, indent=1) + "\n")


def suite_name(suite, network="pruned", images=None):
    """What the files of a suite are called: its name, then the network and the number of images unless by default."""
    return "_".join([suite, *([] if network == "pruned" else [network]), *([] if images is None else [str(images)])])


def drop_none(values):
    """TOML has no null: a key without a value is left out."""
    return {
        key: drop_none(value) if isinstance(value, dict) else value
        for key, value in values.items()
        if value is not None
    }
