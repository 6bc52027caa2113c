"""The scripts use names that the library has; what they measure is committed in docs/results."""

import ast
import importlib
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).parent.parent / "scripts").rglob("*.py"))


def imported_names(path):
    """Yield the module and name of every import from this library."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "rsr_tf":
            yield from ((node.module, alias.name) for alias in node.names)


def attributes_of_library(path):
    """Yield the dotted names that follow `rsr_tf.` in the code."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "rsr_tf":
            yield node.attr


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_script_imports_what_is_there(path):
    missing = [
        f"{module}.{name}"
        for module, name in imported_names(path)
        if not hasattr(importlib.import_module(module), name) and importlib.util.find_spec(f"{module}.{name}") is None
    ]
    library = importlib.import_module("rsr_tf")
    missing += [f"rsr_tf.{name}" for name in attributes_of_library(path) if not hasattr(library, name)]
    assert missing == []


def test_imports_of_scripts_are_seen():
    found = {name for path in SCRIPTS for _, name in imported_names(path)}
    assert {"describe_result", "run_suite"} & found
    assert "prune" in {name for path in SCRIPTS for name in attributes_of_library(path)}
