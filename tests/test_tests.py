"""The tests themselves: where they stand, and that each of them asserts something."""

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "rsr_tf"
FILES = sorted(TESTS.rglob("test_*.py"))

TESTED_ELSEWHERE = {
    "cli/__main__": "test_cli",
    "cli/stages": "test_cli",
    "cli/tables": "test_cli",
    "config/sections": "config/test_schema",
    "experiment/experiment": "test_cli",
    "experiment/report": "test_cli",
    "experiment/schemas/base": "experiment/test_result_schema",
    "experiment/schemas/evaluation": "experiment/test_result_schema",
    "experiment/schemas/measurements": "experiment/test_result_schema",
    "experiment/schemas/verdict": "experiment/test_result_schema",
    "models/scheme": "models/test_common",
    "pruning/structured/channel_rules": "pruning/structured/test_channels",
    "report/colors": "report/test_pages",
    "report/compare_chart": "report/test_compare_page",
    "report/contents": "report/test_overview",
    "report/grid_charts": "report/test_grid_page",
    "report/overview_charts": "report/test_overview",
    "report/render": "report/test_labels",
    "report/svg": "report/test_pages",
    "report/sweep_charts": "report/test_sweep_page",
    "schedules": "pruning/test_schedules",
}
"""Modules without a test file of their name, and the file that tests them."""


def modules():
    paths = [path.relative_to(PACKAGE).with_suffix("") for path in sorted(PACKAGE.rglob("*.py"))]
    return [path.as_posix() for path in paths if path.name != "__init__"]


def file_of_tests(module):
    folder, _, name = module.rpartition("/")
    return TESTS / folder / f"test_{name}.py"


@pytest.mark.parametrize("module", modules())
def test_module_has_a_test_file_of_its_name(module):
    if module in TESTED_ELSEWHERE:
        assert (TESTS / f"{TESTED_ELSEWHERE[module]}.py").exists()
        assert not file_of_tests(module).exists()
    else:
        assert file_of_tests(module).exists()


def test_exceptions_are_modules():
    assert set(TESTED_ELSEWHERE) <= set(modules())


def asserts(function):
    """Look for `assert`, or for calls such as `np.testing.assert_equal`, `pytest.raises` and `pytest.warns`."""
    nodes = list(ast.walk(function))
    called = [ast.unparse(node.func).split(".")[-1] for node in nodes if isinstance(node, ast.Call)]
    return any(isinstance(node, ast.Assert) for node in nodes) or any(
        name.startswith(("assert", "raises", "warns")) for name in called
    )


def functions_of_tests(text):
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
    return [function for function in functions if function.name.startswith("test_")]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(TESTS).as_posix())
def test_every_test_asserts_something(path):
    tests = functions_of_tests(path.read_text(encoding="utf-8"))
    assert tests
    assert [node.name for node in tests if not asserts(node)] == []


def test_assertions_are_seen_in_every_form():
    forms = ["assert x", "np.testing.assert_equal(x, 1)", "with pytest.raises(ValueError):\n        x()", "x()"]
    tests = [functions_of_tests(f"def test_it(x):\n    {form}\n")[0] for form in forms]
    assert [asserts(test) for test in tests] == [True, True, True, False]


def test_no_two_tests_of_a_file_have_one_name():
    for path in FILES:
        names = [node.name for node in functions_of_tests(path.read_text(encoding="utf-8"))]
        assert len(names) == len(set(names)), path
