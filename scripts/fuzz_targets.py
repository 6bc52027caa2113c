"""Files and settings that the library reads, how to damage them, and how to read them: the targets of `fuzz.py`.

A target has a seed that is read without complaint, `damage(random)`, which writes a damaged copy, and `read()`, which
reads it as the command does. An error of the user names one of `names`.
"""

import functools
import json
import shutil
import tarfile
import zipfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import rsr_tf
from fuzz_mutations import damaged_bytes, damaged_json, damaged_lines, odd_text
from rsr_tf.attacks import FGSM
from rsr_tf.config import load_config, parse_config
from rsr_tf.config.loading import PACKAGED
from rsr_tf.evaluation import AttackRunner, State
from rsr_tf.experiment.builders import load_data
from rsr_tf.experiment.report import write_report_page
from rsr_tf.experiment.result_schema import check_result, read_result, up_to_date, write_result
from rsr_tf.experiment.run_folder import RunFolder
from rsr_tf.export import read_metadata
from rsr_tf.report.sweep_page import tables, write_sweep_page

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "docs" / "results"
FINISHED = ROOT / "tests" / "compatibility" / "version_0_2_0.tar.xz"
MINIMAL = {"data": {"name": "digits"}, "model": {"name": "small_cnn"}}


class ConfigFile:
    """A packaged config with other lines, values or bytes."""

    names = ("input.toml",)

    def __init__(self, folder):
        self.path = folder / "input.toml"
        self.seeds = [path.read_bytes() for path in sorted(PACKAGED.rglob("*.toml"))]

    def damage(self, random):
        seed = self.seeds[random.integers(len(self.seeds))]
        damage = damaged_bytes if random.random() < 0.4 else damaged_lines
        self.path.write_bytes(damage(random, seed))

    def read(self):
        load_config(self.path)


class SetOption:
    """A value or key of `--set`."""

    names = ("--set", "`", "run.toml")

    def __init__(self, folder):
        self.keys = [
            f"{section}.{key}"
            for section, keys in parse_config(dict(MINIMAL), source="run.toml").model_dump().items()
            if isinstance(keys, dict)
            for key in keys
        ] + ["seed"]

    def damage(self, random):
        key = self.keys[random.integers(len(self.keys))]
        value = odd_text(random)
        if random.random() < 0.3:
            key = damaged_bytes(random, key.encode()).decode("utf-8", "surrogateescape")
        if random.random() < 0.3:
            value = damaged_bytes(random, value.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogateescape")
        self.override = f"{key}={value}"

    def read(self):
        values = json.loads(json.dumps(MINIMAL))
        parse_config(values, [self.override], source="run.toml")


class ImageFile:
    """An `.npz` file with other bytes, headers, shapes, types or numbers."""

    names = ("images.npz", "`batch_size`")

    def __init__(self, folder):
        self.path = folder / "images.npz"
        section = {"name": "npz", "directory": str(self.path)}
        self.config = parse_config({**MINIMAL, "data": section, "training": {"batch_size": 2}}, source="run.toml")
        images = np.random.default_rng(0).uniform(size=(20, 4, 4, 1)).astype("float32")
        self.arrays = {"x_train": images, "y_train": np.arange(20) % 3, "x_test": images, "y_test": np.arange(20) % 3}

    def damage(self, random):
        arrays = dict(self.arrays)
        kind = random.integers(4)
        name = list(arrays)[random.integers(4)]
        if kind == 0:
            arrays[name] = arrays[name].astype(
                ["float16", "uint8", "int8", "complex64", "U3", "bool"][random.integers(6)]
            )
        elif kind == 1:
            shape = tuple(int(size) for size in random.integers(0, 6, random.integers(0, 6)))
            arrays[name] = np.zeros(shape, arrays[name].dtype)
        elif kind == 2:
            array = arrays[name].astype("float64" if name[0] == "x" else "int64")
            odd = [np.nan, np.inf, -1, 256] if name[0] == "x" else [-1, 10**9, 2**62]
            array.flat[random.integers(array.size)] = odd[random.integers(len(odd))]
            arrays[name] = array
        (np.savez_compressed if random.random() < 0.5 else np.savez)(self.path, **arrays)
        if kind == 3:
            damage_archive(random, self.path)

    def read(self):
        load_data(self.config)


class ResultFile:
    """A JSON or CSV file of a run, read by the report, the page of a sweep, or the metadata of a SavedModel."""

    names = ("run/", "rsr_tf.json", "sweep.json", "config")

    def __init__(self, folder, part):
        self.folder, self.part = RunFolder(folder / "run"), part
        with tarfile.open(FINISHED) as archive:
            archive.extractall(folder, filter="data")
        old = folder / "v020" / "finished"
        shutil.rmtree(self.folder.path, ignore_errors=True)
        self.folder.path.mkdir()
        files = ("config.toml", "evaluation.json", "history.csv", "artefacts.json", "verdict_quick_10.json")
        for name in files:
            shutil.copy(old / name, self.folder.path)
        shutil.copy(old / "sweep" / "sweep.json", self.folder.path)
        shutil.copy(old / "saved_model" / "rsr_tf.json", self.folder.path)
        self.seeds = {}
        for path in sorted(self.folder.path.glob(part)):
            self.seeds[path] = [path.read_bytes()]
            if path.suffix == ".json" and path.name != "rsr_tf.json":
                write_result(path, up_to_date(json.loads(self.seeds[path][0])))
                self.seeds[path].append(path.read_bytes())
        shutil.rmtree(folder / "v020")

    def damage(self, random):
        for path, seeds in self.seeds.items():
            path.write_bytes(seeds[0])
        self.path = list(self.seeds)[random.integers(len(self.seeds))]
        seed = self.seeds[self.path][random.integers(len(self.seeds[self.path]))]
        if self.path.suffix == ".csv":
            damage = damaged_bytes if random.random() < 0.4 else damaged_lines
        else:
            damage = damaged_bytes if random.random() < 0.25 else damaged_json
        self.path.write_bytes(damage(random, seed))

    def read(self):
        if self.path.name == "rsr_tf.json":
            metadata = read_metadata(self.folder.path)
            check_result(self.path, metadata)
            parse_config(metadata.get("config") or dict(MINIMAL), source=self.path)
        elif self.path.name == "sweep.json":
            content = read_result(self.path)
            if content:
                head = {"scheme": "RSR", "model": "m", "data": "d", "seed": 0, "pruning": {"scope": "global"}}
                head |= {"attack": {"epsilon": 0.1, "step_size": 0.1, "steps": 1, "num_images": 1, "repeats": 1}}
                head["pruning"] |= {"exclude": [], "max_layer_sparsity": None}
                tables(content)
                write_sweep_page(self.folder.path / "sweep.html", "", {**content, **head})
        else:
            write_report_page(self.folder)


class CompactArchive:
    """A compact archive with other bytes, or another header."""

    names = ("network.rsrz",)

    def __init__(self, folder):
        self.path = folder / "network.rsrz"
        inputs = keras.Input((4, 4, 1))
        x = keras.layers.Flatten()(rsr_tf.NoisyConvBlock(2, 3)(inputs))
        rsr_tf.save_compact(keras.Model(inputs, rsr_tf.NoisyDense(3)(x)), self.path)
        self.seed = self.path.read_bytes()
        with zipfile.ZipFile(self.path) as archive:
            self.members = {name: archive.read(name) for name in archive.namelist()}

    def damage(self, random):
        if random.random() < 0.3:
            self.path.write_bytes(damaged_bytes(random, self.seed))
            return
        header = (damaged_json if random.random() < 0.8 else damaged_bytes)(random, self.members["header.json"])
        with zipfile.ZipFile(self.path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("header.json", header)
            archive.writestr("values", self.members["values"])

    def read(self):
        rsr_tf.load_compact(self.path)


class SuiteState:
    """The state of a long evaluation: its identity, or a step."""

    names = ("state",)

    def __init__(self, folder):
        self.folder, self.kept = folder / "state", folder / "kept"
        self.images = np.random.default_rng(0).uniform(0.1, 0.9, (6, 2, 2, 1)).astype("float32")
        weights = tf.constant(np.random.default_rng(1).normal(size=(4, 3)).astype("float32"))
        self.network = lambda x: tf.reshape(x, (-1, 4)) @ weights
        shutil.rmtree(self.folder, ignore_errors=True)
        self.read()
        shutil.rmtree(self.kept, ignore_errors=True)
        shutil.copytree(self.folder, self.kept)

    def damage(self, random):
        shutil.rmtree(self.folder)
        shutil.copytree(self.kept, self.folder)
        files = sorted(path for path in self.folder.iterdir() if path.suffix in (".json", ".npz"))
        path = files[random.integers(len(files))]
        if path.suffix == ".json":
            path.write_bytes((damaged_json if random.random() < 0.7 else damaged_bytes)(random, path.read_bytes()))
        elif random.random() < 0.5:
            damage_archive(random, path)
        else:
            with np.load(path) as stored:
                arrays = dict(stored)
            name = list(arrays)[random.integers(len(arrays))]
            shape = tuple(int(size) for size in random.integers(0, 5, random.integers(0, 5)))
            arrays[name] = np.zeros(shape, ["float32", "int32", "bool", "U2"][random.integers(4)])
            np.savez(path, **arrays)

    def read(self):
        state = State(self.folder, {"epsilon": 0.1, "seed": 0, "table": {"a": {"steps": 1}}})
        networks = {"noise_on": self.network}
        options = {"epsilon": 0.1, "predictions": {"noise_on": 1}, "batch_size": 4, "seed": 0}
        runner = AttackRunner(
            networks, networks, self.images, np.arange(6) % 3, state=state, reseed=lambda seed: None, **options
        )
        runner.run("FGSM", FGSM(epsilon=0.1), source="noise_on", index=np.arange(6))
        runner.fresh_score("noise_on")


def damage_archive(random, path):
    """Damage the bytes of an archive, or the bytes of one of its arrays and wrap them anew."""
    if random.random() < 0.5:
        path.write_bytes(damaged_bytes(random, path.read_bytes()))
        return
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = list(members)[random.integers(len(members))]
    content = members[name]
    start = content.index(b"{") if b"{" in content else 0
    header = damaged_bytes(random, content[: start + 60])
    members[name] = header + content[start + 60 :] if random.random() < 0.7 else damaged_bytes(random, content)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, body in members.items():
            archive.writestr(member, body)


TARGETS = {
    "config": (ConfigFile, 400),
    "--set": (SetOption, 300),
    "npz": (ImageFile, 400),
    "JSON of a run": (functools.partial(ResultFile, part="*.json"), 450),
    "history.csv": (functools.partial(ResultFile, part="*.csv"), 150),
    "compact archive": (CompactArchive, 200),
    "state of a suite": (SuiteState, 100),
}
"""Name of a target -> how to build it for a folder, and its share of 2,000 inputs."""
