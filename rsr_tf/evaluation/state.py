"""The finished steps of a long evaluation on disk, from which a stopped one resumes, and which processes can share."""

import contextlib
import json
import logging
import re
import zlib
from pathlib import Path

import numpy as np

from rsr_tf.files import (
    FolderLock,
    InUseError,
    is_partial,
    read_json,
    replacing,
    step_lock,
    work_through,
    write_text,
)
from rsr_tf.files.arrays import check_headers, read_arrays
from rsr_tf.identity import first_difference

log = logging.getLogger(__name__)

IDENTITY = "identity.json"
LOCK = "partial-identity.lock"
"""Name of the file that is locked while a process makes a folder its state."""
SCHEMA = 2
"""Version of the identity. Version 0.2.0 wrote 1, without this key, where `"draws"` and `"n"` had other names."""


class State:
    """A folder with one file for each finished step of an evaluation.

    Each file is written atomically, so a step is stored completely or not at all. Any number of processes can share one
    folder: each does the steps that are neither done nor at another one, so a step must not depend on who did those
    before it.

    Args:
        folder: path of the folder, created if missing; `None` stores nothing.
        identity: JSON-serializable dict that identifies the evaluation: parameters, seed, images, network.

    Attributes:
        before_step: function of the name of a step that is called before it is computed, such as one that restarts
            random numbers. Does nothing by default.

    Raises:
        ValueError: if the folder belongs to another evaluation, holds something else, or cannot be read.

    Example:
        >>> state = rsr_tf.evaluation.State("runs/state", {"epsilon": 8 / 255, "seed": 0})
        >>> state.once("clean", lambda: {"hits": np.arange(3)})["hits"]
        array([0, 1, 2])
        >>> resumed = rsr_tf.evaluation.State("runs/state", {"epsilon": 8 / 255, "seed": 0})
        >>> resumed.once("clean", lambda: 1 / 0)["hits"]  # is read, not computed
        array([0, 1, 2])
    """

    def __init__(self, folder, identity):
        self.folder = None if folder is None else Path(folder)
        self.before_step = lambda name: None
        self._taken = set()
        if self.folder is not None:
            self._claim(json.loads(json.dumps({"schema": SCHEMA, **identity})))

    def _claim(self, identity):
        path = self.folder / IDENTITY
        if not path.exists():
            if not _is_empty(self.folder) and not path.exists():
                raise ValueError(f"{self.folder} is not the state of an evaluation. Choose another folder")
            with FolderLock(self.folder, name=LOCK, wait=True):
                if not path.exists():
                    write_text(path, json.dumps(identity, indent=1) + "\n")
        difference = first_difference(_upgraded(read_json(path)), identity)
        if difference:
            raise ValueError(
                f"the state in {self.folder} belongs to another evaluation: {difference}. "
                "Choose another folder, or remove it"
            )

    def has(self, name):
        """Return whether an earlier process finished a step."""
        return self.folder is not None and self.path(name).exists()

    def share(self, steps):
        """Do those of several steps that no process has done or is at; `once` waits for the others.

        Args:
            steps: dict from the name of a step to its function, as for `once`.
        """
        for name, compute in steps.items() if self.folder is not None else ():
            if not self.has(name):
                with contextlib.suppress(InUseError), step_lock(self.folder, _slug(name)):
                    self._do(name, compute)

    def once(self, name, compute, expected=None, waiting=None):
        """Return the result of a step: read if it is stored, otherwise computed and stored.

        Args:
            name: identifier of the step; each can be used once.
            compute: function without arguments that returns a dict of arrays.
            expected: kinds and shapes of these arrays in a file, see `rsr_tf.files.arrays.check_headers`. Defaults to
                `None`, which takes any.
            waiting: function without arguments that is called once if another process is at the step. Defaults to one
                line in the log.

        Returns:
            A dict of NumPy arrays.

        Raises:
            ValueError: for a name that was used before, or a file that cannot be read.
        """
        slug = _slug(name)
        if slug in self._taken:
            raise ValueError(f"`name` must be unique for every step. Received twice: {name!r}")
        self._taken.add(slug)
        if self.folder is None:
            return self._computed(name, compute)
        found = {}

        def work(_):
            found.update(self._do(name, compute))

        def tell(_):
            (waiting or (lambda: log.info("another process has %s", name)))()

        work_through([slug], self.folder, is_done=lambda _: self.has(name), work=work, waiting=tell)
        return found or self._read(self.path(name), expected or {})

    def _do(self, name, compute):
        """Compute and store a step, unless another process has done it in the meantime."""
        if self.has(name):
            return {}
        arrays = self._computed(name, compute)
        with replacing(self.path(name)) as temporary:
            np.savez(temporary, **arrays)
        return arrays

    def _computed(self, name, compute):
        self.before_step(name)
        return {key: np.asarray(value) for key, value in compute().items()}

    def path(self, name):
        """Return the path of the file of a step."""
        return self.folder / f"{_slug(name)}.npz"

    def _read(self, path, expected):
        def check(headers):
            try:
                check_headers(headers, expected)
            except ValueError as error:
                raise ValueError(f"cannot read {path}: {error}") from error

        try:
            return read_arrays(path, check=check)
        except ValueError as error:
            raise ValueError(f"{error}. Remove it to repeat this step") from error


def derived_seed(seed, step):
    """Return the seed of one step of an evaluation, which does not depend on the steps that this process has run.

    Args:
        seed: integer, of the whole evaluation.
        step: identifier of the step.

    Returns:
        An integer.
    """
    return zlib.crc32(f"{seed} {step}".encode())


def _upgraded(identity):
    """Return an identity as version 0.2.0 wrote it in the present schema, and any attack without a norm in linf."""
    names = {} if "schema" in identity else {"draws": "predictions", "n": "num_images"}
    upgraded = {"schema": SCHEMA, **{names.get(key, key): value for key, value in identity.items()}}
    for key in ("table", "attacks"):
        if isinstance(identity.get(key), dict) and all(isinstance(each, dict) for each in identity[key].values()):
            upgraded[key] = {name: _upgraded_attack(config) for name, config in identity[key].items()}
    if isinstance(identity.get("settings"), dict):
        upgraded["settings"] = _upgraded_attack(identity["settings"])
    return upgraded


def _upgraded_attack(config):
    upgraded = {"eot_samples" if key == "draws" else key: value for key, value in config.items()}
    if "epsilon" in config:  # every attack in a ball is of linf if it has no norm
        upgraded.setdefault("norm", "linf")
    if config.get("name") == "AdaptivePGD":
        upgraded["name"] = "EOTPGD"
    return upgraded


def _slug(name):
    return re.sub(r"[^\w.,=-]+", "_", name)


def _is_empty(folder):
    """Return whether a folder is missing, or holds only partial files of a killed process."""
    if not folder.exists():
        return True
    return folder.is_dir() and all(is_partial(path) for path in folder.iterdir())
