"""Public functions and classes say what they take, give and refuse, with an example."""

import inspect
import re

import pytest

import rsr_tf
from rsr_tf import attacks, data, evaluation, models
from rsr_tf.pruning import schedules

NAMES = sorted(set(rsr_tf.__all__) - {"__version__"})
PUBLIC = {f"rsr_tf.{name}": getattr(rsr_tf, name) for name in NAMES if not inspect.ismodule(getattr(rsr_tf, name))}
for module in (data, models, schedules):
    own = inspect.getmembers(module, lambda member, module=module: getattr(member, "__module__", "") == module.__name__)
    PUBLIC |= {f"{module.__name__}.{name}": member for name, member in own if not name.startswith("_")}
for module in (attacks, evaluation):
    PUBLIC |= {f"{module.__name__}.{name}": getattr(module, name) for name in module.__all__}
PUBLIC = {name: member for name, member in PUBLIC.items() if callable(member)}


def takes_something(member):
    if inspect.isclass(member) and member.__init__ is object.__init__:
        return False
    return bool(inspect.signature(member).parameters)


@pytest.mark.parametrize("name", PUBLIC)
def test_docstring_has_its_sections(name):
    member = PUBLIC[name]
    text = inspect.getdoc(member) or ""
    wanted = ["Args"] if takes_something(member) and "; see `" not in text else []
    wanted += (
        ["Returns"]
        if inspect.isfunction(member) and re.search(r"^    return \S", inspect.getsource(member), re.M)
        else []
    )
    assert re.match(r"\S.*[.:]", text)
    missing = [section for section in wanted if f"\n{section}:\n" not in text]
    assert missing == []
