"""A short run of `scripts/fuzz.py`: damaged input is accepted or refused by one line that names it."""

import json
from pathlib import Path

import numpy as np
import pytest

import fuzz
from fuzz_mutations import damaged_bytes, damaged_json, damaged_lines
from fuzz_targets import TARGETS

RESULT = Path(__file__).parent.parent / "docs" / "results" / "fuzz.json"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", TARGETS)
def test_damaged_input_is_accepted_or_refused_by_one_line(tmp_path, name):
    target = TARGETS[name][0](tmp_path)
    found = [fuzz.outcome(target, fuzz.generator(2, name, number)) for number in range(6)]
    assert {outcome for outcome, _ in found} <= {"accepted", "refused"}, found
    assert "refused" in {outcome for outcome, _ in found}


def test_error_of_another_kind_is_a_traceback():
    class Broken:
        names = ("a.json",)

        def __init__(self, error):
            self.error = error

        def damage(self, random):
            pass

        def read(self):
            raise self.error

    outcomes = [
        fuzz.outcome(Broken(error), None)[0]
        for error in (KeyError("a.json"), ValueError("b.json"), ValueError("a.json:\nbroken"), ValueError("a.json: x"))
    ]
    assert outcomes == ["traceback", "traceback", "traceback", "refused"]


def test_damage_follows_from_the_seed_and_changes_something():
    content = json.dumps({"a": [1, 2, {"b": "c"}], "d": 0.5}, indent=1).encode()
    for damage in (damaged_bytes, damaged_lines, damaged_json):
        first, again = ([damage(fuzz.generator(seed, "x", number), content) for number in range(20)] for seed in (3, 3))
        assert first == again
        assert len(set(first)) > 10


def test_inputs_are_shared_among_the_targets():
    assert sum(fuzz.shares(2000).values()) == 2000
    assert np.all(np.array(list(fuzz.shares(200).values())) >= 10)


def test_published_result_has_no_traceback_hang_or_use_of_memory():
    found = json.loads(RESULT.read_text())
    assert (found["traceback"], found["hang"], found["memory"]) == (0, 0, 0)
    assert found["inputs"] >= 2000
