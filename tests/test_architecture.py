"""Who may import whom and how large files and functions may be, read from the source of every module."""

import ast
import graphlib
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

import rsr_tf

PACKAGE = Path(__file__).parent.parent / "rsr_tf"

ALLOWED = {
    "rsr_tf": set(),  # `__init__` imports on demand
    "choices": set(),
    "errors": set(),
    "files": set(),
    "identity": set(),
    "keras_internals": set(),
    "progress": set(),
    "radii": set(),
    "validation": set(),
    "config": {"choices", "errors", "files"},
    "data": {"errors", "files"},
    "layers": {"choices", "keras_internals"},
    "models": {"layers"},
    "attacks": {"errors", "validation"},
    "training": {"attacks", "choices", "errors", "files", "keras_internals", "layers", "validation"},
    "pruning": {"choices", "keras_internals", "layers"},
    "schedules": {"pruning"},
    "evaluation": {"attacks", "files", "identity", "keras_internals", "progress", "radii", "validation"},
    "export": {"attacks", "errors", "evaluation", "files", "keras_internals", "layers"},
    "report": {"choices", "errors", "radii"},
    "experiment": {
        "attacks",
        "choices",
        "config",
        "data",
        "errors",
        "evaluation",
        "export",
        "files",
        "identity",
        "layers",
        "models",
        "progress",
        "pruning",
        "radii",
        "report",
        "training",
        "validation",
    },
    "cli": {"choices", "config", "errors", "experiment", "progress"},
}
"""What each module or package of modules knows of the others: this and no more, so that the list stays true."""


def module_name(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


PATHS = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in PATHS.items()}


def component(module):
    """`rsr_tf.evaluation.scores` -> `evaluation`; the package itself is `rsr_tf`."""
    return module.split(".")[1] if "." in module else module


def executed(tree):
    """All nodes of a tree but those that only type checkers read."""
    if isinstance(tree, ast.If) and isinstance(tree.test, ast.Name) and tree.test.id == "TYPE_CHECKING":
        return
    yield tree
    for child in ast.iter_child_nodes(tree):
        yield from executed(child)


def imported_modules(module):
    """The modules of this package that a module imports, anywhere in its source; names of variables left out."""
    for node in executed(TREES[module]):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            members = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [member if member in PATHS else node.module for member in members]
        yield from (name for name in names if name and name.split(".")[0] == "rsr_tf")


IMPORTS = {module: set(imported_modules(module)) for module in PATHS}


def test_every_module_has_a_rule():
    assert {component(module) for module in PATHS} == set(ALLOWED)


@pytest.mark.parametrize("module", PATHS)
def test_module_imports_only_whom_it_may_know(module):
    own = component(module)
    known = {component(other) for other in IMPORTS[module]} - {own, "rsr_tf"}
    assert known <= ALLOWED[own]


@pytest.mark.parametrize("name", ALLOWED)
def test_rule_allows_nothing_that_is_not_needed(name):
    known = {component(other) for module in PATHS if component(module) == name for other in IMPORTS[module]}
    assert known - {name, "rsr_tf"} == ALLOWED[name]


def test_imports_are_seen_where_they_are():
    """The test above is worth something only if it finds what is plainly there."""
    assert "rsr_tf.layers.batch_norm" in IMPORTS["rsr_tf.layers.conv_block"]
    assert "rsr_tf.experiment" in IMPORTS["rsr_tf.cli.group"]
    assert "rsr_tf.evaluation.scores" in IMPORTS["rsr_tf.evaluation"]
    assert "rsr_tf.report.run_page" in IMPORTS["rsr_tf.experiment.report"]


def test_imports_are_absolute():
    relative = [
        f"{PATHS[module].name}:{node.lineno}"
        for module, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert relative == []


def external_imports(module):
    """The top-level packages that a module imports, anywhere in its source."""
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module.split(".")[0]


@pytest.mark.parametrize("module", ["rsr_tf.validation", "rsr_tf.attacks.zoo", "rsr_tf.attacks.zoo_single_image"])
def test_zoo_has_nothing_to_differentiate_with(module):
    assert set(external_imports(module)) <= {"numpy", "rsr_tf", *sys.stdlib_module_names}
    assert IMPORTS[module] <= {"rsr_tf.validation", "rsr_tf.attacks.zoo_single_image"}


def test_figures_leave_the_backend_of_the_user_alone():
    sources = {module: path.read_text(encoding="utf-8") for module, path in PATHS.items()}
    assert "matplotlib.figure" in sources["rsr_tf.report.charts"]
    assert [module for module, text in sources.items() if "pyplot" in text.replace("through pyplot", "")] == []
    assert [module for module, text in sources.items() if "matplotlib.use" in text] == []


def own_names(tree):
    """Names of functions, classes, variables and attributes that a module defines or assigns."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, (ast.Name, ast.Attribute)) and isinstance(node.ctx, ast.Store):
            yield node.id if isinstance(node, ast.Name) else node.attr


OWN_NAMES = {name for module, tree in TREES.items() if module != "rsr_tf.keras_internals" for name in own_names(tree)}


def private_names_of_others(tree, own_anywhere=frozenset(OWN_NAMES)):
    """Attributes with an underscore that belong to another library, with their lines.

    On `self` and `cls` a name is the package's if any of its modules defines or assigns it; on anything else, if this
    module defines a function of that name. The public methods of namedtuples and `os._exit` have an underscore, too.
    """
    own = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute) or not node.attr.startswith("_") or node.attr.startswith("__"):
            continue
        of_self = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
        if not (
            node.attr in own or (of_self and node.attr in own_anywhere) or node.attr in ("_replace", "_fields", "_exit")
        ):
            yield f"{node.attr}, line {node.lineno}"


@pytest.mark.parametrize("module", sorted(set(PATHS) - {"rsr_tf.keras_internals"}))
def test_private_names_of_keras_stand_behind_one_door(module):
    assert list(private_names_of_others(TREES[module])) == []
    assert not any(other.startswith(("keras.src", "tensorflow.python")) for other in imported_names(TREES[module]))


def imported_names(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


def test_private_names_are_seen_where_they_are():
    found = " ".join(private_names_of_others(TREES["rsr_tf.keras_internals"]))
    assert all(name in found for name in ("_flatten_layers", "_tracker", "_nodes_by_depth", "_keras_history"))
    lines = [
        *("class A:", "    def __init__(self):", "        self._own = 1"),
        *("    def run(self, layer):", "        return layer._tracker, self._own, self._flatten_layers, layer.name"),
    ]
    tree = ast.parse("\n".join(lines))
    found = list(private_names_of_others(tree, own_anywhere=set(own_names(tree))))
    assert found == ["_tracker, line 5", "_flatten_layers, line 5"]


def test_nobody_imports_tfmot():
    """It would make Keras 2 of `tf.keras` for the whole process."""
    external = {package for module in PATHS for package in external_imports(module)}
    assert {"tensorflow", "keras", "numpy"} <= external
    assert not {"tensorflow_model_optimization", "tf_keras"} & external


def test_square_attack_asks_for_no_gradient():
    modules = {f"rsr_tf.attacks.{name}" for name in ("square", "square_l2", "base", "losses", "norms", "selection")}
    for module in modules:
        source = PATHS[module].read_text(encoding="utf-8")
        assert not any(word in source for word in ("GradientTape", "tf.gradients", "input_gradient"))
        assert IMPORTS[module] <= modules | {"rsr_tf.validation"}
    assert "import tensorflow" in PATHS["rsr_tf.attacks.square"].read_text(encoding="utf-8")


def test_imports_have_no_cycle():
    graph = {module: others - {"rsr_tf"} for module, others in IMPORTS.items()}
    assert set(graphlib.TopologicalSorter(graph).static_order()) == set(PATHS)  # or a CycleError


def test_package_root_is_imported_for_its_version_alone():
    taken = [
        alias.name
        for tree in TREES.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "rsr_tf"
        for alias in node.names
        if f"rsr_tf.{alias.name}" not in PATHS
    ]
    assert set(taken) <= {"__version__"}


def test_package_imports_nothing_of_its_own_by_statement():
    assert IMPORTS["rsr_tf"] == set()


def test_package_root_shows_type_checkers_every_public_name():
    seen = set(executed(TREES["rsr_tf"]))
    (block,) = (node for node in TREES["rsr_tf"].body if node not in seen)
    found = {alias.asname or alias.name: f"{node.module}.{alias.name}" for node in block.body for alias in node.names}
    assert set(found) == set(rsr_tf.__all__) - {"__version__"}
    for name, path in found.items():  # by `__getattr__`: whoever has imported `rsr_tf.schedules` has set the attribute
        module, _, member = path.rpartition(".")
        assert rsr_tf.__getattr__(name) is (
            importlib.import_module(path) if path in PATHS else getattr(importlib.import_module(module), member)
        )


def test_package_command_and_config_import_no_tensorflow_and_nothing_early():
    script = """
import json, sys
import rsr_tf
alone = sorted(name for name in sys.modules if name.startswith("rsr_tf."))
import rsr_tf.cli, rsr_tf.config
print(json.dumps([alone, sorted(sys.modules)]))
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    alone, modules = json.loads(result.stdout)
    assert alone == []
    assert {"rsr_tf.cli", "rsr_tf.config"} <= set(modules)
    assert not {"tensorflow", "keras", "numpy", "cleverhans", "matplotlib", "sklearn"} & set(modules)


def test_library_has_no_assert():
    found = [
        f"{PATHS[module].name}:{node.lineno}"
        for module, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Assert)
    ]
    assert found == []


# Size


def lines_of_code(function, text):
    """Count the lines of the body of a function, without its docstring, blank lines and comments."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    numbers = {number for node in body for number in range(node.lineno, node.end_lineno + 1)}
    lines = [text.splitlines()[number - 1].strip() for number in numbers]
    return sum(bool(line) and not line.startswith("#") for line in lines)


def test_no_file_is_longer_than_300_lines():
    lengths = {str(path): len(path.read_text(encoding="utf-8").splitlines()) for path in PATHS.values()}
    assert {name: length for name, length in lengths.items() if length > 300} == {}


def test_no_function_has_more_than_40_lines_of_code():
    found = {
        f"{module}.{node.name}": lines_of_code(node, PATHS[module].read_text(encoding="utf-8"))
        for module, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
    }
    assert max(found.values()) > 20
    assert {name: count for name, count in found.items() if count > 40} == {}


def test_lines_of_code_are_counted_without_docstring_and_comments():
    text = 'def f(x):\n    """One.\n\n    Two.\n    """\n    # why\n    y = (\n        x\n    )\n\n    return y\n'
    assert lines_of_code(ast.parse(text).body[0], text) == 4


def test_root_has_few_modules():
    assert len(list(PACKAGE.glob("*.py"))) <= 1 + 8


def test_no_module_is_called_utils():
    assert not {module.split(".")[-1] for module in PATHS} & {"util", "utils", "helpers", "misc"}


def test_only_the_command_and_the_table_of_config_keys_print():
    found = {
        module
        for module, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    }
    assert found <= {"rsr_tf.cli", "rsr_tf.config.reference"}
