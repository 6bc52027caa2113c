"""Public functions and classes document what they take, return and raise, with an example that runs."""

import dataclasses
import doctest
import importlib
import inspect
import re
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import tiny_network

import rsr_tf

PACKAGES = ("attacks", "data", "evaluation", "export", "layers", "models", "pruning", "pruning.schedules", "training")


def public_names():
    """The functions and classes of the package and of its packages, each once, under the shortest name."""
    found = {}
    for name in ("rsr_tf", *(f"rsr_tf.{package}" for package in PACKAGES)):
        module = importlib.import_module(name)
        members = [member for member, value in vars(module).items() if inspect.isclass(value)]
        for member in getattr(module, "__all__", [each for each in members if not each.startswith("_")]):
            value = getattr(module, member)
            if callable(value) and value.__module__.startswith("rsr_tf") and value not in found.values():
                found[f"{name}.{member}"] = value
    return found


PUBLIC = public_names()
DOCS = {name: inspect.getdoc(member) or "" for name, member in PUBLIC.items()}
FUNCTIONS = [name for name, member in PUBLIC.items() if not inspect.isclass(member)]
EXAMPLES = [name for name, text in DOCS.items() if ">>>" in text]

WITHOUT_EXAMPLE = {
    "rsr_tf.evaluation.AttackResult",  # is made by AttackRunner, whose example shows it
    "rsr_tf.evaluation.make_verdict",  # is called by run_suite with all that its checks have measured
}
SKIPPED = {
    "rsr_tf.evaluation.run_suite",  # some twenty attacks take several seconds on any network
    "rsr_tf.evaluation.run_zoo",  # a tier has at least 1,000 iterations for each image
}
SLOW = {f"rsr_tf.evaluation.{name}" for name in ("AttackRunner", "evaluate_transfer", "evaluate_whitebox")} | {
    *("rsr_tf.RSRModel", "rsr_tf.attacks.APGD", "rsr_tf.models.resnet18"),
}


def refers_elsewhere(name):
    return "; see `" in DOCS[name].split("\n")[0]


def takes_something(member):
    if inspect.isclass(member) and member.__init__ is object.__init__:
        return False
    return bool(inspect.signature(member).parameters)


def source_of_call(member):
    """Return the source of a function, or of what is called when an object of a class is made."""
    if not inspect.isclass(member):
        return inspect.getsource(member)
    made_by = "__post_init__" if dataclasses.is_dataclass(member) else "__init__"
    method = vars(member).get(made_by)
    return textwrap.dedent(inspect.getsource(method)) if method else ""


def test_every_package_is_covered():
    packages = {name.rpartition(".")[0].removeprefix("rsr_tf.") for name in PUBLIC}
    assert packages == {"rsr_tf", *PACKAGES}
    assert {"rsr_tf.prune", "rsr_tf.attacks.PGD", "rsr_tf.data.load", "rsr_tf.models.resnet20"} <= set(PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_docstring_has_its_sections(name):
    member, text = PUBLIC[name], DOCS[name]
    source = source_of_call(member)
    wanted = {
        "Args": takes_something(member) and not refers_elsewhere(name),
        "Returns": inspect.isfunction(member) and re.search(r"^    return \S", source, re.M),
        "Raises": re.search(r"^ +raise [A-Z]\w+\(", source, re.M) and not refers_elsewhere(name),
        "Example": not refers_elsewhere(name) and name not in WITHOUT_EXAMPLE,
    }
    assert re.match(r"\S.*[.:]", text)
    assert [section for section, needed in wanted.items() if needed and f"\n{section}:\n" not in text] == []


@pytest.mark.parametrize("name", FUNCTIONS)
def test_first_line_of_a_function_starts_with_a_verb(name):
    """In the imperative, as far as a rule can see it."""
    first, *_ = DOCS[name].split()
    assert first[0].isupper()
    assert not re.search(r"[^s]s$", first), "Return, not Returns"
    assert first not in {"A", "An", "The", "What", "How", "Whether", "Which", "Where", "That", "This", "Function"}


def prepared_names(text, images, labels):
    """Return the names that an example may use without defining them; networks only if its text has their names."""
    names = {"keras": keras, "np": np, "tf": tf, "rsr_tf": rsr_tf}
    names |= {"images": images, "labels": labels}  # 16 of 8x8x1 pixels, as NumPy arrays
    names |= {"x": tf.constant(images), "y": tf.constant(labels)}  # the same as tensors
    if re.search(r"\bmodel(_fn)?\b", text):
        names["model"] = tiny_network()  # noisy, with 10 logits
        names["model_fn"] = rsr_tf.as_model_fn(names["model"])
    if "my_keras_model" in text:
        layers = [keras.layers.Conv2D(4, 3, activation="relu"), keras.layers.Flatten(), keras.layers.Dense(10)]
        names["my_keras_model"] = keras.Sequential([keras.Input((8, 8, 1)), *layers])
    return names


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in EXAMPLES]
)
def test_example_runs_as_it_stands(name, images, labels, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = "\n".join(line for line in DOCS[name].split("\n") if line.lstrip().startswith((">>>", "...")))
    names = prepared_names(text, images, labels)
    test = doctest.DocTestParser().get_doctest(DOCS[name], names, name, None, None)
    assert any(doctest.SKIP in example.options for example in test.examples) == (name in SKIPPED)
    report = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    runner.run(test, out=report.append)
    assert not report, "".join(report)
